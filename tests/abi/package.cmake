# The installed SDK, used from outside in the ways its pages promise.
if(EPHOR_BUILD_TESTS)
  add_test(NAME abi_sdk_package
           COMMAND ${CMAKE_CURRENT_LIST_DIR}/sdk_package.sh
                   ${CMAKE_BINARY_DIR} ${CMAKE_C_COMPILER} ${CMAKE_CXX_COMPILER})
  math(EXPR package_timeout "300 * ${EPHOR_SLOWDOWN}")
  set_tests_properties(abi_sdk_package PROPERTIES LABELS abi TIMEOUT ${package_timeout})
endif()
