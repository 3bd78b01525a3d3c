# Writes SHA256SUMS of the files in FOLDER that NAMES lists: what `via plugin verify` and `sha256sum --check` compare.
string(REPLACE "," ";" NAMES "${NAMES}")
set(text "")
foreach(name ${NAMES})
  file(SHA256 "${FOLDER}/${name}" sum)
  string(APPEND text "${sum}  ${name}\n")
endforeach()
file(WRITE "${FOLDER}/SHA256SUMS" "${text}")
