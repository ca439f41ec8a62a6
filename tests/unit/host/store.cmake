ephor_add_test(store_journal_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/store_journal_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/store_codec_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/store_join_index_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/store_span_codec_test.cpp
  LIBRARIES ephor_host_store ephor_host_event PkgConfig::ZSTD ephor::soci LABELS unit)
ephor_add_test(store_storage_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/store_storage_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/store_storage_cases.cpp
          ${CMAKE_CURRENT_LIST_DIR}/store_sql_text_test.cpp
  LIBRARIES ephor_host_store LABELS unit)
ephor_add_test(store_kill_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/store_kill_test.cpp
  LIBRARIES ephor_host_store LABELS integration)
if(EPHOR_BUILD_BENCH)
  add_executable(store_bench ${CMAKE_CURRENT_LIST_DIR}/store_bench.cpp)
  target_link_libraries(store_bench PRIVATE ephor_test_support ephor_host_store PkgConfig::ZSTD
    ZLIB::ZLIB)
  set_target_properties(store_bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
endif()
ephor_add_test(store_upkeep_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/store_upkeep_test.cpp
  LIBRARIES ephor_host_store ephor::soci LABELS unit)
