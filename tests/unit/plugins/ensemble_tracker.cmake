# SPDX-License-Identifier: Apache-2.0
ephor_add_test(ensemble_tracker_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/ensemble_tracker_votes_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ensemble_tracker_regimes_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ensemble_tracker_joins_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ensemble_tracker_plugin_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/ensemble_tracker_session_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/../../../plugins/ensemble_tracker/src/plugin.cpp
  LIBRARIES ephor_ensemble_tracker_logic Threads::Threads ZLIB::ZLIB LABELS unit)
