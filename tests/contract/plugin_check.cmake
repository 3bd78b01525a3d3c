# The bundled plugins under the conformance checker, each with the check.json beside its sources.
foreach(plugin sqlite)
  add_test(NAME plugin_check.${plugin}
    COMMAND via-plugin-check --script ${CMAKE_SOURCE_DIR}/plugins/${plugin}/check.json ${CMAKE_BINARY_DIR}/lib/via/plugins/${plugin})
  set_tests_properties(plugin_check.${plugin} PROPERTIES TIMEOUT 300 LABELS contract)
endforeach()
