# What a span costs the tracer, its analysis included.
if(EPHOR_BUILD_BENCH)
  add_executable(bench_tracer ${CMAKE_CURRENT_LIST_DIR}/tracer_bench.cpp)
  target_link_libraries(bench_tracer PRIVATE ephor::sdk PkgConfig::XXHASH ${CMAKE_DL_LIBS})
  target_include_directories(bench_tracer PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_compile_definitions(bench_tracer PRIVATE EPHOR_BUILD_DIR="${CMAKE_BINARY_DIR}")
  set_target_properties(bench_tracer PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
  add_dependencies(bench_tracer ephor_plugin_tracer)
endif()
