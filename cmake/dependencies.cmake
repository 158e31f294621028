# The libraries kfab stands on, and which folder alone may use each. All come from the distribution.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
if(NOT KFAB_AGENT_ONLY)
find_package(PkgConfig REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(CLI11 REQUIRED)
find_package(yaml-cpp REQUIRED)
if(NOT TARGET yaml-cpp::yaml-cpp)   # the name since 0.8
  add_library(yaml-cpp::yaml-cpp ALIAS yaml-cpp)
endif()
pkg_check_modules(libssh2 REQUIRED IMPORTED_TARGET libssh2)
find_path(ASIO_INCLUDE_DIR asio.hpp REQUIRED)
add_library(asio INTERFACE)
target_include_directories(asio SYSTEM INTERFACE ${ASIO_INCLUDE_DIR})
target_compile_definitions(asio INTERFACE ASIO_STANDALONE ASIO_NO_DEPRECATED)
target_link_libraries(asio INTERFACE Threads::Threads)
if(KFAB_SANITIZE MATCHES thread)   # GCC's ThreadSanitizer does not know fences; what asio guards by them has locks as well
  target_compile_definitions(asio INTERFACE ASIO_DISABLE_FENCED_BLOCK)
endif()
endif()

# fmt is compiled once, into kfab_base (lib/base/fmt.cpp): header-only it costs every translation unit seconds, and as a
# shared library the agent, which may need nothing but libc, could not use it.
add_library(kfab_fmt INTERFACE)
get_target_property(fmt_include fmt::fmt-header-only INTERFACE_INCLUDE_DIRECTORIES)
target_include_directories(kfab_fmt SYSTEM INTERFACE ${fmt_include})
if(fmt_VERSION VERSION_LESS 9 OR fmt_VERSION VERSION_GREATER_EQUAL 10)   # lib/base/fmt.cpp names what 9 instantiates
  target_compile_definitions(kfab_fmt INTERFACE FMT_HEADER_ONLY=1)
endif()

foreach(name base json nodeset term ssh manifest fleet provision validation store readiness report commands)
  set(kfab_${name}_needs kfab_fmt)
endforeach()
list(APPEND kfab_json_needs nlohmann_json::nlohmann_json)
list(APPEND kfab_manifest_needs yaml-cpp::yaml-cpp)
list(APPEND kfab_ssh_needs PkgConfig::libssh2 OpenSSL::Crypto asio)
list(APPEND kfab_fleet_needs asio ZLIB::ZLIB)
list(APPEND kfab_store_needs SQLite::SQLite3)
