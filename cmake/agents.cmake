# The agent is a program of the node's machine. Nodes with Arm processors (GH200, GB200, GB300) get one that is compiled beside the
# machine's own by Debian's cross compiler, from the same sources and around the same fat binaries. Only builds that are installed have it.
set(KFAB_AGENT_AARCH64 "AUTO" CACHE STRING "carry an agent for nodes with Arm processors: AUTO (a release with the compiler at hand), ON or OFF")
set(KFAB_HAVE_AARCH64 OFF)
if(NOT KFAB_AGENT_AARCH64 STREQUAL "OFF" AND NOT KFAB_AGENT_ONLY AND NOT KFAB_SANITIZE AND CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  find_program(KFAB_AARCH64_CXX aarch64-linux-gnu-g++)
  find_program(KFAB_AARCH64_CC aarch64-linux-gnu-gcc)
  find_program(KFAB_AARCH64_STRIP aarch64-linux-gnu-strip)
  if(KFAB_AARCH64_CXX AND KFAB_AARCH64_CC AND KFAB_AARCH64_STRIP)
    if(KFAB_AGENT_AARCH64 STREQUAL "ON" OR CMAKE_BUILD_TYPE STREQUAL "Release")
      set(KFAB_HAVE_AARCH64 ON)
    endif()
  elseif(KFAB_AGENT_AARCH64 STREQUAL "ON")
    message(FATAL_ERROR "KFAB_AGENT_AARCH64 is ON, but aarch64-linux-gnu-g++ is not on PATH (Debian: g++-aarch64-linux-gnu)")
  endif()
endif()
message(STATUS "Agent for Arm processors: ${KFAB_HAVE_AARCH64}")

# The agent for aarch64 goes into TARGET beside the machine's own, where there is one.
function(kfab_agent_for_aarch64 target)
  if(NOT KFAB_HAVE_AARCH64)
    return()
  endif()
  include(ExternalProject)
  set(dir ${CMAKE_BINARY_DIR}/aarch64)
  ExternalProject_Add(agent_aarch64
    SOURCE_DIR ${CMAKE_SOURCE_DIR} BINARY_DIR ${dir} PREFIX ${dir}/external BUILD_ALWAYS ON INSTALL_COMMAND "" DOWNLOAD_COMMAND "" DEPENDS kfab_fatbins
    CMAKE_ARGS -DKFAB_AGENT_ONLY=ON -DBUILD_TESTING=OFF -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64
      -DCMAKE_CXX_COMPILER=${KFAB_AARCH64_CXX} -DCMAKE_C_COMPILER=${KFAB_AARCH64_CC} -DCMAKE_STRIP=${KFAB_AARCH64_STRIP}
      -DCMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER} -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE=-O2 -DCMAKE_CXX_FLAGS=-fsigned-char -DKFAB_WERROR=${KFAB_WERROR} -DKFAB_JOIN_SOURCES=ON
      -Dfmt_DIR=${fmt_DIR} -Dnlohmann_json_DIR=${nlohmann_json_DIR} -DKFAB_CUDA=${KFAB_CUDA} -DKFAB_NVCC=${KFAB_NVCC}
      -DKFAB_FATBINS=$<IF:$<BOOL:${KFAB_HAVE_CUDA}>,${CMAKE_BINARY_DIR}/lib/agent,>
    BUILD_COMMAND ${CMAKE_COMMAND} --build ${dir} --target kfab_agent_gz
    BUILD_BYPRODUCTS ${dir}/kfab-agent.gz ${dir}/kfab-agent.sha256 ${dir}/kfab-agent)
  kfab_embed(${target} agent_aarch64_gz ${dir}/kfab-agent.gz)
  kfab_embed(${target} agent_aarch64_sha256 ${dir}/kfab-agent.sha256)
  add_dependencies(${target} agent_aarch64)
  set_property(SOURCE ${CMAKE_SOURCE_DIR}/commands/agent_image.cpp APPEND PROPERTY COMPILE_DEFINITIONS KFAB_AGENT_AARCH64)
endfunction()
