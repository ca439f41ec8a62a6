ephor_add_test(ml_monitor_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/ml_monitor_answers_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ml_monitor_detectors_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ml_monitor_findings_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ml_monitor_hash_index_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ml_monitor_joiner_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ml_monitor_plugin_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ml_monitor_scores_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ml_monitor_session_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ml_monitor_shift_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ml_monitor_stats_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/../../../plugins/ml_monitor/src/plugin.cpp
  LIBRARIES ephor_ml_monitor_logic Threads::Threads ZLIB::ZLIB LABELS unit)
