// Archives of the whole host.
#include "core/api/admin_commands.hpp"
#include "core/store/try.hpp"

namespace via::api {
namespace {

Answer backup_create(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto file = a.optional_text("file").value_or("");
  Secret passphrase(a.optional_text("passphrase").value_or(""));
  const bool waits = wait(a);
  VIA_TRY(a.done());
  return plane.create_backup(file, std::move(passphrase), actor, waits);
}

Answer backup_verify(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto file = a.text("file");
  Secret passphrase(a.optional_text("passphrase").value_or(""));
  const bool waits = wait(a);
  VIA_TRY(a.done());
  return plane.verify_backup(file, std::move(passphrase), actor, waits);
}

Answer backup_list(ControlPlane& plane, Arguments& a, const Actor&) {
  VIA_TRY(a.done());
  return plane.list_backups();
}

constexpr Command kCommands[] = {
    {"backup.create", backup_create},
    {"backup.verify", backup_verify},
    {"backup.list", backup_list},
};

}  // namespace

std::span<const Command> backup_commands() { return kCommands; }

}  // namespace via::api
