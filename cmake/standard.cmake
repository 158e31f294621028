# What every own target is built with. Third-party headers come in as SYSTEM, so that warnings are about us.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

# A tarball must build with tomorrow's compiler; a checkout and CI must be clean with today's.
if(EXISTS ${CMAKE_SOURCE_DIR}/.git OR DEFINED ENV{CI})
  set(dev_mode ON)
else()
  set(dev_mode OFF)
endif()
option(KFAB_WERROR "treat warnings as errors" ${dev_mode})
set(KFAB_SANITIZE "" CACHE STRING "sanitizers to build with, such as address,undefined or thread")

# Headers cost more than what is in the sources: several sources of a folder as one halve the time of an unoptimised build.
# Private names of all of them then share a namespace, which what most users run is not built with: KFAB_JOIN_SOURCES is for the
# sanitizers, and for the agent that is compiled a second time for Arm processors. The sources whose names are taken by another of their folder stay alone.
option(KFAB_JOIN_SOURCES "compile eight sources of a folder as one" OFF)

add_library(kfab_standard INTERFACE)
set(warnings -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-qual -Wformat=2
  -Wimplicit-fallthrough $<$<BOOL:${KFAB_WERROR}>:-Werror>)
if(KFAB_JOIN_SOURCES)   # what is joined is no header, and what it shadows is of another source
  list(REMOVE_ITEM warnings -Wshadow)
  list(APPEND warnings -Wno-subobject-linkage)
endif()
target_compile_options(kfab_standard INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${warnings}>)
target_compile_definitions(kfab_standard INTERFACE $<$<CONFIG:Debug>:_GLIBCXX_ASSERTIONS>)
if(KFAB_SANITIZE)
  target_compile_options(kfab_standard INTERFACE -fsanitize=${KFAB_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(kfab_standard INTERFACE -fsanitize=${KFAB_SANITIZE})
endif()

# See KFAB_JOIN_SOURCES above.
function(kfab_join target)
  if(KFAB_JOIN_SOURCES)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  endif()
endfunction()
function(kfab_stays_alone)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# kfab_library(NAME [FOLDER path] [USES lib...]): the sources in the folder, as a static library kfab_NAME. Headers
# are included from the roots lib/ and the checkout ("base/result.hpp", "commands/exec.hpp"). The third-party
# libraries that a folder alone may use are given to it in dependencies.cmake as PRIVATE.
function(kfab_library name)
  cmake_parse_arguments(arg "" "FOLDER" "USES" ${ARGN})
  if(NOT arg_FOLDER)
    set(arg_FOLDER lib/${name})
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${arg_FOLDER}/*.cpp)
  list(TRANSFORM arg_USES PREPEND kfab_)
  if(NOT sources)   # headers only
    add_library(kfab_${name} INTERFACE)
    target_include_directories(kfab_${name} INTERFACE ${CMAKE_SOURCE_DIR}/lib ${CMAKE_SOURCE_DIR})
    target_link_libraries(kfab_${name} INTERFACE ${arg_USES})
    return()
  endif()
  add_library(kfab_${name} STATIC ${sources})
  target_include_directories(kfab_${name} PUBLIC ${CMAKE_SOURCE_DIR}/lib ${CMAKE_SOURCE_DIR})
  target_link_libraries(kfab_${name} PUBLIC ${arg_USES} PRIVATE kfab_standard ${kfab_${name}_needs})
  kfab_join(kfab_${name})
endfunction()
