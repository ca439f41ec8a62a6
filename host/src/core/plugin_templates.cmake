# Puts the files of sdk/templates into the program, so that `ephor plugin new` needs none beside it:
# writes plugin_templates.inc, the rows of a table {language, target path, text}.
#
# ephor_template(LANGUAGE TARGET FILE): LANGUAGE c, c++, or * for both.
set(templates ${PROJECT_SOURCE_DIR}/sdk/templates)
set(rows "")
macro(ephor_template language target file)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${templates}/${file})
  file(READ ${templates}/${file} text)
  string(APPEND rows "{\"${language}\", \"${target}\", R\"ephor_template(${text})ephor_template\"},\n")
endmacro()
ephor_template(* .gitignore common/gitignore.in)
ephor_template(* .clang-format common/clang-format.in)
ephor_template(* .ci/run common/ci_run.in)
ephor_template(* README.md common/README.md.in)
ephor_template(* @NAME@.yaml common/config.yaml.in)
ephor_template(* tests/@NAME@_test.cpp common/test.cpp.in)
ephor_template(c++ CMakeLists.txt cpp/CMakeLists.txt.in)
ephor_template(c++ src/config_schema.hpp cpp/config_schema.hpp.in)
ephor_template(c++ src/@NAME@.cpp cpp/plugin.cpp.in)
ephor_template(c CMakeLists.txt c/CMakeLists.txt.in)
ephor_template(c src/config_schema.h c/config_schema.h.in)
ephor_template(c src/@NAME@.c c/plugin.c.in)

# Written only when it differs: every configure would compile it again otherwise.
set(out ${CMAKE_CURRENT_BINARY_DIR}/plugin_templates.inc)
set(before "")
if(EXISTS ${out})
  file(READ ${out} before)
endif()
if(NOT before STREQUAL rows)
  file(WRITE ${out} "${rows}")
endif()
target_include_directories(ephor_host_core PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
