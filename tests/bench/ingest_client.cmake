if(EPHOR_BUILD_BENCH)
  add_executable(bench_ingest_client ${CMAKE_CURRENT_LIST_DIR}/ingest_client.cpp)
  target_link_libraries(bench_ingest_client PRIVATE nlohmann_json::nlohmann_json ZLIB::ZLIB
    Threads::Threads)
  set_target_properties(bench_ingest_client PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
endif()
