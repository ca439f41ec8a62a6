# The bus beside what one would otherwise use. Competitors that are not installed are left out, and
# the program says so.
if(EPHOR_BUILD_BENCH)
  add_executable(bench_bus ${CMAKE_CURRENT_LIST_DIR}/bus_bench.cpp)
  target_link_libraries(bench_bus PRIVATE ephor_host_bus ephor_host_store ephor_test_support
    nlohmann_json::nlohmann_json)
  set_target_properties(bench_bus PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)

  add_executable(bench_slow_reader ${CMAKE_CURRENT_LIST_DIR}/slow_reader_bench.cpp)
  target_link_libraries(bench_slow_reader PRIVATE ephor_host_bus ephor_host_store ephor_test_support
    nlohmann_json::nlohmann_json)
  set_target_properties(bench_slow_reader PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)

  find_path(CONCURRENTQUEUE_INCLUDE_DIR blockingconcurrentqueue.h
            PATH_SUFFIXES concurrentqueue concurrentqueue/moodycamel moodycamel)
  if(CONCURRENTQUEUE_INCLUDE_DIR)
    target_include_directories(bench_bus SYSTEM PRIVATE ${CONCURRENTQUEUE_INCLUDE_DIR})
    target_compile_definitions(bench_bus PRIVATE EPHOR_BENCH_MOODYCAMEL)
  endif()
  pkg_check_modules(ZMQ QUIET IMPORTED_TARGET libzmq)
  if(ZMQ_FOUND)
    target_link_libraries(bench_bus PRIVATE PkgConfig::ZMQ)
    target_compile_definitions(bench_bus PRIVATE EPHOR_BENCH_ZMQ)
  endif()
endif()
