# What somebody who writes plugins meets: the examples, the scaffold, the guide.
find_package(Python3 COMPONENTS Interpreter)
if(EPHOR_BUILD_TESTS AND Python3_Interpreter_FOUND)
  math(EXPR author_timeout "900 * ${EPHOR_SLOWDOWN}")
  foreach(name examples scaffold guide)
    add_test(NAME e2e_${name}
      COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/${name}_test.py -v)
    set_tests_properties(e2e_${name} PROPERTIES
      ENVIRONMENT "EPHOR_BUILD_DIR=${CMAKE_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1"
      LABELS e2e TIMEOUT ${author_timeout} RUN_SERIAL TRUE)
  endforeach()
endif()
