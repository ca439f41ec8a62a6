# ephor_add_plugin(NAME ENTRY src/plugin.cpp [SOURCES src/a.cpp ...] [LIBRARIES target ...]
#                  [NO_INSTALL] [CHECK])
#
# Builds the loadable lib/ephor/plugins/NAME.so (target ephor_plugin_NAME) from ENTRY; it exports
# ephor_plugin_entry_v1 and nothing else. SOURCES, the plugin's thinking, become the static library
# ephor_NAME_logic, which unit tests link too. NAME is the id the plugin calls itself by. C and C++.
#   NO_INSTALL  leaves out the install rule: PREFIX/lib/ephor/plugins, component "plugins" or what
#               EPHOR_PLUGIN_COMPONENT says; no rule where that is set and empty.
#   CHECK       is ephor_check_plugin(NAME).
#
# ephor_check_plugin(NAME [ARGUMENTS ...])
#
# Adds the CTest test plugin_check_NAME, `ephor plugin check NAME.so ARGUMENTS`, if there is an ephor
# program: EPHOR_PROGRAM, the one beside this SDK, or one on PATH. Needs enable_testing().

# Sanitizers leave their symbols to the program, so that a library of theirs is never complete.
function(_ephor_has_sanitizer result)
  string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
  get_directory_property(compiling COMPILE_OPTIONS)
  get_directory_property(linking LINK_OPTIONS)
  set(flags "${CMAKE_C_FLAGS} ${CMAKE_CXX_FLAGS} ${CMAKE_MODULE_LINKER_FLAGS} ${compiling} ${linking}")
  if(type)
    string(APPEND flags " ${CMAKE_C_FLAGS_${type}} ${CMAKE_CXX_FLAGS_${type}}")
  endif()
  if(flags MATCHES "-fsanitize")
    set(${result} TRUE PARENT_SCOPE)
  else()
    set(${result} FALSE PARENT_SCOPE)
  endif()
endfunction()

function(ephor_add_plugin name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "NO_INSTALL;CHECK" "ENTRY" "SOURCES;LIBRARIES")
  if(NOT ARG_ENTRY)
    message(FATAL_ERROR "ephor_add_plugin(${name}): found no ENTRY, expected the file with EPHOR_PLUGIN")
  endif()
  if(ARG_UNPARSED_ARGUMENTS OR ARG_KEYWORDS_MISSING_VALUES)
    message(FATAL_ERROR "ephor_add_plugin(${name}): found \"${ARG_UNPARSED_ARGUMENTS}"
      "${ARG_KEYWORDS_MISSING_VALUES}\", expected ENTRY FILE, SOURCES FILE..., LIBRARIES TARGET..., "
      "NO_INSTALL, CHECK")
  endif()
  # With it, statics of inline functions would be one for the whole process, RTLD_LOCAL or not.
  set(options $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fno-gnu-unique>)
  if(ARG_SOURCES)
    add_library(ephor_${name}_logic STATIC ${ARG_SOURCES})
    target_include_directories(ephor_${name}_logic PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/src)
    target_link_libraries(ephor_${name}_logic PUBLIC ephor::sdk ${ARG_LIBRARIES})
    target_compile_options(ephor_${name}_logic PRIVATE ${options})
    set_target_properties(ephor_${name}_logic PROPERTIES POSITION_INDEPENDENT_CODE ON
      C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
    set(logic ephor_${name}_logic)
  endif()
  set(map ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/ephor_plugin.map)
  add_library(ephor_plugin_${name} MODULE ${ARG_ENTRY})
  target_link_libraries(ephor_plugin_${name} PRIVATE ${logic} ephor::sdk ${ARG_LIBRARIES})
  target_compile_options(ephor_plugin_${name} PRIVATE ${options})
  target_link_options(ephor_plugin_${name} PRIVATE
    "LINKER:--version-script=${map}" "LINKER:--exclude-libs,ALL"
    # It is loaded with everything bound at once; then its tables need not stay writable.
    "LINKER:-z,relro" "LINKER:-z,now")
  _ephor_has_sanitizer(has_sanitizer)
  if(NOT has_sanitizer)
    # A missing function is found here, not when the host loads.
    target_link_options(ephor_plugin_${name} PRIVATE "LINKER:-z,defs")
  endif()
  set_target_properties(ephor_plugin_${name} PROPERTIES
    PREFIX "" SUFFIX .so OUTPUT_NAME ${name}
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/ephor/plugins
    LINK_DEPENDS ${map}
    C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  if(NOT DEFINED EPHOR_PLUGIN_COMPONENT)
    set(EPHOR_PLUGIN_COMPONENT plugins)
  endif()
  if(EPHOR_PLUGIN_COMPONENT AND NOT ARG_NO_INSTALL)
    install(TARGETS ephor_plugin_${name} LIBRARY DESTINATION lib/ephor/plugins
      COMPONENT ${EPHOR_PLUGIN_COMPONENT})
  endif()
  if(ARG_CHECK)
    ephor_check_plugin(${name})
  endif()
endfunction()

function(ephor_check_plugin name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "ARGUMENTS")
  if(NOT TARGET ephor_plugin_${name})
    message(FATAL_ERROR "ephor_check_plugin(${name}): found no plugin ${name}, expected "
      "ephor_add_plugin(${name} ...) before")
  endif()
  if(TARGET ephor)  # within Ephor's own build
    set(EPHOR_PROGRAM $<TARGET_FILE:ephor>)
  endif()
  # This file lies in PREFIX/share/cmake/EphorSDK.
  find_program(EPHOR_PROGRAM ephor HINTS ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../../../bin
    DOC "The program whose `plugin check` tests plugins")
  if(NOT EPHOR_PROGRAM)
    message(STATUS "ephor_check_plugin(${name}): found no ephor program; name one by "
      "-DEPHOR_PROGRAM=FILE to test the plugin with `ephor plugin check`")
    return()
  endif()
  add_test(NAME plugin_check_${name}
    COMMAND ${EPHOR_PROGRAM} plugin check $<TARGET_FILE:ephor_plugin_${name}> ${ARG_ARGUMENTS})
endfunction()
