# A host of every released minor of the ABI, compiled against that minor's frozen header alone, runs today's plugins. The other
# direction, today's host and a plugin of then, is in tests/unit/plugins (AbiCompatibility).
add_subdirectory(${CMAKE_SOURCE_DIR}/tests/fixtures/scaffold ${CMAKE_BINARY_DIR}/tests/fixture_scaffold)
foreach(minor 0)
  set(host abi_old_host_1_${minor})
  add_executable(${host} abi_old_host.cpp)
  target_include_directories(${host} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fixtures/abi/1.${minor})
  target_compile_definitions(${host} PRIVATE VIA_OLD_MINOR=${minor})
  target_link_libraries(${host} PRIVATE via_options Threads::Threads ${CMAKE_DL_LIBS})
  set_target_properties(${host} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_dependencies(${host} sqlite acme-notes)
  add_test(NAME abi.a_host_of_1_${minor}_runs_sqlite COMMAND ${host} ${CMAKE_BINARY_DIR}/lib/via/plugins/sqlite/sqlite.so sqlite
    3 batch "{\"operations\":[{\"operation\":\"setup\",\"sql\":\"CREATE TABLE t(x)\"},{\"operation\":\"execute\",\"sql\":\"INSERT INTO t VALUES('kept')\"}]}"
    0 query "{\"sql\":\"SELECT x FROM t\"}" kept)
  add_test(NAME abi.a_host_of_1_${minor}_runs_the_scaffold COMMAND ${host} $<TARGET_FILE:acme-notes> acme-notes
    0 add "{\"text\":\"kept\"}" 1 list "{}" kept)
  set_tests_properties(abi.a_host_of_1_${minor}_runs_sqlite abi.a_host_of_1_${minor}_runs_the_scaffold
    PROPERTIES LABELS contract TIMEOUT 120)
endforeach()
