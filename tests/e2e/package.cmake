# The service, and the Debian packages: made once from what is built, looked into, and lived with.
find_package(Python3 COMPONENTS Interpreter)
if(NOT EPHOR_BUILD_TESTS OR NOT Python3_Interpreter_FOUND)
  return()
endif()

function(ephor_add_package_test name)
  add_test(NAME e2e_${name}
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/e2e/${name}_test.py -v)
  math(EXPR seconds "600 * ${EPHOR_SLOWDOWN}")
  set_tests_properties(e2e_${name} PROPERTIES
    ENVIRONMENT "EPHOR_BUILD_DIR=${CMAKE_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1"
    LABELS "e2e;package" TIMEOUT ${seconds} RUN_SERIAL TRUE)
endfunction()
ephor_add_package_test(service)

# What CPack needs; and a sanitizer's build is not for packages.
find_program(DPKG_SHLIBDEPS dpkg-shlibdeps)
find_program(FILE_PROGRAM file)
if(NOT EXISTS ${CMAKE_SOURCE_DIR}/packaging OR NOT DPKG_SHLIBDEPS OR NOT FILE_PROGRAM
   OR CMAKE_CXX_FLAGS MATCHES "-fsanitize")
  message(STATUS "the tests of the Debian packages are left out")
  return()
endif()
add_test(NAME package_build COMMAND ${CMAKE_CPACK_COMMAND} -G DEB
         --config ${CMAKE_BINARY_DIR}/CPackConfig.cmake -B ${CMAKE_BINARY_DIR}/packages)
set_tests_properties(package_build PROPERTIES FIXTURES_SETUP packages LABELS "e2e;package"
  TIMEOUT 300)
# bare_system in its short form: the packages unpacked into a folder. EPHOR_BARE=1 is the long one,
# in a bare Debian system.
ephor_add_package_test(package)
ephor_add_package_test(bare_system)
set_tests_properties(e2e_package e2e_bare_system PROPERTIES FIXTURES_REQUIRED packages)
