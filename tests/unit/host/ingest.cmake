ephor_add_test(ingest_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/ingest_json_text_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ingest_rules_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ingest_envelope_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ingest_config_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ingest_bare_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ingest_door_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ingest_gunzip_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ingest_client_data_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ingest_otlp_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ingest_influx_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ingest_otlp_signals_test.cpp
  LIBRARIES ephor_host_ingest ephor::events nlohmann_json::nlohmann_json ZLIB::ZLIB
  LABELS unit)
