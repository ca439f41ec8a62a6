# The thinking without sockets, and the whole plugin over real ones against the fake host.
ephor_add_test(http_api_logic_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/http_api_logic_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/http_api_websocket_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/http_api_body_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/http_api_head_test.cpp
  LIBRARIES ephor_http_api_logic LABELS unit)
ephor_add_test(http_api_server_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/http_api_server_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/http_api_door_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/http_api_protocols_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/http_api_hub_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/http_api_watch_test.cpp
  LIBRARIES ephor_http_api_logic LABELS integration)
