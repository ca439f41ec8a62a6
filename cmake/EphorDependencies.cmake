# Every library of the build, found once. Why each is here: docs/adr/0005-libraries.md.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
# CONFIG: CMake 3.30 and later have no FindBoost of their own.
find_package(Boost 1.74 REQUIRED CONFIG COMPONENTS program_options)
find_package(spdlog 1.10 REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
# Its package takes another minor version for incompatible (3.12 of Debian 13): asked for without one.
find_package(simdjson REQUIRED)
if(simdjson_VERSION VERSION_LESS 3.0)
  message(FATAL_ERROR "simdjson: found ${simdjson_VERSION}, expected 3.0 or later")
endif()
find_package(Poco 1.11 REQUIRED COMPONENTS Foundation Net)
find_package(yaml-cpp 0.7 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(OpenSSL REQUIRED)  # SHA-256 of plugin files, tokens, reports
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)

# SOCI 4.0 of Debian 12 ships no CMake package.
find_path(SOCI_INCLUDE_DIR soci/soci.h REQUIRED)
find_library(SOCI_CORE_LIBRARY NAMES soci_core REQUIRED)
find_library(SOCI_SQLITE3_LIBRARY NAMES soci_sqlite3 REQUIRED)
find_library(SOCI_POSTGRESQL_LIBRARY NAMES soci_postgresql REQUIRED)
find_library(SQLITE3_LIBRARY NAMES sqlite3 REQUIRED)
find_library(PQ_LIBRARY NAMES pq REQUIRED)
add_library(ephor_soci INTERFACE)
add_library(ephor::soci ALIAS ephor_soci)
find_path(PQ_INCLUDE_DIR libpq-fe.h PATHS /usr/include/postgresql REQUIRED)
target_include_directories(ephor_soci SYSTEM INTERFACE
  ${SOCI_INCLUDE_DIR} ${SOCI_INCLUDE_DIR}/soci ${PQ_INCLUDE_DIR})
target_link_libraries(ephor_soci INTERFACE ${SOCI_SQLITE3_LIBRARY} ${SOCI_POSTGRESQL_LIBRARY}
  ${SOCI_CORE_LIBRARY} ${SQLITE3_LIBRARY} ${PQ_LIBRARY})

# yaml-cpp 0.7 exports yaml-cpp, 0.8 yaml-cpp::yaml-cpp.
add_library(ephor_yaml INTERFACE)
add_library(ephor::yaml ALIAS ephor_yaml)
target_link_libraries(ephor_yaml INTERFACE
  $<IF:$<TARGET_EXISTS:yaml-cpp::yaml-cpp>,yaml-cpp::yaml-cpp,yaml-cpp>)

# The allocator of the program; a sanitizer brings its own.
if(NOT CMAKE_CXX_FLAGS MATCHES "-fsanitize")
  find_library(TCMALLOC_LIBRARY NAMES tcmalloc_minimal REQUIRED)
endif()
