#!/bin/sh
# The architecture's arrows, checked on the text of the tree: layering.sh ROOT. Prints each violation; exit code 1.
#
#   cli -> core -> plugin-api <- sdk <- plugins/*; core names no add-on type; a plugin includes nothing of core; only
#   core/net includes Beast; inside of core a folder includes only folders before it.
set -u
root=${1:?usage: layering.sh ROOT}
cd "$root" || exit 2
bad=0
complain() {
  if [ -n "$1" ]; then
    echo "$2:"
    echo "$1" | sed 's/^/  /'
    bad=1
  fi
}
sources() { find "$@" -type f \( -name '*.cpp' -o -name '*.hpp' -o -name '*.h' -o -name '*.c' \) 2>/dev/null; }

# Core keeps its own records with the SQLite engine (core/store, and who reports its version); everywhere else the
# word is the name of an add-on type. A line that uses the engine's API or its header is the engine.
complain "$(sources core | grep -v '^core/store/' | xargs -r grep -niE 'sqlite' |
  grep -vE 'sqlite3?_|sqlite3\.h|SQLITE_|// ' )" "core names an add-on type"
complain "$(sources core | xargs -r grep -nE '#include *["<](plugins|sdk|cli|bench|tests)/')" "core includes what is above it"
complain "$(sources plugins sdk plugin-api | xargs -r grep -nE '#include *["<](\.\./)*(core|cli)/')" "a plugin or an SDK includes core"
complain "$(sources plugin-api sdk | xargs -r grep -nE '#include *["<](\.\./)*plugins/')" "the plugin API or an SDK includes a plugin"
complain "$(sources core cli plugins sdk plugin-api | grep -v '^core/net/' | xargs -r grep -nE '#include *[<"]boost/beast')" \
  "Beast outside of core/net"

# Folder by folder, what it may include besides itself.
allow() {
  folder=$1
  shift
  pattern="$folder"
  for part in "$@"; do pattern="$pattern|$part"; done
  complain "$(sources "core/$folder" | xargs -r grep -nE '#include *"core/' | grep -vE "\"core/($pattern)/")" \
    "core/$folder includes a folder that comes after it"
}
allow base
allow store base
allow identity base
allow plugins base
allow isolation base plugins
allow catalog base store
allow bindings base store
allow shares base store
allow logs base
allow sandbox base
allow releases base store identity plugins logs sandbox
allow authorization base identity plugins
allow config base store identity plugins authorization
allow net base identity plugins authorization
allow backup base store identity plugins
allow bundle base plugins
allow lifecycle base store identity catalog bindings shares logs sandbox releases authorization config plugins bundle backup
allow api base store identity catalog bindings shares releases authorization config plugins backup lifecycle net
complain "$(sources cli | xargs -r grep -nE '#include *"core/' | grep -vE '"core/(base/|bundle/|server\.hpp)')" \
  "the command line includes more of core than its base, its bundles and the server's front"
exit $bad
