# The Debian packages ephor and ephor-sdk: the target `packages`, or script/package. CPack installs
# the two components and strips them; what they depend on is read from the files.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME ephor)
set(CPACK_PACKAGE_VENDOR "The Ephor authors")
set(CPACK_PACKAGE_CONTACT ${contact})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")  # each package has its own first line
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_THREADS 0)
set(CPACK_COMPONENTS_ALL host sdk)
set(CPACK_COMPONENTS_GROUPING IGNORE)
# Whatever umask it is built under.
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
  GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_HOST_PACKAGE_NAME ephor)
set(CPACK_DEBIAN_HOST_PACKAGE_SECTION misc)
set(CPACK_DEBIAN_HOST_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_HOST_PACKAGE_DEPENDS "adduser, init-system-helpers (>= 1.54~)")
set(CPACK_DEBIAN_HOST_PACKAGE_RECOMMENDS "ca-certificates")
set(CPACK_DEBIAN_HOST_PACKAGE_SUGGESTS "ephor-sdk, postgresql")
set(CPACK_DEBIAN_HOST_PACKAGE_CONTROL_EXTRA
  ${CMAKE_CURRENT_LIST_DIR}/debian/conffiles ${CMAKE_CURRENT_LIST_DIR}/debian/postinst
  ${CMAKE_CURRENT_LIST_DIR}/debian/prerm ${CMAKE_CURRENT_LIST_DIR}/debian/postrm)
set(CPACK_COMPONENT_HOST_DESCRIPTION "overseer of trading systems run by machine-learned models
Ephor receives the events of a trading system, keeps them in one ordered log,
and lets plugins read it: traces and latencies, metrics, models and their
drift, ensembles, trades and risk, alerts, reports. It answers over HTTP.
.
This package holds the host, its plugins and the service ephor.service, which
listens on 127.0.0.1:8780.")

set(CPACK_DEBIAN_SDK_PACKAGE_NAME ephor-sdk)
set(CPACK_DEBIAN_SDK_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_SDK_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_SDK_PACKAGE_SHLIBDEPS OFF)
# The headers need a compiler; events.hpp, json.hpp and text_hash.hpp the libraries.
set(CPACK_DEBIAN_SDK_PACKAGE_RECOMMENDS
  "g++ | c++-compiler, cmake (>= 3.25), nlohmann-json3-dev, libsimdjson-dev, libxxhash-dev")
set(CPACK_DEBIAN_SDK_PACKAGE_SUGGESTS "ephor, ninja-build, pkg-config | pkgconf")
set(CPACK_COMPONENT_SDK_DESCRIPTION "headers and build support for plugins of Ephor
All that is needed to write, test and build a plugin of the host ephor: the C
interface, a C++ layer over it, a fake host for tests, a CMake package, a
pkg-config file and examples.")
include(CPack)

# Made again when something that goes into them has changed.
set(stamp ${CMAKE_CURRENT_BINARY_DIR}/packages.stamp)
get_property(plugin_dirs DIRECTORY ${CMAKE_SOURCE_DIR}/plugins PROPERTY SUBDIRECTORIES)
set(plugins "")
foreach(directory ${plugin_dirs})
  get_property(targets DIRECTORY ${directory} PROPERTY BUILDSYSTEM_TARGETS)
  list(FILTER targets INCLUDE REGEX "^ephor_plugin_")
  list(APPEND plugins ${targets})
endforeach()
file(GLOB_RECURSE contents CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/sdk/include/*
  ${CMAKE_SOURCE_DIR}/sdk/examples/* ${CMAKE_SOURCE_DIR}/sdk/python/*.py ${CMAKE_SOURCE_DIR}/config/*
  ${CMAKE_SOURCE_DIR}/cmake/*
  ${CMAKE_SOURCE_DIR}/docs/*.md ${CMAKE_CURRENT_LIST_DIR}/*)
add_custom_command(OUTPUT ${stamp} VERBATIM
  DEPENDS ephor ${helpers} ${plugins} ephor_documents ${contents}
          ${CMAKE_BINARY_DIR}/CPackConfig.cmake
  COMMAND ${CMAKE_CPACK_COMMAND} -G DEB --config ${CMAKE_BINARY_DIR}/CPackConfig.cmake
  COMMAND ${CMAKE_COMMAND} -E touch ${stamp}
  WORKING_DIRECTORY ${CMAKE_BINARY_DIR}
  COMMENT "Packages into ${CPACK_PACKAGE_DIRECTORY}")
add_custom_target(packages DEPENDS ${stamp})
