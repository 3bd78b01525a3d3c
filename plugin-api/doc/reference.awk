# Writes the plugin reference (Markdown) from the headers, so that it says what they say and nothing is kept twice:
#
#   awk -f reference.awk slots=abi/v1.slots FILE… > plugin-reference.md
#
# A FILE that ends in .h is the C ABI: its sections, constants, structs and functions, each with its comment, its thread tag
# and the minor version in which it came (from the slots file). A FILE that ends in .hpp is of the SDK: its classes with their
# comments and what is public in them, without the bodies. Plain POSIX awk; run by the build and by `cmake --install`.
#
# Conventions of plugin.h that this relies on: a comment before fields belongs to all that follow until a blank line or the
# next comment of its own lines; a comment behind a field belongs to that field; the last [init|control|data|call|any] in
# either is the thread tag.

BEGIN {
  title = "# Plugin reference\n\nMade from the headers of this version. [call], [any] and the other tags say how a function may be called; see Rules."
}

FNR == 1 {
  flush_class()
  sdk = FILENAME ~ /\.hpp$/
  is_slots = FILENAME ~ /\.slots$/
  name = FILENAME
  sub(/^.*include\//, "", name)
  pending = ""; in_comment = 0; in_struct = 0; in_enum = 0; depth = 0; head = 1; group = ""
  if (is_slots) next
  if (!printed++) print title
  if (sdk) print "\n## `<" name ">`"
  else print "\n## The C ABI: `<" name ">`"
}

is_slots {
  if ($2 == "-") since[$1] = $5
  else if (NF == 5) since[$1 "." $2] = $5
  next
}

# ---- the C header ----

function trimmed(s) { gsub(/^[ \t]+|[ \t]+$/, "", s); gsub(/[ \t]+/, " ", s); return s }
# Takes the last thread tag out of `s`; it is left in `tag`.
function take_tag(s,    at, rest, found) {
  rest = s; found = ""
  while (match(rest, /\[(init|control|data|call|any)\]/)) {
    found = substr(rest, RSTART, RLENGTH)
    rest = substr(rest, RSTART + RLENGTH)
  }
  # A tag within a sentence is of the sentence; one at the end is the function's.
  if (found != "" && trimmed(rest) == "") {
    tag = found
    at = length(s) - length(rest) - length(found)
    return trimmed(substr(s, 1, at))
  }
  return trimmed(s)
}
# Table cells and sentences go as they are; only what Markdown would read is marked.
function prose(s) { gsub(/</, "\\&lt;", s); gsub(/\*/, "\\*", s); gsub(/_/, "\\_", s); gsub(/\|/, "\\|", s); return s }
function join_text(a, b) { return a == "" ? b : b == "" ? a : a " " b }
function minor_of(key) { return key in since ? "1." since[key] : "1.0" }

# One declaration of a struct, with what stands beside it and before its group.
function field(declaration, beside,    names, n, i, one, text, key, first, list) {
  tag = ""
  text = take_tag(beside)
  if (tag == "") group_text = take_tag(group); else { first = tag; group_text = take_tag(group); tag = first }
  declaration = trimmed(declaration)
  if (match(declaration, /\(\*[a-z_0-9]+\)/)) {
    list = substr(declaration, RSTART + 2, RLENGTH - 3)
    say_field(list, declaration, join_text(group_text, text), 1)
    return
  }
  n = split(declaration, names, ",")
  for (i = 1; i <= n; ++i) {
    one = names[i]
    gsub(/[*;]/, " ", one)
    sub(/\[[0-9]+\]/, "", one)
    one = trimmed(one)
    sub(/^.* /, "", one)
    text_i = join_text(group_text, text)
    if (one == "struct_size") { say_field(one, "uint32_t struct_size", "The size of the struct as its maker knows it; a field is there only if VIA_HAS says so.", 0); continue }
    if (one == "flags" && text_i == "") { say_field(one, "uint32_t flags", "Bits that later versions define; 0.", 0); continue }
    say_field(one, declaration, text_i, 0)
  }
}
function say_field(one, declaration, text, is_function) {
  sub(/;$/, "", declaration)
  print "- `" one "` — `" declaration "`" (is_function ? ", **" (tag == "" ? "[?]" : tag) "**" : "") ", since " minor_of(of "." one) (text == "" ? "." : ". " prose(text))
}
function constant(name, value, text) { print "- `" name "`" (value == "" ? "" : " = `" value "`") (text == "" ? "." : ": " prose(text)) }

!sdk && in_comment {
  line = $0
  done = line ~ /\*\//
  sub(/\*\/.*$/, "", line)
  sub(/^[ \t]*\* ?/, "", line)
  if (head) { rules = rules "\n" line } else pending = join_text(pending, trimmed(line))
  if (!done) next
  in_comment = 0
  if (head) {
    head = 0
    print "\n### Rules\n\n```text\n" rules "\n```"
    pending = ""
    next
  }
  if (continues) { # a comment behind a field that went on
    continues = 0
    field(held, join_text(held_text, pending))
    pending = ""
  } else if (in_struct) { group = pending; pending = "" }
  next
}

!sdk && /^\/\* ---- / {
  line = $0
  gsub(/^\/\* -+ | -+ *\*\/$/, "", line)
  print "\n### " toupper(substr(line, 1, 1)) substr(line, 2)
  pending = table = ""
  next
}
!sdk && /^[ \t]*\/\*/ {
  line = $0
  sub(/^[ \t]*\/\* ?/, "", line)
  if (head && line !~ /\*\//) { rules = line; in_comment = 1; next }
  if (line !~ /\*\//) { pending = trimmed(line); in_comment = 1; continues = 0; next }
  sub(/ *\*\/.*$/, "", line)
  if (in_struct) group = trimmed(line)
  else pending = join_text(pending, trimmed(line))
  next
}
!sdk && /^#define VIA_(EXT|HOST|ABI|PLUGIN)_[A-Z_]+ / {
  text = ""
  line = $0
  if (match(line, /\/\*.*\*\//)) { text = trimmed(substr(line, RSTART + 2, RLENGTH - 4)); line = substr(line, 1, RSTART - 1) }
  split(line, part, " ")
  print ""
  constant(part[2], part[3], join_text(pending, text))
  table = part[2] ~ /^VIA_(EXT|HOST)_/ ? "Of " part[3] ": " join_text(pending, text) "." : ""
  pending = ""
  next
}
!sdk && /^#define VIA_HAS/ {
  print ""
  constant("VIA_HAS(type, p, field)", "", pending)
  pending = ""
  next
}
!sdk && /^(typedef )?struct [a-z_]+ \{.*\}/ { # all on one line
  line = $0; text = ""
  if (match(line, /\/\*.*\*\//)) { text = trimmed(substr(line, RSTART + 2, RLENGTH - 4)); line = substr(line, 1, RSTART - 1) }
  match(line, /struct [a-z_]+/)
  of = substr(line, RSTART + 7, RLENGTH - 7)
  print "\n#### `" of "`\n\nSince " minor_of(of) ". " prose(join_text(pending, text)) "\n"
  body = line
  sub(/^[^{]*\{ */, "", body); sub(/ *\}.*$/, "", body)
  n = split(body, part, ";")
  group = ""
  for (k = 1; k <= n; ++k) if (trimmed(part[k]) != "") field(part[k], text)
  pending = ""
  next
}
!sdk && /^(typedef )?struct [a-z_]+ \{/ {
  line = $0; text = ""
  if (match(line, /\/\*.*\*\//)) { text = trimmed(substr(line, RSTART + 2, RLENGTH - 4)) }
  match(line, /struct [a-z_]+/)
  of = substr(line, RSTART + 7, RLENGTH - 7)
  text = join_text(pending, text)
  if (text == "") text = table
  print "\n#### `" of "`\n\nSince " minor_of(of) "." (text == "" ? "" : " " prose(text)) "\n"
  in_struct = 1; group = ""; pending = ""; statement = ""
  next
}
!sdk && /^enum \{/ {
  print ""
  if (pending != "" && $0 ~ /\}/) { enum_text = pending } else enum_text = ""
  if ($0 ~ /\}/) {
    line = $0; text = ""
    if (match(line, /\/\*.*\*\//)) { text = trimmed(substr(line, RSTART + 2, RLENGTH - 4)); sub(/\/\*.*\*\//, "", line) }
    sub(/^enum \{ */, "", line); sub(/ *\};.*$/, "", line)
    at = index(line, "=")
    constant(trimmed(substr(line, 1, at - 1)), trimmed(substr(line, at + 1)), join_text(enum_text, text))
    pending = ""
    next
  }
  in_enum = 1
  pending = ""
  next
}
!sdk && in_enum && /^\};/ { in_enum = 0; next }
!sdk && in_enum && /VIA_/ {
  line = $0; text = ""
  if (match(line, /\/\*.*\*\//)) { text = trimmed(substr(line, RSTART + 2, RLENGTH - 4)); line = substr(line, 1, RSTART - 1) }
  gsub(/,/, "", line)
  at = index(line, "=")
  if (match(text, /(HTTP )?[1-5][0-9][0-9]$/)) { # the status on the wire, at the end of the line
    http = substr(text, RSTART + RLENGTH - 3)
    text = join_text(trimmed(substr(text, 1, RSTART - 1)), "(HTTP " http ")")
  }
  constant(trimmed(substr(line, 1, at - 1)), trimmed(substr(line, at + 1)), text == "" ? "success" : text)
  next
}
!sdk && in_struct && /^\}/ { in_struct = 0; pending = ""; next }
!sdk && in_struct && /^[ \t]*$/ { group = ""; next }
!sdk && in_struct {
  line = $0; text = ""; open = 0
  if (match(line, /\/\*.*\*\//)) { text = trimmed(substr(line, RSTART + 2, RLENGTH - 4)); line = substr(line, 1, RSTART - 1) substr(line, RSTART + RLENGTH) }
  else if (match(line, /\/\*/)) { text = trimmed(substr(line, RSTART + 2)); line = substr(line, 1, RSTART - 1); open = 1 }
  statement = trimmed(statement " " line)
  if (open) { held = statement; held_text = text; statement = ""; pending = ""; continues = 1; in_comment = 1; next }
  if (statement ~ /;$/) { field(statement, join_text(carried, text)); statement = ""; carried = "" }
  else carried = join_text(carried, text)
  next
}
!sdk && /^typedef .*;/ {
  line = $0; text = ""
  if (match(line, /\/\*.*\*\//)) { text = trimmed(substr(line, RSTART + 2, RLENGTH - 4)); line = substr(line, 1, RSTART - 1) }
  line = trimmed(line)
  sub(/;$/, "", line)
  if (line ~ /^typedef struct [a-z_]+ [a-z_]+$/) next # named again where it is defined
  print "\n- `" line "`" (join_text(pending, text) == "" ? "." : ": " prose(join_text(pending, text)))
  pending = ""
  next
}
!sdk && /^[ \t]*$/ { pending = ""; next }
!sdk { next }

# ---- the SDK ----

function flush_class() {
  if (code != "") print "\n```cpp\n" code "```"
  code = ""; in_class = 0
}
sdk && /^#include|^#pragma|^#if|^#endif|^#else|^#ifndef|^namespace|^\}  \/\/ namespace/ { note = ""; next }
sdk && !in_class && /^\/\// {
  line = $0
  sub(/^\/\/ ?/, "", line)
  if (head) { headtext = headtext "\n" line; next }
  note = note "\n" line
  next
}
sdk && head {
  head = 0
  print "\n```text" headtext "\n```"
  headtext = ""
}
sdk && !in_class && /^#define VIA_PLUGIN\(/ {
  print "\n### `VIA_PLUGIN(types…)`\n\nThe library's export; in one source of the plugin."
  next
}
sdk && !in_class && /^template/ { template_line = $0; next }
sdk && !in_class && /^(class|struct|enum class) [A-Z][A-Za-z]*.*\{/ {
  match($0, /(class|struct) [A-Z][A-Za-z]*/)
  split(substr($0, RSTART, RLENGTH), part, " ")
  print "\n### `" part[2] "`" (note == "" ? "" : "\n" note)
  public = $1 != "class"
  code = (template_line != "" ? template_line "\n" : "") $0 "\n"
  template_line = ""; note = ""; depth = 1; in_class = 1
  if ($0 ~ /\};/) { flush_class() }
  next
}
sdk && in_class {
  if (/^\};/) { code = code "};\n"; flush_class(); next }
  line = $0
  if (depth == 1 && line ~ /^ (public|private|protected):/) { public = line ~ /public/; next }
  before = depth
  opened = gsub(/\{/, "{", line); closed = gsub(/\}/, "}", line)
  if (before == 1 && public) {
    shown = line
    if (shown !~ /^ *\/\// && (opened > 0 || shown ~ /^   +: /)) {
      if (shown ~ /^   +: /) { shown = ""; sub(/\n$/, ";\n", code) }  # a list of initialisers on a line of its own
      else if (shown ~ /^  (struct|class|enum)/) sub(/ \{.*$/, ";", shown)
      else if (match(shown, /\)( const)?( noexcept)?( override)?( : [^"]*)? \{/)) {
        behind = ""
        end_of = substr(shown, RSTART + 1, RLENGTH - 1)
        start_of = substr(shown, 1, RSTART)
        if (match(shown, /  \/\/ .*$/)) behind = substr(shown, RSTART)
        sub(/( : .*)? \{$/, "", end_of)
        shown = start_of end_of ";" behind
      }
    }
    if (shown != "" && shown !~ /^ +[a-z_]+\([^;]*\)[,;]?$/) code = code shown "\n"
  }
  depth += opened - closed
  if (depth < 1) depth = 1
  next
}
sdk && /^[ \t]*$/ { note = ""; template_line = ""; next }
sdk && /^inline [a-z].*\(/ {
  line = $0
  sub(/ *\{.*$/, "", line)
  sub(/^inline /, "", line)
  print "\n- `" line "`" (note == "" ? "" : ":" note)
  note = ""
  next
}
sdk && /^(constexpr|template|void|via_status|std::)/ { note = ""; next }
sdk { next }

END { flush_class() }
