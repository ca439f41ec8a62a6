ephor_add_test(storage_postgres_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/postgres_storage_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/../unit/host/store_storage_cases.cpp
  LIBRARIES ephor_host_store LABELS integration TIMEOUT 300)
target_include_directories(storage_postgres_test PRIVATE
  ${CMAKE_CURRENT_LIST_DIR}/../unit/host)
