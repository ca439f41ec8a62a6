# SPDX-License-Identifier: Apache-2.0
ephor_add_test(sdk_aggregation_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/aggregation_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/aggregation_reference_test.cpp
  LIBRARIES ephor::sdk nlohmann_json::nlohmann_json ZLIB::ZLIB LABELS unit)
