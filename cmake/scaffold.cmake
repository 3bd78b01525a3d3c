# Writes OUT: the files below FOLDER, as entries {path, text} of a C++ array (cli/commands/plugin_new.cpp).
file(GLOB_RECURSE names RELATIVE "${FOLDER}" "${FOLDER}/*.in")
set(out "")
foreach(name ${names})
  file(READ "${FOLDER}/${name}" text)
  string(REGEX REPLACE "\\.in$" "" path "${name}")
  string(APPEND out "{\"${path}\", R\"scaffold(${text})scaffold\"},\n")
endforeach()
file(WRITE "${OUT}" "${out}")
