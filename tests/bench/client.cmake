# What tracing costs the traced program; script/bench client runs it beside the Python client.
if(EPHOR_BUILD_BENCH)
  add_executable(bench_propagation ${CMAKE_CURRENT_LIST_DIR}/propagation_bench.cpp)
  target_link_libraries(bench_propagation PRIVATE ephor::sdk)
  set_target_properties(bench_propagation PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
endif()
