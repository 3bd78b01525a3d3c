// Directory mode: the files below a folder as keys (docs/data-api.md, "Directories"). A key is the path of a regular file below
// the folder, with slashes. Databases, hidden files, links and files with several names are no keys.
//
// What a folder holds is kept in an index, which is made anew when one of its folders has changed. A file that may be a
// database is never opened while SQLite could have it open: closing any descriptor of a file drops the locks that the
// process has on it.
// Thread: any worker; may block.
#pragma once

#include "plugins/sqlite/api/databases.hpp"

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace via::sqlite::api {

struct PlainFile {
  std::string key;
  uint64_t bytes = 0;
  int64_t modified_ms = 0;
};

class Directories {
 public:
  static constexpr size_t kMaxFiles = 100'000, kMaxDepth = 32, kMaxCached = 16;
  static constexpr uint64_t kMaxValue = 32u << 20;

  explicit Directories(Databases& databases) : databases_(databases) {}

  // The files whose key begins with `prefix`, in byte order, from the `offset`th on. `folder` is a real path
  // (Databases::real_path) of a directory. 413 for more than kMaxFiles; `rebuild` looks at everything again.
  Failure list(const std::string& folder, std::string_view prefix, int64_t limit, int64_t offset, bool rebuild, std::vector<PlainFile>& out);
  // The content of a file; 404 "Key not found", 413 over kMaxValue.
  Failure read(const std::string& folder, std::string_view key, std::string& value, PlainFile& about);
  // Durable when it returns; 404 "Key not found".
  Failure remove(const std::string& folder, std::string_view key);
  void forget(const std::string& folder);

  struct Cached {
    size_t directories = 0, files = 0;
  };
  Cached cached() const;

 private:
  struct Index;
  Failure index_of(const std::string& folder, bool rebuild, std::shared_ptr<const Index>& out);

  Databases& databases_;
  mutable std::mutex mutex_;
  std::vector<std::pair<std::string, std::shared_ptr<const Index>>> cache_;  // the last used one last; guarded by mutex_
};

}  // namespace via::sqlite::api
