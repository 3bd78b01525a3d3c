// A fixture plugin copied to a folder of its own, so that a test can tamper with it.
#pragma once

#include <sys/stat.h>

#include <fstream>

#include <gtest/gtest.h>

#include "core/base/log.hpp"
#include "core/plugins/plugin_host.hpp"
#include "support/fakes.hpp"

namespace via::plugins::test {

namespace fs = std::filesystem;

struct Bundle {
  explicit Bundle(const std::string& name) : folder(root.path() / name), library(folder / (name + ".so")) {
    fs::copy(fs::path(VIA_TEST_PLUGINS) / name, folder);
    // Build folders may be open to a group; bundles that are loaded may not.
    ::chmod(folder.c_str(), 0755);
    for (const auto& entry : fs::directory_iterator(folder)) ::chmod(entry.path().c_str(), 0644);
  }
  fs::path manifest() const { return folder / "manifest.json"; }
  std::string pin() const { return inspect(folder).sha256; }
  std::string manifest_text() const {
    std::ifstream in(manifest(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void set_manifest(const std::string& text) const { std::ofstream(manifest(), std::ios::binary) << text; }

  via::test::TemporaryFolder root;
  fs::path folder, library;
};

struct HostParts {
  SystemClock clock;
  via::test::FakeEntropy entropy;
  std::shared_ptr<std::vector<std::string>> lines = std::make_shared<std::vector<std::string>>();
  Logger log{lines};
  Executor executor{clock, 8};
  Metrics metrics;
  SecretBox secrets{Secret(std::string(32, 'k')), entropy};
  Services services{clock, log, executor, metrics, secrets};
  via::test::TemporaryFolder state;
};

}  // namespace via::plugins::test
