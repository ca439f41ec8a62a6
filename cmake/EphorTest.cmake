# ephor_add_test(NAME SOURCES a.cpp ... [LIBRARIES target ...] [LABELS unit ...] [TIMEOUT seconds])
#
# One Catch2 program, registered with CTest as one test. Data of the workplace is found through
# EPHOR_SHARED_DATA (a test that needs it and does not find it skips with a clear line, exit code 4).
set(EPHOR_SLOWDOWN 1 CACHE STRING
    "How many times longer tests may take (an integer); the presets asan and tsan set it")

function(ephor_add_test name)
  if(NOT EPHOR_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "TIMEOUT" "SOURCES;LIBRARIES;LABELS")
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ephor_test_support ${ARG_LIBRARIES})
  target_compile_definitions(${name} PRIVATE EPHOR_BUILD_DIR="${CMAKE_BINARY_DIR}")
  # What is tested is optimised in its library; the test's own code is compiled twice as fast without.
  target_compile_options(${name} PRIVATE -O0)
  # Checks of every pointer that the address sanitizer makes too; a third of the compiler's time.
  if(CMAKE_CXX_FLAGS MATCHES "undefined")
    target_compile_options(${name} PRIVATE -fno-sanitize=null,alignment,object-size,vptr)
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
  endif()
  math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * ${EPHOR_SLOWDOWN}")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
endfunction()
