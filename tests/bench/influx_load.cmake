# The client of script/bench influx.
if(EPHOR_BUILD_BENCH)
  add_executable(bench_influx_load ${CMAKE_CURRENT_LIST_DIR}/influx_load.cpp)
  target_link_libraries(bench_influx_load PRIVATE nlohmann_json::nlohmann_json Threads::Threads)
  set_target_properties(bench_influx_load PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
endif()
