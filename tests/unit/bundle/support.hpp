// A plugin's folder as a build leaves it, with a library that is one in name only: nothing here loads it.
#pragma once

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "core/base/files.hpp"
#include "core/base/tar.hpp"
#include "core/bundle/bundle.hpp"
#include "support/fakes.hpp"

namespace via::bundle::test {

inline std::string manifest_text(const std::string& id = "acme.notes", const std::string& version = "1.2.0") {
  return R"({"manifest_version":1,"id":")" + id + R"(","version":")" + version +
         R"(","abi":{"major":1,"minor":0},"library":"notes.so","types":[{"id":"acme-notes","scopes":["r"],"access":{"read_write":["r"]}}]})";
}

struct Folder {
  explicit Folder(const std::string& manifest = manifest_text()) {
    put("manifest.json", manifest);
    put("notes.so", "\x7f" "ELF…" + manifest + "…");
  }
  void put(const std::string& name, const std::string& bytes) const {
    ASSERT_TRUE(write_file_atomic(path() / name, bytes));
  }
  const fs::path& path() const { return root.path(); }
  via::test::TemporaryFolder root;
};

inline std::string entry(std::string_view name, std::string_view bytes) {
  const auto header = tar_header(name, bytes.size());
  std::string out(header->data(), header->size());
  return out.append(bytes).append(tar_padding(bytes.size()), '\0');
}
inline const std::string kEnd(2 * kTarBlock, '\0');

}  // namespace via::bundle::test
