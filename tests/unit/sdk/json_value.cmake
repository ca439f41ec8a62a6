ephor_add_test(sdk_json_value_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/json_value_test.cpp
               LIBRARIES ephor::sdk LABELS unit)
