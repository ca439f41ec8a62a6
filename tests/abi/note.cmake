if(EPHOR_BUILD_TESTS)
  add_test(NAME abi_note
           COMMAND ${CMAKE_CURRENT_LIST_DIR}/note.sh
                   ${CMAKE_SOURCE_DIR}/sdk/include ${CMAKE_C_COMPILER} ${CMAKE_CXX_COMPILER})
  set_tests_properties(abi_note PROPERTIES LABELS abi TIMEOUT 300)
endif()
