ephor_add_test(tracer_logic_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/tracer_sketch_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_red_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_errors_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_traces_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_search_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_sampling_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_records_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_assembler_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_latency_watch_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_error_watch_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_statistics_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_critical_path_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_exemplars_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_active_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_outcomes_test.cpp
  LIBRARIES ephor_tracer_logic LABELS unit)
ephor_add_test(tracer_plugin_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/tracer_plugin_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_findings_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_analysis_test.cpp
          ${CMAKE_CURRENT_LIST_DIR}/tracer_queries_test.cpp
  LIBRARIES ephor::sdk nlohmann_json::nlohmann_json ZLIB::ZLIB ${CMAKE_DL_LIBS} LABELS unit)
if(TARGET tracer_plugin_test)
  add_dependencies(tracer_plugin_test ephor_plugin_tracer)
endif()
