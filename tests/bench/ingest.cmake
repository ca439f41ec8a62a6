# What the door costs: script/bench ingest reads the figures.
if(EPHOR_BUILD_BENCH)
  add_executable(bench_door ${CMAKE_CURRENT_LIST_DIR}/ingest_bench.cpp)
  target_link_libraries(bench_door PRIVATE ephor_host_ingest)
  set_target_properties(bench_door PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
endif()
# What it costs for metrics, by bodies that metric_lines.py writes.
if(EPHOR_BUILD_BENCH)
  add_executable(bench_metric_door ${CMAKE_CURRENT_LIST_DIR}/metric_door_bench.cpp)
  target_link_libraries(bench_metric_door PRIVATE ephor_host_ingest ephor_host_store)
  set_target_properties(bench_metric_door PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
endif()
