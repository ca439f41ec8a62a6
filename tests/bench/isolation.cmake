# What a process of its own costs an event. Its plugin is one of tests/plugins.
if(EPHOR_BUILD_BENCH AND EPHOR_BUILD_TESTS)
  add_executable(bench_isolation ${CMAKE_CURRENT_LIST_DIR}/isolation_bench.cpp)
  target_link_libraries(bench_isolation PRIVATE ephor_host_core ephor_test_support)
  target_compile_definitions(bench_isolation PRIVATE EPHOR_BUILD_DIR="${CMAKE_BINARY_DIR}")
  set_target_properties(bench_isolation PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
  add_dependencies(bench_isolation ephor-runner ephor_plugin_idle)
endif()
