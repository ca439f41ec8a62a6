# The clients of script/bench traces.
if(EPHOR_BUILD_BENCH)
  add_executable(bench_traces_load ${CMAKE_CURRENT_LIST_DIR}/traces_load.cpp
    ${CMAKE_CURRENT_LIST_DIR}/traces_bodies.cpp ${CMAKE_CURRENT_LIST_DIR}/traces_model.cpp)
  target_link_libraries(bench_traces_load PRIVATE nlohmann_json::nlohmann_json Threads::Threads)
  set_target_properties(bench_traces_load PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
endif()
