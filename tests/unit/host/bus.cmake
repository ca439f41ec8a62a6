ephor_add_test(bus_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/bus_test.cpp
               ${CMAKE_CURRENT_LIST_DIR}/bus_loss_test.cpp
               ${CMAKE_CURRENT_LIST_DIR}/bus_threads_test.cpp
               ${CMAKE_CURRENT_LIST_DIR}/bus_topic_filter_test.cpp
               ${CMAKE_CURRENT_LIST_DIR}/bus_waker_test.cpp
               ${CMAKE_CURRENT_LIST_DIR}/duration_histogram_test.cpp
               LIBRARIES ephor_host_bus LABELS unit)
