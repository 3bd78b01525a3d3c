# via_add_plugin(NAME SOURCES … [MANIFEST manifest.json] [DEPENDS …])
#
# Builds an add-on plugin the way the host wants it: one exported symbol, everything else hidden, no undefined symbols, the
# manifest compiled in, and the bundle (library, manifest, SHA256SUMS) in VIA_PLUGIN_OUTPUT_DIRECTORY/NAME, by default
# <build>/plugins/NAME. The manifest's "library" is NAME.so. VIA_PLUGIN_ABI_MINOR is the manifest's "abi" minor: what the
# plugin was written for, which a later SDK leaves as it is.
# In C++ `#include <via/plugin/entry.hpp>` finds the manifest; in C, `#include "via_manifest.inc"` inside the initialiser of
# a char array gives its bytes.
#
# via_add_plugin_check(NAME [CASES …])
#
# A test "NAME.check" that runs via-plugin-check on the bundle, or on the cases named, with the check.json of this folder.
set(VIA_PLUGIN_CMAKE_DIR "${CMAKE_CURRENT_LIST_DIR}")
define_property(GLOBAL PROPERTY VIA_BUNDLED_PLUGINS BRIEF_DOCS "plugins" FULL_DOCS "plugins built in this tree")

function(via_add_plugin name)
  cmake_parse_arguments(A "" "MANIFEST" "SOURCES;DEPENDS" ${ARGN})
  if(A_UNPARSED_ARGUMENTS OR NOT A_SOURCES)
    message(FATAL_ERROR "via_add_plugin(${name}): give SOURCES, and nothing it does not know: ${A_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT A_MANIFEST)
    set(A_MANIFEST manifest.json)
  endif()
  get_filename_component(manifest "${A_MANIFEST}" ABSOLUTE)
  file(READ "${manifest}" text)
  string(JSON library ERROR_VARIABLE wrong GET "${text}" library)
  if(wrong OR NOT library STREQUAL "${name}.so")
    message(FATAL_ERROR "${A_MANIFEST}: \"library\" must be \"${name}.so\" ${wrong}")
  endif()
  string(JSON minor ERROR_VARIABLE wrong GET "${text}" abi minor)
  if(wrong)
    message(FATAL_ERROR "${A_MANIFEST}: \"abi\" must be like {\"major\": 1, \"minor\": 0} ${wrong}")
  endif()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${manifest}")
  set(generated "${CMAKE_CURRENT_BINARY_DIR}/${name}_generated")
  if(NOT VIA_PLUGIN_OUTPUT_DIRECTORY)
    set(VIA_PLUGIN_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/plugins")
  endif()
  set(bundle "${VIA_PLUGIN_OUTPUT_DIRECTORY}/${name}")
  add_custom_command(
    OUTPUT "${generated}/via_manifest.inc"
    COMMAND ${CMAKE_COMMAND} -DIN=${manifest} -DOUT=${generated}/via_manifest.inc
            -P "${VIA_PLUGIN_CMAKE_DIR}/embed.cmake"
    DEPENDS "${manifest}" "${VIA_PLUGIN_CMAKE_DIR}/embed.cmake" VERBATIM)
  add_library(${name} MODULE ${A_SOURCES} "${generated}/via_manifest.inc")
  set_target_properties(${name} PROPERTIES PREFIX "" CXX_VISIBILITY_PRESET hidden C_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON LIBRARY_OUTPUT_DIRECTORY "${bundle}" VIA_BUNDLE "${bundle}"
    LINK_DEPENDS "${VIA_PLUGIN_CMAKE_DIR}/plugin.map")
  target_include_directories(${name} PRIVATE "${generated}")
  target_compile_definitions(${name} PRIVATE VIA_PLUGIN_ABI_MINOR=${minor})
  target_link_libraries(${name} PRIVATE Via::plugin ${A_DEPENDS})
  if(TARGET via_options)
    target_link_libraries(${name} PRIVATE via_options)
  endif()
  # The map also hides what the standard library's templates leave behind, which -fvisibility does not.
  target_link_options(${name} PRIVATE -Wl,--exclude-libs,ALL "-Wl,--version-script=${VIA_PLUGIN_CMAKE_DIR}/plugin.map")
  if(NOT VIA_SANITIZE AND NOT VIA_FUZZ)
    target_link_options(${name} PRIVATE -Wl,-z,defs)
  endif()
  add_custom_command(TARGET ${name} POST_BUILD
    COMMAND ${CMAKE_COMMAND} -E copy_if_different "${manifest}" "${bundle}/manifest.json"
    COMMAND ${CMAKE_COMMAND} -DLIBRARY=$<TARGET_FILE:${name}> -DNM=${CMAKE_NM}
            -P "${VIA_PLUGIN_CMAKE_DIR}/check_exports.cmake"
    COMMAND ${CMAKE_COMMAND} -DNAMES=${library},manifest.json -DFOLDER=${bundle} -P "${VIA_PLUGIN_CMAKE_DIR}/sums.cmake"
    VERBATIM)
  set_property(GLOBAL APPEND PROPERTY VIA_BUNDLED_PLUGINS ${name})
endfunction()

function(via_add_plugin_check name)
  cmake_parse_arguments(A "" "" "CASES" ${ARGN})
  if(TARGET via-plugin-check)
    set(program $<TARGET_FILE:via-plugin-check>)
  else()
    find_program(VIA_PLUGIN_CHECK via-plugin-check HINTS "${VIA_PLUGIN_BIN_DIR}" REQUIRED)
    set(program "${VIA_PLUGIN_CHECK}")
  endif()
  set(only "")
  foreach(case ${A_CASES})
    list(APPEND only --only ${case})
  endforeach()
  get_target_property(bundle ${name} VIA_BUNDLE)
  set(script "")
  if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/check.json")
    set(script --script "${CMAKE_CURRENT_SOURCE_DIR}/check.json")
  endif()
  add_test(NAME ${name}.check COMMAND ${program} ${script} ${only} "${bundle}")
endfunction()
