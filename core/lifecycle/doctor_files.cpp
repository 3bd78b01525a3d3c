#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/lifecycle/doctor.hpp"

namespace via::lifecycle {

namespace {

bool temporary(const fs::path& path, const fs::path& relative) {
  const std::string name = path.filename().string();
  // Only names that this program gives; deeper down an add-on keeps files under names of its own.
  const auto depth = std::distance(relative.begin(), relative.end());
  if (depth > 5) return false;
  if (name.starts_with(".") && name.ends_with(".partial")) return true;
  if (name.starts_with(".restore-")) return true;
  return relative.begin()->string() == "backups" && name.ends_with(".partial");
}

}  // namespace

nlohmann::json to_json(const DoctorCheck& c) {
  return {{"name", c.name},       {"ok", c.ok},       {"detail", c.detail},
          {"fixable", c.fixable}, {"fixed", c.fixed}, {"next", c.next.empty() ? nlohmann::json(nullptr) : nlohmann::json(c.next)}};
}

std::string some_of(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size() && i < 3; ++i) out += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > 3) out += " and " + std::to_string(names.size() - 3) + " more";
  return out;
}

std::int64_t modified_ms(const fs::path& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) return 0;
  return static_cast<std::int64_t>(st.st_mtim.tv_sec) * 1000 + st.st_mtim.tv_nsec / 1'000'000;
}

StateFiles look_at_files(const fs::path& state_dir, std::int64_t now_ms, std::int64_t stale_ms) {
  StateFiles out;
  const auto look = [&](const fs::path& path, bool& enter) {
    struct stat st {};
    enter = false;
    if (::lstat(path.c_str(), &st) != 0) return;  // it went away meanwhile
    // The admin group goes through the state folder; which group that is, a start looks at. Material of an app with a user of its own is
    // its group's to read.
    const mode_t others = path == state_dir ? 067 : path.lexically_relative(state_dir).begin()->string() == "runtimes" ? 027 : 077;
    const bool folder = S_ISDIR(st.st_mode), open = (st.st_mode & others) != 0 || st.st_uid != ::geteuid();
    enter = folder;
    if (folder && open) out.open_folders.push_back(path);
    if (S_ISREG(st.st_mode) && open) out.open_files.push_back(path);
  };
  bool enter = false;
  look(state_dir, enter);
  std::error_code ec;
  fs::recursive_directory_iterator at(state_dir, fs::directory_options::skip_permission_denied, ec);
  for (const fs::recursive_directory_iterator end; !ec && at != end; at.increment(ec)) {
    const fs::path path = at->path(), relative = path.lexically_relative(state_dir);
    if (at.depth() == 2 && path.filename() == "data" && relative.begin()->string() == "apps") {  // the app's own
      at.disable_recursion_pending();
      continue;
    }
    if (at.depth() == 0 && path.filename() == "config.toml") continue;
    look(path, enter);
    if (at.depth() == 0 && path.filename() == "plugins") enter = false;
    const bool stale = temporary(path, relative) && now_ms - modified_ms(path) > stale_ms;
    if (stale) {
      out.leftovers.push_back(path);
      enter = false;
    }
    if (!enter) at.disable_recursion_pending();
  }
  out.complete = !ec;
  return out;
}

bool make_private(const fs::path& path, bool folder) {
  const FileHandle file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | (folder ? O_DIRECTORY : 0)));
  struct stat st {};
  if (!file || ::fstat(file.get(), &st) != 0 || st.st_uid != ::geteuid()) return false;
  if (!folder && !S_ISREG(st.st_mode)) return false;
  return ::fchmod(file.get(), folder ? 0700 : 0600) == 0;
}

}  // namespace via::lifecycle
