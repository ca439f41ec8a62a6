ephor_add_test(sdk_state_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/state_test.cpp
               LIBRARIES ephor::sdk LABELS unit)
