#!/bin/sh
# The plugin reference is whole: plugin_reference.sh AWK ROOT. Makes it as the build does and holds it against the slots file
# and the SDK's headers, which it reads in its own way: every slot of the ABI with a text and a minor version, every function
# with a thread tag, every public class with a comment. Prints what is missing; exit code 1.
set -u
awk=${1:?usage: plugin_reference.sh AWK ROOT}
root=${2:?usage: plugin_reference.sh AWK ROOT}
cd "$root" || exit 2
include=sdk/plugin/include/via
made=$(mktemp) || exit 2
trap 'rm -f "$made"' EXIT
headers="$include/plugin/values.hpp $include/plugin/host.hpp $include/plugin/call.hpp $include/plugin/shell.hpp
  $include/plugin/entry.hpp $include/plugin/testing.hpp $include/testing.hpp"
# shellcheck disable=SC2086
"$awk" -f plugin-api/doc/reference.awk plugin-api/abi/v1.slots plugin-api/include/via/plugin.h $headers > "$made" || exit 1
bad=0
missing() {
  echo "$1"
  bad=1
}

# Each header of the SDK is in it.
for header in "$include"/plugin/*.hpp "$include"/testing.hpp; do
  case " $(echo $headers) " in *" $header "*) ;; *) missing "$header is not in the reference" ;; esac
done

# Slots: "struct field offset size minor".
slots=$("$awk" -v made="$made" '
  BEGIN {
    while ((getline line < made) > 0) {
      if (line ~ /^#### `/) { of = line; gsub(/^#### `|`$/, "", of); structs[of] = 1; continue }
      if (line ~ /^##/) { of = ""; continue }
      if (of != "" && line ~ /^Since 1\.[0-9]+\. ./) told[of] = 1
      if (of == "" || line !~ /^- `[a-z0-9_]+` — /) continue
      field = line; sub(/^- `/, "", field); sub(/`.*$/, "", field)
      text = line; sub(/^.*, since 1\.[0-9]+\.? ?/, "", text)
      minor = line; sub(/^.*, since 1\./, "", minor); sub(/[^0-9].*$/, "", minor)
      fields[of "." field] = line; texts[of "." field] = text; minors[of "." field] = minor
    }
  }
  /^#/ || /^abi/ { next }
  $2 == "-" { if (!($1 in structs)) print $1 " is not in the reference"; else if (!($1 in told)) print $1 " has no text"; next }
  {
    key = $1 "." $2
    if (!(key in fields)) { print key " is not in the reference"; next }
    if (length(texts[key]) < 8) print key " has no text"
    if (minors[key] != $5) print key " is said to be of 1." minors[key] ", the slots file says 1." $5
    if (fields[key] ~ /\(\*/ && fields[key] !~ /\*\*\[(init|control|data|call|any)\]\*\*/) print key " has no thread tag"
  }' plugin-api/abi/v1.slots)
[ -z "$slots" ] || missing "$slots"

# Constants.
for name in $(sed -n 's/^#define \(VIA_\(EXT\|HOST\)_[A-Z_]*\) .*/\1/p; s/^ *\(VIA_[A-Z_]*\) = .*/\1/p; s/^enum { \(VIA_[A-Z_]*\) = .*/\1/p' plugin-api/include/via/plugin.h); do
  grep -q "^- \`$name\` = .*: ." "$made" || missing "$name is not in the reference, or has no text"
done

# Classes of the SDK, each with a comment between its heading and its code.
for name in $(sed -n 's/^\(class\|struct\|enum class\) \([A-Z][A-Za-z]*\) .*{.*/\2/p' $headers | sort -u); do
  "$awk" -v heading="### \`$name\`" '
    $0 == heading { at = 1; next }
    at && /^```/ { exit }
    at && /^##/ { exit }
    at && length($0) > 8 { good = 1 }
    END { exit good ? 0 : 1 }' "$made" || missing "the class $name is not in the reference, or has no comment"
done
exit $bad
