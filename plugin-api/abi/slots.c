/* Compares via/plugin.h, as this compiler lays it out, with the slots that were released.
 *
 *   slots FILE        fails when a released slot moved, changed its size or is gone, or when the header grew without a
 *                     new minor version
 *   slots --print     the slots of the header, in the file's form
 *
 * Run by ctest (abi.slots) on LP64 machines. */
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

int main(int argc, char **argv) {
  if (sizeof(void *) != 8) return 0;
  if (argc == 2 && strcmp(argv[1], "--print") == 0) {
    printf("# The released slots of via/plugin.h (LP64): struct, field, offset, size. Made by: slots --print\n");
    printf("abi %u.%u\n", VIA_ABI_MAJOR, VIA_ABI_MINOR);
    for (int i = 0; i < kCount; ++i)
      printf("%s %s %zu %zu\n", kSlots[i].of, kSlots[i].field != NULL ? kSlots[i].field : "-", kSlots[i].offset,
             kSlots[i].size);
    return 0;
  }
  FILE *in = argc == 2 ? fopen(argv[1], "r") : NULL;
  if (in == NULL) {
    fprintf(stderr, "usage: slots FILE | --print\n");
    return 2;
  }
  check_complete();
  unsigned major = 0, minor = 0;
  char line[256], of[64], field[64];
  static char recorded[kCount];
  while (fgets(line, sizeof line, in) != NULL) {
    size_t offset = 0, size = 0;
    if (line[0] == '#' || line[0] == '\n' || sscanf(line, "abi %u.%u", &major, &minor) == 2) continue;
    if (sscanf(line, "%63s %63s %zu %zu", of, field, &offset, &size) != 4) {
      wrong("line", NULL, line);
      continue;
    }
    const char *name = strcmp(field, "-") == 0 ? NULL : field;
    const slot *now = find(of, name);
    if (now == NULL) {
      wrong(of, name, "was released and is gone");
      continue;
    }
    recorded[now - kSlots] = 1;
    if (name != NULL && (now->offset != offset || now->size != size)) wrong(of, name, "moved or changed its size");
    if (name == NULL && now->size != size) {
      const int grows = find(of, "struct_size") != NULL;
      if (!grows) wrong(of, NULL, "is frozen and changed its size");
      if (now->size < size) wrong(of, NULL, "shrank");
    }
  }
  fclose(in);
  if (major != VIA_ABI_MAJOR) wrong("abi", NULL, "another major version is another file");
  for (int i = 0; i < kCount; ++i)
    if (!recorded[i] && (int)VIA_ABI_MINOR <= (int)minor)
      wrong(kSlots[i].of, kSlots[i].field, "is new: raise VIA_ABI_MINOR, record it in the slots file and in CHANGELOG.md");
  return failures == 0 ? 0 : 1;
}
