# SPDX-License-Identifier: Apache-2.0
ephor_add_test(sdk_propagation_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/propagation_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/trace_context_test.cpp
  LIBRARIES ephor::sdk ephor_host_ingest Threads::Threads LABELS unit)
