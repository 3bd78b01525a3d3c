# The bundled plugins and what `via plugin new` writes under the conformance checker, each with the check.json beside its
# sources. Under a sanitizer everything takes its time.
set(limits "")
set(test_limit 300)
if(VIA_SANITIZE)
  set(limits --timeout-ms 240000 --patience-ms 60000)
  set(test_limit 1800)
endif()
foreach(plugin sqlite)
  add_test(NAME plugin_check.${plugin}
    COMMAND via-plugin-check ${limits} --script ${CMAKE_SOURCE_DIR}/plugins/${plugin}/check.json ${CMAKE_BINARY_DIR}/lib/via/plugins/${plugin})
  set_tests_properties(plugin_check.${plugin} PROPERTIES TIMEOUT ${test_limit} LABELS contract)
endforeach()
add_test(NAME plugin_check.postgres
  COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/plugin_check_postgres $<TARGET_FILE:via-plugin-check> ${CMAKE_BINARY_DIR}/lib/via/plugins/postgres
          ${CMAKE_SOURCE_DIR}/plugins/postgres/check.json ${CMAKE_SOURCE_DIR}/scripts ${limits})
set_tests_properties(plugin_check.postgres PROPERTIES TIMEOUT 1800 LABELS contract)
add_test(NAME plugin_check.scaffold
  COMMAND via-plugin-check ${limits} --script ${CMAKE_BINARY_DIR}/tests/fixture_scaffold/acme-notes/check.json ${CMAKE_BINARY_DIR}/tests/scaffold/acme-notes)
set_tests_properties(plugin_check.scaffold PROPERTIES TIMEOUT ${test_limit} LABELS contract)
add_subdirectory(${CMAKE_SOURCE_DIR}/tests/fixtures/broken ${CMAKE_BINARY_DIR}/tests/fixture_broken)

via_test(plugin_check_tests SOURCES plugin_check_test.cpp DEPENDS nlohmann_json::nlohmann_json LABELS contract TIMEOUT 240)
target_compile_definitions(plugin_check_tests PRIVATE VIA_PLUGIN_CHECK="$<TARGET_FILE:via-plugin-check>"
  VIA_BROKEN_PLUGINS="${VIA_BROKEN_PLUGINS}" VIA_FAULTS="${CMAKE_SOURCE_DIR}/tests/fixtures/broken/faults.txt")
add_dependencies(plugin_check_tests via-plugin-check via_broken_plugins)
