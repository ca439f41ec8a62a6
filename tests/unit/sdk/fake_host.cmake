ephor_add_test(sdk_fake_host_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/fake_host_test.cpp
               LIBRARIES ephor::sdk Threads::Threads LABELS unit)
