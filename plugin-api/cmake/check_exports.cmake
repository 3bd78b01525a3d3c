# A plugin library exports its entry point and nothing else.
execute_process(COMMAND "${NM}" -D --defined-only "${LIBRARY}" OUTPUT_VARIABLE out RESULT_VARIABLE rc)
if(NOT rc EQUAL 0)
  message(FATAL_ERROR "nm failed on ${LIBRARY}")
endif()
string(REGEX MATCHALL "[A-Za-z_][A-Za-z0-9_@.]*\n" names "${out}")
foreach(n ${names})
  string(STRIP "${n}" n)
  # The sanitizer and coverage run-times put symbols of their own into every library.
  if(NOT n STREQUAL "via_plugin_entry_v1" AND NOT n MATCHES "^(__asan|__ubsan|__tsan|__odr_asan|__gcov|_gcov|__llvm|__start|__stop|_ZGV|_ZT[ISV])")
    message(FATAL_ERROR "plugin exports '${n}'; only via_plugin_entry_v1 may be visible")
  endif()
endforeach()
