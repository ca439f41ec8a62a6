# ephor_add_plugin(NAME ENTRY src/plugin.cpp [SOURCES src/a.cpp ...] [LIBRARIES target ...])
#
# Builds the plugin's thinking as the static library ephor_NAME_logic (unit tests link it) and the
# loadable lib/ephor/plugins/NAME.so from ENTRY, which exports ephor_plugin_entry_v1 and nothing else.
set(EPHOR_PLUGIN_MAP ${CMAKE_CURRENT_LIST_DIR}/ephor_plugin.map)

function(ephor_add_plugin name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "ENTRY" "SOURCES;LIBRARIES")
  if(NOT ARG_ENTRY)
    message(FATAL_ERROR "ephor_add_plugin(${name}): ENTRY is missing")
  endif()
  if(ARG_SOURCES)
    add_library(ephor_${name}_logic STATIC ${ARG_SOURCES})
    target_include_directories(ephor_${name}_logic PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/src)
    target_link_libraries(ephor_${name}_logic PUBLIC ephor::sdk ${ARG_LIBRARIES})
    set_target_properties(ephor_${name}_logic PROPERTIES
      CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON POSITION_INDEPENDENT_CODE ON)
    set(logic ephor_${name}_logic)
  endif()
  add_library(ephor_plugin_${name} MODULE ${ARG_ENTRY})
  target_link_libraries(ephor_plugin_${name} PRIVATE ${logic} ephor::sdk ${ARG_LIBRARIES})
  target_link_options(ephor_plugin_${name} PRIVATE
    "LINKER:--version-script=${EPHOR_PLUGIN_MAP}" "LINKER:--exclude-libs,ALL")
  # A missing function is found here, not when the host loads. Sanitizers leave theirs to the program.
  if(NOT CMAKE_CXX_FLAGS MATCHES "-fsanitize")
    target_link_options(ephor_plugin_${name} PRIVATE "LINKER:-z,defs")
  endif()
  set_target_properties(ephor_plugin_${name} PROPERTIES
    PREFIX "" OUTPUT_NAME ${name}
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/ephor/plugins
    LINK_DEPENDS ${EPHOR_PLUGIN_MAP}
    C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
endfunction()
