# What it costs an event to cross the C table into a plugin. Its plugins are of tests/plugins.
if(EPHOR_BUILD_BENCH AND EPHOR_BUILD_TESTS)
  add_executable(bench_abi_hop ${CMAKE_CURRENT_LIST_DIR}/abi_hop_bench.cpp)
  target_link_libraries(bench_abi_hop PRIVATE ephor_host_core nlohmann_json::nlohmann_json)
  target_include_directories(bench_abi_hop PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_compile_definitions(bench_abi_hop PRIVATE EPHOR_BUILD_DIR="${CMAKE_BINARY_DIR}")
  set_target_properties(bench_abi_hop PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
  add_dependencies(bench_abi_hop ephor_plugin_hop_c ephor_plugin_hop_cpp)
endif()
