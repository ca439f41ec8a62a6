ephor_add_test(plugin_file_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/plugin_note_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/plugin_policy_test.cpp
  LIBRARIES ephor_host_core LABELS unit)
if(TARGET plugin_file_test)
  add_dependencies(plugin_file_test ephor_plugin_minimal_c ephor_plugin_minimal_cpp)
endif()
