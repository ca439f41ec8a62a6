ephor_add_test(metrics_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/metrics_batch_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/metrics_logic_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/metrics_overview_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/metrics_plugin_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/metrics_session_test.cpp
  LIBRARIES ephor_metrics_logic ZLIB::ZLIB ${CMAKE_DL_LIBS} LABELS unit)
if(TARGET metrics_test)
  add_dependencies(metrics_test ephor_plugin_metrics)
endif()
