// via plugin pack and keygen: what a plugin's author does before a release. No host is asked.
#include <filesystem>

#include "cli/commands/plugin.hpp"
#include "core/base/files.hpp"
#include "core/bundle/bundle.hpp"

namespace via::cli {
namespace {

Result<Json> pack(const fs::path& folder, const std::string& key_file, const fs::path& wanted) {
  std::optional<bundle::SigningKey> key;
  if (!key_file.empty()) {
    auto read = bundle::SigningKey::read(key_file);
    if (!read) return read.error();
    key.emplace(std::move(*read));
  }
  auto made = bundle::gather(folder, key ? &*key : nullptr);
  if (!made) return made.error();
  auto bytes = bundle::pack(*made);
  if (!bytes) return bytes.error();
  // What was packed is read as a host would, so that no bundle leaves that none would take.
  if (auto readable = bundle::read(*bytes); !readable) return readable.error();
  const fs::path file = fs::absolute(wanted.empty() ? fs::path(made->file_name()) : wanted);
  std::error_code ec;
  if (fs::exists(fs::symlink_status(file, ec)) && !fs::is_regular_file(fs::symlink_status(file, ec)))
    return fail(Code::conflict, "'" + file.filename().string() + "' is there already and is no file. Name another with -o.");
  if (auto written = write_file_atomic(file, *bytes, 0644); !written)
    return fail(Code::refused, "The bundle cannot be written: does its folder exist, and may you write there?");
  Json names = Json::array();
  for (const auto& [name, content] : made->files) names.push_back(name);
  return {boost::system::in_place_value,
          Json{{"file", file.string()},
               {"id", made->manifest.id},
               {"version", made->manifest.version},
               {"bytes", bytes->size()},
               {"files", std::move(names)},
               {"library_sha256", made->library_sha256},
               {"digest", made->digest},
               {"signed_by", made->signature ? Json(bundle::fingerprint(made->signature->key)) : Json(nullptr)}}};
}

}  // namespace

void add_plugin_pack_commands(CommandTree& tree, CLI::App& group) {
  Command& packing = tree.add(group, "pack", "make a bundle, ID-VERSION.viaplugin, of a plugin's folder", "");
  packing.argument("folder", "FOLDER", "what the build left: manifest.json and the library", Kind::file)
      .option("--sign", "sign", "KEYFILE", "sign it with this key (via plugin keygen)", Kind::file)
      .option("-o,--output", "output", "FILE", "the bundle; default: ID-VERSION.viaplugin here", Kind::file)
      .examples({"via plugin pack build/plugins/acme-notes", "via plugin pack build/plugins/acme-notes --sign ~/acme.key -o dist/notes.viaplugin"})
      .local([&packing](Session& session) {
        const auto request = packing.arguments();
        if (!request) return report(session.environment, session.globals, request.error());
        const auto made = pack(request->value("folder", ""), request->value("sign", ""), request->value("output", ""));
        if (!made) return report(session.environment, session.globals, made.error());
        const std::string file = made->value("file", "");
        if (session.globals.json) {
          session.output.line(made->dump(2));
        } else if (session.globals.quiet) {
          session.output.line(file);
        } else {
          session.output.fields({{"bundle", "file"},
                                 {"plugin", "id"},
                                 {"version", "version"},
                                 {"files", "files", Show::list},
                                 {"sha256", "library_sha256"},
                                 {"signed by", "signed_by"}},
                                *made);
          session.output.hint("Install it: via plugin install " + fs::path(file).filename().string());
        }
        return 0;
      });
  Command& keygen = tree.add(group, "keygen", "make a pair of keys to sign bundles with", "");
  keygen.argument("file", "FILE", "the private key (mode 0600); the public one becomes FILE.pub", Kind::file)
      .examples({"via plugin keygen ~/acme.key"})
      .local([&keygen](Session& session) {
        const auto request = keygen.arguments();
        if (!request) return report(session.environment, session.globals, request.error());
        const std::string file = request->value("file", "");
        const auto key = bundle::SigningKey::create(file);
        if (!key) return report(session.environment, session.globals, key.error());
        const Json made{{"private", file}, {"public", file + ".pub"}, {"fingerprint", bundle::fingerprint(key->public_key())}};
        if (session.globals.json) {
          session.output.line(made.dump(2));
        } else if (session.globals.quiet) {
          session.output.line(made.value("fingerprint", ""));
        } else {
          session.output.fields({{"private", "private"}, {"public", "public"}, {"fingerprint", "fingerprint"}}, made);
          session.output.hint("Keep the private key to yourself. Operators trust the public one: via plugin keys add NAME " +
                              fs::path(file).filename().string() + ".pub");
        }
        return 0;
      });
}

}  // namespace via::cli
