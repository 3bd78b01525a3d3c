# via_library(NAME SOURCES… DEPENDS …): one static library per folder, so that a dependency that is not declared
# does not link, and the direction of the tree is what the linker enforces.
function(via_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPENDS;PRIVATE_DEPENDS" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${A_DEPENDS} PRIVATE via_options ${A_PRIVATE_DEPENDS})
endfunction()

# No test sees the machine that it runs on: where Via looks when it is told nothing (/var/lib/via, /etc/via, the home folder) they have
# decoys, laid out before the first test and looked at behind the last one (tests/support/machine).
set(VIA_TEST_MACHINE ${CMAKE_BINARY_DIR}/tests/machine)
function(via_on_test_machine)
  set_tests_properties(${ARGN} PROPERTIES FIXTURES_REQUIRED machine
    ENVIRONMENT "VIA_TEST_ROOT=${VIA_TEST_MACHINE};HOME=${VIA_TEST_MACHINE}/home;CCACHE_DIR=${VIA_CCACHE_DIR}")
endfunction()
set(VIA_CCACHE_DIR "$ENV{CCACHE_DIR}")  # of tests that build: not below the decoy of the home folder
if(NOT VIA_CCACHE_DIR)
  set(VIA_CCACHE_DIR "$ENV{HOME}/.cache/ccache")
endif()

# via_test(NAME SOURCES… DEPENDS … [LABELS …]): a GoogleTest program whose cases are single CTest tests.
function(via_test name)
  cmake_parse_arguments(A "SERIAL" "TIMEOUT" "SOURCES;DEPENDS;LABELS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE via_options ${A_DEPENDS} GTest::gtest GTest::gtest_main Threads::Threads)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 120)
  endif()
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT ${A_TIMEOUT} LABELS "${A_LABELS}"
    FIXTURES_REQUIRED machine ENVIRONMENT "VIA_TEST_ROOT=${VIA_TEST_MACHINE}")
endfunction()
