# SPDX-License-Identifier: Apache-2.0
# The thinking without threads, and the plugin with its threads against the fake host and a mail
# server on this machine.
ephor_add_test(reporter_logic_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/reporter_schedule_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/reporter_planner_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/reporter_sections_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/reporter_render_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/reporter_mail_test.cpp
  LIBRARIES ephor_reporter_logic LABELS unit)
ephor_add_test(reporter_plugin_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/reporter_plugin_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/reporter_schedule_plugin_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/reporter_outbox_test.cpp
  LIBRARIES ephor_reporter_logic LABELS integration)
