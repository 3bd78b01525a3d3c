// Bundles of the fake plugin of world.hpp, test.box, in versions of one storage schema or the next.
#pragma once

#include "core/bundle/bundle.hpp"
#include "world.hpp"

namespace via::test {

struct Boxes {
  TemporaryFolder folder;

  static std::string manifest(const std::string& version, int schema, const std::string& id = "test.box", const std::string& type = "box") {
    return R"({"manifest_version":1,"id":")" + id + R"(","version":")" + version +
           R"(","abi":{"major":1,"minor":0},"library":"box.so","types":[{"id":")" + type + R"(","storage_schema":)" + std::to_string(schema) +
           R"(,"scopes":["read","write"],"access":{"read_write":["read","write"],"read_only":["read"]},)"
           R"("ops":[{"name":"look","scopes":["read"]},{"name":"put","scopes":["write"]}],"derived":["_URL"]}]})";
  }
  // The plugin's folder as a build leaves it.
  fs::path built(const std::string& manifest, const std::string& code = "code") {
    const fs::path out = folder.path() / ("built-" + std::to_string(++made_));
    EXPECT_TRUE(make_private_folder(out));
    EXPECT_TRUE(write_file_atomic(out / "manifest.json", manifest));
    EXPECT_TRUE(write_file_atomic(out / "box.so", code + manifest));
    return out;
  }
  std::string packed(const std::string& manifest, const bundle::SigningKey* key = nullptr, const std::string& code = "code") {
    const auto made = bundle::gather(built(manifest, code), key);
    EXPECT_TRUE(made);
    const fs::path file = folder.path() / (std::to_string(++made_) + ".viaplugin");
    EXPECT_TRUE(write_file_atomic(file, *bundle::pack(*made)));
    return file.string();
  }

 private:
  int made_ = 0;
};

}  // namespace via::test
