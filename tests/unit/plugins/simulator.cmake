ephor_add_test(simulator_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/simulator_thinking_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/simulator_stream_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/simulator_faults_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/simulator_live_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/../../../plugins/simulator/src/plugin.cpp
  LIBRARIES ephor_simulator_logic ephor::yaml Threads::Threads ZLIB::ZLIB LABELS unit TIMEOUT 300)
