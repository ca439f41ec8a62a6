ephor_add_test(check_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/check_test.cpp
  LIBRARIES ephor_host_check ephor_host_core ${CMAKE_DL_LIBS} LABELS unit)
