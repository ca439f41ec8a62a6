ephor_add_test(core_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/core_log_test.cpp ${CMAKE_CURRENT_LIST_DIR}/core_config_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/core_faults_test.cpp ${CMAKE_CURRENT_LIST_DIR}/core_conflater_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/core_bus_report_test.cpp ${CMAKE_CURRENT_LIST_DIR}/core_diff_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/core_config_bounds_test.cpp
  LIBRARIES ephor_host_core LABELS unit)
if(TARGET core_test)
  add_dependencies(core_test ephor_plugin_minimal_cpp)  # a plugin to configure
endif()
