# What OTLP traces cost inside the host: build/release/bench/bench_otlp prints the figures.
if(EPHOR_BUILD_BENCH)
  add_executable(bench_otlp ${CMAKE_CURRENT_LIST_DIR}/otlp_bench.cpp)
  target_link_libraries(bench_otlp PRIVATE ephor_host_ingest ephor_host_store)
  set_target_properties(bench_otlp PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
endif()
