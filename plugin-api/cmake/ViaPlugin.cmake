# via_add_plugin(NAME SOURCES … MANIFEST manifest.json [DEPENDS …])
#
# Builds an add-on plugin the way the host wants it: one exported symbol, everything else hidden, no undefined
# symbols, the manifest embedded and laid beside the library, both under <build>/lib/via/plugins/NAME/.
# In a source, `#include "via_manifest.inc"` inside the initialiser of a char array gives the manifest's bytes:
#   static const char kManifest[] = {
#   #include "via_manifest.inc"
#   };
set(VIA_PLUGIN_CMAKE_DIR "${CMAKE_CURRENT_LIST_DIR}")
define_property(GLOBAL PROPERTY VIA_BUNDLED_PLUGINS BRIEF_DOCS "plugins" FULL_DOCS "plugins built in this tree")

function(via_add_plugin name)
  cmake_parse_arguments(A "" "MANIFEST" "SOURCES;DEPENDS" ${ARGN})
  get_filename_component(manifest "${A_MANIFEST}" ABSOLUTE)
  set(generated "${CMAKE_CURRENT_BINARY_DIR}/${name}_generated")
  set(bundle "${CMAKE_BINARY_DIR}/lib/via/plugins/${name}")
  add_custom_command(
    OUTPUT "${generated}/via_manifest.inc"
    COMMAND ${CMAKE_COMMAND} -DIN=${manifest} -DOUT=${generated}/via_manifest.inc
            -P "${VIA_PLUGIN_CMAKE_DIR}/embed.cmake"
    DEPENDS "${manifest}" "${VIA_PLUGIN_CMAKE_DIR}/embed.cmake")
  add_library(${name} MODULE ${A_SOURCES} "${generated}/via_manifest.inc")
  set_target_properties(${name} PROPERTIES PREFIX "" CXX_VISIBILITY_PRESET hidden C_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON LIBRARY_OUTPUT_DIRECTORY "${bundle}")
  target_include_directories(${name} PRIVATE "${generated}")
  target_link_libraries(${name} PRIVATE via_plugin_api ${A_DEPENDS})
  if(TARGET via_options)
    target_link_libraries(${name} PRIVATE via_options)
  endif()
  target_link_options(${name} PRIVATE -Wl,--exclude-libs,ALL)
  if(NOT VIA_SANITIZE AND NOT VIA_FUZZ)
    target_link_options(${name} PRIVATE -Wl,-z,defs)
  endif()
  add_custom_command(TARGET ${name} POST_BUILD
    COMMAND ${CMAKE_COMMAND} -E copy_if_different "${manifest}" "${bundle}/manifest.json"
    COMMAND ${CMAKE_COMMAND} -DLIBRARY=$<TARGET_FILE:${name}> -DNM=${CMAKE_NM}
            -P "${VIA_PLUGIN_CMAKE_DIR}/check_exports.cmake")
  set_property(GLOBAL APPEND PROPERTY VIA_BUNDLED_PLUGINS ${name})
endfunction()
