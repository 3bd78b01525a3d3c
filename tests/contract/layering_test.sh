#!/bin/sh
# The test of the test: a tree that keeps the rules passes, and each single violation is found.
set -eu
check=$(dirname "$0")/layering.sh
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

fresh() {
  rm -rf "$tree"/*
  mkdir -p "$tree"/core/base "$tree"/core/store "$tree"/core/net "$tree"/core/lifecycle "$tree"/plugins/sqlite "$tree"/plugin-api/include/via \
    "$tree"/sdk/runtime/cpp/src "$tree"/cli
  echo '#include "core/base/error.hpp"' >"$tree"/core/store/store.cpp
  echo 'int open() { return sqlite3_open("x", nullptr); }  // SQLite keeps the records' >>"$tree"/core/store/store.cpp
  echo '#include "core/base/error.hpp"' >"$tree"/core/lifecycle/addons.cpp
  echo '#include <boost/beast/http.hpp>' >"$tree"/core/net/session.cpp
  echo '#include <via/plugin.h>' >"$tree"/plugins/sqlite/plugin.cpp
  echo '#include "core/server.hpp"' >"$tree"/cli/main.cpp
}
# violation NAME FILE LINE
violation() {
  fresh
  echo "$3" >>"$tree/$2"
  if sh "$check" "$tree" >/dev/null; then
    echo "not found: $1" >&2
    exit 1
  fi
}

fresh
sh "$check" "$tree" || { echo "a clean tree was refused" >&2; exit 1; }
violation "add-on type in core" core/lifecycle/addons.cpp 'if (type == "sqlite") return;'
violation "add-on type in core's name" core/base/kinds.hpp 'struct SqliteAddon {};'
violation "core includes a plugin" core/lifecycle/addons.cpp '#include "plugins/sqlite/plugin.hpp"'
violation "core includes the command line" core/lifecycle/addons.cpp '#include "cli/run.hpp"'
violation "plugin includes core" plugins/sqlite/plugin.cpp '#include "core/base/error.hpp"'
violation "plugin includes core by a relative path" plugins/sqlite/plugin.cpp '#include "../../core/base/error.hpp"'
violation "plugin API includes core" plugin-api/include/via/plugin.h '#include "core/base/error.hpp"'
violation "SDK includes core" sdk/runtime/cpp/src/sql.cpp '#include "core/base/error.hpp"'
violation "SDK includes a plugin" sdk/runtime/cpp/src/sql.cpp '#include "plugins/sqlite/plugin.hpp"'
violation "Beast outside of net" core/lifecycle/addons.cpp '#include <boost/beast/http.hpp>'
violation "Beast in a plugin" plugins/sqlite/plugin.cpp '#include <boost/beast/http.hpp>'
violation "base includes store" core/base/files.cpp '#include "core/store/store.hpp"'
violation "store includes lifecycle" core/store/store.cpp '#include "core/lifecycle/control_plane.hpp"'
violation "net includes lifecycle" core/net/session.cpp '#include "core/lifecycle/control_plane.hpp"'
violation "lifecycle includes net" core/lifecycle/addons.cpp '#include "core/net/session.hpp"'
violation "command line reaches into core" cli/main.cpp '#include "core/store/store.hpp"'
