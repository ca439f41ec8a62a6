if(EPHOR_BUILD_BENCH)
  find_package(Poco 1.11 REQUIRED COMPONENTS Foundation Net)
  add_executable(bench_http_poco ${CMAKE_CURRENT_LIST_DIR}/http_poco.cpp)
  target_link_libraries(bench_http_poco PRIVATE Poco::Net Poco::Foundation)
  set_target_properties(bench_http_poco PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
endif()
