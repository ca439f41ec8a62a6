ephor_add_test(host_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/host_live_test.cpp ${CMAKE_CURRENT_LIST_DIR}/host_log_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/host_readers_test.cpp ${CMAKE_CURRENT_LIST_DIR}/host_otlp_test.cpp
  LIBRARIES ephor_host_core ephor::events ZLIB::ZLIB LABELS integration TIMEOUT 300)
ephor_add_test(host_upkeep_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/host_upkeep_test.cpp
  LIBRARIES ephor_host_core ephor::soci LABELS integration TIMEOUT 300)
