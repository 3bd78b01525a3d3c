/* Compares via/plugin.h, as this compiler lays it out, with the slots that were released. A line of the file is
 * "struct field offset size minor": the minor version in which the slot came; the field "-" is the struct itself.
 *
 *   slots FILE          fails when a released slot moved, changed its size or is gone, or when the header grew without a new
 *                       minor version. Of a file of the header's own minor, every size must be equal.
 *   slots --print FILE  the slots of the header in the file's form; what FILE has keeps its minor, the rest gets the header's
 *
 * Run by ctest (abi.slots…) on LP64 machines, on today's header and on the frozen ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "via/plugin.h"

typedef struct slot {
  const char *of, *field; /* field NULL = the struct itself */
  size_t offset, size;
} slot;

#define S(type) {#type, NULL, 0, sizeof(type)},
#define F(type, field) {#type, #field, offsetof(type, field), sizeof(((type *)0)->field)},
/* structs that have no typedef of their own are named by their typedef in the header */
static const slot kSlots[] = {
#include "slots.inc"
};
enum { kCount = sizeof kSlots / sizeof kSlots[0] };

static unsigned minors[kCount]; /* of each slot, from the file */
static char recorded[kCount];
static unsigned file_major, file_minor;
static int failures = 0;

static void wrong(const char *of, const char *field, const char *what) {
  fprintf(stderr, "%s%s%s: %s\n", of, field != NULL ? "." : "", field != NULL ? field : "", what);
  ++failures;
}

static const slot *find(const char *of, const char *field) {
  for (int i = 0; i < kCount; ++i)
    if (strcmp(kSlots[i].of, of) == 0 && (field == NULL) == (kSlots[i].field == NULL) &&
        (field == NULL || strcmp(kSlots[i].field, field) == 0))
      return &kSlots[i];
  return NULL;
}

/* A hole of eight bytes or more, or one at the end, is a field that slots.inc does not list. */
static void check_complete(void) {
  const slot *whole = NULL;
  size_t at = 0;
  for (int i = 0; i <= kCount; ++i) {
    if (i == kCount || kSlots[i].field == NULL) {
      if (whole != NULL && whole->size >= at + 8) wrong(whole->of, NULL, "slots.inc does not list its last field");
      if (i == kCount) break;
      whole = &kSlots[i];
      at = 0;
      continue;
    }
    if (kSlots[i].offset < at) wrong(kSlots[i].of, kSlots[i].field, "stands in another order in slots.inc");
    if (kSlots[i].offset > at + 7) wrong(kSlots[i].of, kSlots[i].field, "slots.inc lacks a field before it");
    at = kSlots[i].offset + kSlots[i].size;
  }
}

/* Inside a struct a slot may only be as old as those before it, or newer: growth is at the end. */
static void check_growth(void) {
  unsigned last = 0;
  for (int i = 0; i < kCount; ++i) {
    if (kSlots[i].field == NULL) last = 0;
    else if (minors[i] < last) wrong(kSlots[i].of, kSlots[i].field, "is older than a field before it: a struct grows at its end");
    else last = minors[i];
  }
}

static void read_slots(FILE *in) {
  char line[256], of[64], field[64];
  while (fgets(line, sizeof line, in) != NULL) {
    size_t offset = 0, size = 0;
    unsigned minor = 0;
    const slot *now;
    const char *name;
    if (line[0] == '#' || line[0] == '\n' || sscanf(line, "abi %u.%u", &file_major, &file_minor) == 2) continue;
    if (sscanf(line, "%63s %63s %zu %zu %u", of, field, &offset, &size, &minor) != 5) {
      wrong("line", NULL, line);
      continue;
    }
    name = strcmp(field, "-") == 0 ? NULL : field;
    if (minor > file_minor) wrong(of, name, "is newer than the file");
    now = find(of, name);
    if (now == NULL) {
      wrong(of, name, "was released and is gone");
      continue;
    }
    recorded[now - kSlots] = 1;
    minors[now - kSlots] = minor;
    if (name != NULL && (now->offset != offset || now->size != size)) wrong(of, name, "moved or changed its size");
    if (name == NULL && now->size != size) {
      if (find(of, "struct_size") == NULL) wrong(of, NULL, "is frozen and changed its size");
      if (now->size < size) wrong(of, NULL, "shrank");
      if (file_minor == VIA_ABI_MINOR) wrong(of, NULL, "has another size than the slots file says");
    }
  }
}

int main(int argc, char **argv) {
  const int print = argc == 3 && strcmp(argv[1], "--print") == 0;
  FILE *in;
  if (sizeof(void *) != 8) return 0;
  in = print || argc == 2 ? fopen(argv[argc - 1], "r") : NULL;
  if (in == NULL) {
    fprintf(stderr, "usage: slots FILE | slots --print FILE\n");
    return 2;
  }
  if (!print) check_complete();
  read_slots(in);
  fclose(in);
  if (print) {
    printf("# The released slots of via/plugin.h (LP64): struct, field, offset, size, minor version. Made by: slots --print\n");
    printf("abi %u.%u\n", VIA_ABI_MAJOR, VIA_ABI_MINOR);
    for (int i = 0; i < kCount; ++i)
      printf("%s %s %zu %zu %u\n", kSlots[i].of, kSlots[i].field != NULL ? kSlots[i].field : "-", kSlots[i].offset,
             kSlots[i].size, recorded[i] ? minors[i] : VIA_ABI_MINOR);
    return 0;
  }
  if (file_major != VIA_ABI_MAJOR) wrong("abi", NULL, "another major version is another file");
  for (int i = 0; i < kCount; ++i) {
    if (recorded[i]) continue;
    minors[i] = VIA_ABI_MINOR;
    if ((int)VIA_ABI_MINOR <= (int)file_minor)
      wrong(kSlots[i].of, kSlots[i].field, "is new: raise VIA_ABI_MINOR, record it in the slots file and in CHANGELOG.md");
  }
  check_growth();
  return failures == 0 ? 0 : 1;
}
