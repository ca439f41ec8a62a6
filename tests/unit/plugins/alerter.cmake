ephor_add_test(alerter_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/alerter_logic_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/alerter_plugin_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/alerter_commands_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/alerter_webhook_test.cpp
  LIBRARIES ephor_alerter_logic ZLIB::ZLIB ${CMAKE_DL_LIBS} LABELS unit)
if(TARGET alerter_test)
  add_dependencies(alerter_test ephor_plugin_alerter)
endif()
