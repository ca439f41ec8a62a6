ephor_add_test(sdk_plugin_helpers_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/plugin_helpers_test.cpp
               LIBRARIES ephor::events PkgConfig::XXHASH nlohmann_json::nlohmann_json LABELS unit)
