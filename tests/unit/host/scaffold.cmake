ephor_add_test(core_scaffold_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/core_scaffold_test.cpp
               LIBRARIES ephor_host_core LABELS unit)
