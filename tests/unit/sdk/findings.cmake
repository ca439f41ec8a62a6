ephor_add_test(sdk_findings_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/findings_test.cpp
               LIBRARIES ephor::sdk nlohmann_json::nlohmann_json LABELS unit)
