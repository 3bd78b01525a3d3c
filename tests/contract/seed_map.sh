#!/bin/sh
# Every test that the maps of docs/ name exists, and every row names one. Usage: seed_map.sh ROOT
set -eu
root=$1
known=$(grep -rhoE '^TEST(_F|_P)?\([A-Za-z0-9_]+, *[A-Za-z0-9_]+' "$root/tests" --include='*.cpp' |
  sed -E 's/^TEST(_F|_P)?\(([A-Za-z0-9_]+), *([A-Za-z0-9_]+)$/\2.\3/' | sort -u)
bad=0
for map in "$root/docs/seed-map.md" "$root/docs/data-api-map.md"; do
rows=0
while IFS= read -r line; do
  case $line in
  '|---'* | '| sentence'* | '') continue ;;
  '|'*) ;;
  *) continue ;;
  esac
  rows=$((rows + 1))
  cell=${line%|}
  cell=${cell##*|}
  names=$(printf '%s\n' "$cell" | grep -oE '`[A-Za-z0-9_]+\.[A-Za-z0-9_]+`' | tr -d '`') || {
    echo "no test is named for: $line" >&2
    bad=1
    continue
  }
  for name in $names; do
    printf '%s\n' "$known" | grep -qxF "$name" || {
      echo "no such test: $name" >&2
      bad=1
    }
  done
done <"$map"
[ "$rows" -ge 30 ] || {
  echo "the table of $map has only $rows rows" >&2
  bad=1
}
done
exit $bad
