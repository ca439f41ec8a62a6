ephor_add_test(trade_tracker_logic_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/trade_tracker_logic_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/trade_tracker_figures_test.cpp
  LIBRARIES ephor_trade_tracker_logic ZLIB::ZLIB LABELS unit)
ephor_add_test(trade_tracker_plugin_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/trade_tracker_plugin_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/trade_tracker_period_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/trade_tracker_equity_test.cpp
  LIBRARIES ephor::sdk nlohmann_json::nlohmann_json ZLIB::ZLIB ${CMAKE_DL_LIBS} LABELS unit)
if(TARGET trade_tracker_plugin_test)
  add_dependencies(trade_tracker_plugin_test ephor_plugin_trade_tracker)
endif()
