ephor_add_test(abi_layout_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/layout_test.cpp
               LIBRARIES ephor::sdk LABELS abi)
ephor_add_test(abi_guard_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/guard_test.cpp
               LIBRARIES ephor::sdk Threads::Threads LABELS abi)
ephor_add_test(abi_examples_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/examples_test.cpp
               LIBRARIES ephor::sdk Threads::Threads ${CMAKE_DL_LIBS} LABELS abi)
if(EPHOR_BUILD_TESTS)
  add_dependencies(abi_examples_test ephor_plugin_minimal_c ephor_plugin_minimal_cpp)
  add_test(NAME abi_header_compiles
           COMMAND ${CMAKE_CURRENT_LIST_DIR}/header_compiles.sh
                   ${CMAKE_SOURCE_DIR}/sdk/include ${CMAKE_C_COMPILER} ${CMAKE_CXX_COMPILER})
  add_test(NAME abi_exports
           COMMAND ${CMAKE_CURRENT_LIST_DIR}/exports.sh
                   ${CMAKE_BINARY_DIR}/lib/ephor/plugins ${CMAKE_BINARY_DIR}/lib/ephor/examples)
  set_tests_properties(abi_header_compiles abi_exports PROPERTIES LABELS abi TIMEOUT 300)
endif()
if(EPHOR_BUILD_TESTS AND EXISTS ${CMAKE_SOURCE_DIR}/packaging/CMakeLists.txt)
  add_test(NAME abi_outside_plugin
           COMMAND ${CMAKE_CURRENT_LIST_DIR}/outside_plugin.sh
                   ${CMAKE_BINARY_DIR} ${CMAKE_C_COMPILER} ${CMAKE_CXX_COMPILER})
  set_tests_properties(abi_outside_plugin PROPERTIES LABELS abi TIMEOUT 300)
endif()
