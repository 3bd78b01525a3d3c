// The file itself and its entry table: what a host looks at before it trusts a library with anything.
#include <elf.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "sdk/plugin/check/session.hpp"

namespace via::check {
namespace {

// Names of the symbols that the library defines for others, from its dynamic symbol table.
std::vector<std::string> exported(const fs::path& library) {
  std::ifstream in(library, std::ios::binary);
  const std::string file((std::istreambuf_iterator<char>(in)), {});
  const auto at = [&](std::uint64_t offset, std::uint64_t size) {
    if (offset > file.size() || size > file.size() - offset) broken("the library is no ELF file that can be read");
    return file.data() + offset;
  };
  Elf64_Ehdr header;
  std::memcpy(&header, at(0, sizeof header), sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64)
    broken("the library is no 64-bit ELF file");
  std::vector<std::string> out;
  std::vector<Elf64_Shdr> sections(header.e_shnum);
  for (std::size_t i = 0; i < sections.size(); ++i)
    std::memcpy(&sections[i], at(header.e_shoff + i * header.e_shentsize, sizeof(Elf64_Shdr)), sizeof(Elf64_Shdr));
  for (const auto& section : sections) {
    if (section.sh_type != SHT_DYNSYM || section.sh_link >= sections.size()) continue;
    const auto& names = sections[section.sh_link];
    for (std::uint64_t i = 0; i < section.sh_size / sizeof(Elf64_Sym); ++i) {
      Elf64_Sym symbol;
      std::memcpy(&symbol, at(section.sh_offset + i * sizeof symbol, sizeof symbol), sizeof symbol);
      const auto bind = ELF64_ST_BIND(symbol.st_info);
      const auto seen = ELF64_ST_VISIBILITY(symbol.st_other);
      if (symbol.st_shndx == SHN_UNDEF || bind == STB_LOCAL || seen == STV_HIDDEN || seen == STV_INTERNAL) continue;
      if (symbol.st_name >= names.sh_size) continue;
      const char* name = at(names.sh_offset + symbol.st_name, 1);
      out.emplace_back(name, ::strnlen(name, file.size() - static_cast<std::size_t>(name - file.data())));
    }
  }
  return out;
}

// The run-times of the sanitizers put symbols of their own into every library.
bool of_a_sanitizer(const std::string& name) {
  for (const char* prefix : {"__asan", "__ubsan", "__tsan", "__odr_asan", "__gcov", "_ZGV", "_ZT"})
    if (name.starts_with(prefix)) return true;
  return false;
}

void one_export(const Subject& subject, const fs::path&) {
  bool found = false;
  for (const auto& name : exported(subject.library)) {
    if (name == VIA_PLUGIN_ENTRY_SYMBOL) found = true;
    else if (!of_a_sanitizer(name)) broken("it exports '" + name + "'; only " VIA_PLUGIN_ENTRY_SYMBOL " may be visible");
  }
  if (!found) broken("it does not export " VIA_PLUGIN_ENTRY_SYMBOL);
}

void quick_scan(const Subject& subject, const fs::path& root) {
  const std::size_t threads = threads_now();
  const auto begin = std::chrono::steady_clock::now();
  const via_plugin_entry* entry = load_entry(subject);
  const auto again = load_entry(subject);
  const auto used = std::chrono::steady_clock::now() - begin;
  if (entry != again) broken("the entry is another one at the second call; it must be constant");
  if (used > std::chrono::seconds(1)) broken("loading it and reading its entry took more than a second");
  if (threads_now() != threads) broken("loading it started a thread");
  for (const char* part : {"storage", "elsewhere"})
    if (!fs::is_empty(root / part)) broken("loading it made files");
}

void entry_table(const Subject& subject, const fs::path&) {
  const via_plugin_entry& entry = *load_entry(subject);
  if (!VIA_HAS(via_plugin_entry, &entry, create)) broken("the entry table is too short for ABI 1.0");
  if (entry.init == nullptr || entry.deinit == nullptr || entry.create == nullptr || entry.get_extension == nullptr)
    broken("the entry table has an empty slot");
  if (entry.abi_major != VIA_ABI_MAJOR)
    broken("it is built for ABI major " + std::to_string(entry.abi_major) + ", not " + std::to_string(VIA_ABI_MAJOR));
  const json& abi = subject.manifest["abi"];
  if (abi.value("major", 0) != entry.abi_major || abi.value("minor", 0) != entry.abi_minor)
    broken("the library and its manifest name different ABI versions");
}

void manifest_equal(const Subject& subject, const fs::path&) {
  const via_plugin_entry& entry = *load_entry(subject);
  if (plugin::view(entry.manifest_json) != subject.manifest_text)
    broken("the manifest beside the library is not, byte for byte, the one inside it");
}

void unknown_extension(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  for (const char* id : {"via.none/1", "via.ops/99", "", "com.example.thing/1"}) {
    if (s.entry().get_extension(id) != nullptr) broken(std::string("the library has a table for the unknown id '") + id + "'");
    if (s.instance()->api->get_extension(s.instance(), id) != nullptr)
      broken(std::string("the instance has a table for the unknown id '") + id + "'");
  }
}

void unknown_type(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  if (!s.init()) broken("init failed: " + s.message());
  const via_sink nowhere{nullptr, [](void*, via_bytes) -> via_status { return VIA_OK; }};
  const via_instance_spec spec{sizeof spec, 0, plugin::str("no-such-type")};
  via_instance* const untouched = reinterpret_cast<via_instance*>(&s);
  via_instance* out = untouched;
  const via_status status = s.entry().create(s.host(), &spec, &out, &nowhere);
  if (status != VIA_E_NOT_FOUND) broken("create of an unknown type answered " + std::to_string(status) + ", not VIA_E_NOT_FOUND");
  if (out != untouched) broken("create of an unknown type wrote to *out");
}

void empty_slots(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  if (!s.init()) broken("init failed: " + s.message());
  if (!s.create()) broken("create failed: " + s.message());
  const via_instance_api& api = *s.instance()->api;
  if (api.provision == nullptr || api.open == nullptr || api.close == nullptr || api.deprovision == nullptr || api.bind == nullptr ||
      api.rotate == nullptr || api.revoke == nullptr || api.describe == nullptr || api.health == nullptr ||
      api.get_extension == nullptr || api.destroy == nullptr)
    broken("the instance's table has an empty slot");
  if (s.op_count() > 0 && s.ops() == nullptr) broken("the manifest declares operations, and there is no via.ops/1");
  if (subject.type.contains("http") && api.get_extension(s.instance(), VIA_EXT_HTTP) == nullptr)
    broken("the manifest declares HTTP routes, and there is no via.http/1");
}

void again_after_deinit(const Subject& subject, const fs::path& root) {
  for (int i = 0; i < 3; ++i) {
    Session s(subject, root);
    s.start();
    s.close();
    s.destroy();
  }
}

}  // namespace

std::vector<Case> library_cases() {
  return {
      {"library", "one_export", "nothing but the entry point is visible", one_export, false},
      {"library", "quick_scan", "loading runs no code that takes time, makes files or starts threads", quick_scan, false},
      {"library", "entry_table", "the entry table is whole and of the manifest's ABI", entry_table, false},
      {"library", "manifest_equal", "the manifest inside is the one beside it", manifest_equal, false},
      {"library", "empty_slots", "every function of the instance is there, and what the manifest declares", empty_slots},
      {"library", "unknown_extension", "an unknown extension id gives NULL", unknown_extension},
      {"library", "unknown_type", "an unknown type is VIA_E_NOT_FOUND and leaves *out alone", unknown_type},
      {"library", "again_after_deinit", "the library can be used again after deinit", again_after_deinit},
  };
}

}  // namespace via::check
