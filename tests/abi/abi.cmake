ephor_add_test(abi_layout_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/layout_test.cpp
               LIBRARIES ephor::sdk LABELS abi)
ephor_add_test(abi_guard_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/guard_test.cpp
               LIBRARIES ephor::sdk Threads::Threads LABELS abi)
ephor_add_test(abi_examples_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/examples_test.cpp
               LIBRARIES ephor::sdk Threads::Threads ${CMAKE_DL_LIBS} LABELS abi)
ephor_add_test(abi_skew_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/skew_test.cpp
               LIBRARIES ephor_host_core LABELS abi)
ephor_add_test(abi_kept_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/kept_test.cpp
               LIBRARIES ephor_host_core LABELS abi)
if(EPHOR_BUILD_TESTS)
  add_dependencies(abi_examples_test ephor_plugin_minimal_c ephor_plugin_minimal_cpp)
  add_dependencies(abi_skew_test ephor-runner ephor_plugin_skewed ephor_plugin_exercise
                   ephor_plugin_idle)
  add_dependencies(abi_kept_test ephor-runner)
  add_test(NAME abi_header_compiles
           COMMAND ${CMAKE_CURRENT_LIST_DIR}/header_compiles.sh
                   ${CMAKE_SOURCE_DIR}/sdk/include ${CMAKE_C_COMPILER} ${CMAKE_CXX_COMPILER})
  add_test(NAME abi_exports
           COMMAND ${CMAKE_CURRENT_LIST_DIR}/exports.sh
                   ${CMAKE_BINARY_DIR}/lib/ephor/plugins ${CMAKE_BINARY_DIR}/lib/ephor/examples)
  set_tests_properties(abi_header_compiles abi_exports PROPERTIES LABELS abi TIMEOUT 300)
endif()

# The specification: what is made of it is as it was written, and nothing that was released is broken.
find_package(Python3 COMPONENTS Interpreter)
if(EPHOR_BUILD_TESTS AND Python3_Interpreter_FOUND)
  add_test(NAME abi_generated
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/sdk/abi/generate.py --check)
  add_test(NAME abi_released
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/sdk/abi/generate.py --gate)
  add_test(NAME abi_breaks
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/breaks_test.py
                   ${CMAKE_C_COMPILER} ${CMAKE_CXX_COMPILER})
  add_test(NAME abi_neighbours
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/neighbours_test.py
                   ${CMAKE_BINARY_DIR} ${CMAKE_CXX_COMPILER})
  set_tests_properties(abi_generated abi_released abi_breaks abi_neighbours PROPERTIES
    ENVIRONMENT PYTHONDONTWRITEBYTECODE=1 LABELS abi TIMEOUT 600)
endif()
if(EPHOR_BUILD_TESTS AND EXISTS ${CMAKE_SOURCE_DIR}/packaging/CMakeLists.txt)
  add_test(NAME abi_outside_plugin
           COMMAND ${CMAKE_CURRENT_LIST_DIR}/outside_plugin.sh
                   ${CMAKE_BINARY_DIR} ${CMAKE_C_COMPILER} ${CMAKE_CXX_COMPILER})
  math(EXPR outside_timeout "900 * ${EPHOR_SLOWDOWN}")  # ten files with all of the fake host in them
  set_tests_properties(abi_outside_plugin PROPERTIES LABELS abi TIMEOUT ${outside_timeout})
endif()
