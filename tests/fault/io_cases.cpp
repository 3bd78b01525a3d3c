// The list of the operations that io_test.cpp puts under faults, with the starts of a host before and after them.
#include "fault/io_cases.hpp"

namespace via::test {
namespace {

using namespace faults;

IoCase command_line() {
  IoCase c = addon_create();
  c.name = "via addon create";
  c.how = How::in_process;
  c.words = {"addon", "create", "sqlite", "extra-db", "--app", "steady", "--bind", "EXTRA"};
  return c;
}

IoCase first_start() {
  IoCase c;
  c.name = "first start";
  c.how = How::first_start;
  c.state = [](IoFault& t, const json&) {
    const json app = t.admin("app.create", {{"name", "first"}});
    return when(app.value("name", "") == "first");
  };
  return c;
}

IoCase start() {
  IoCase c;
  c.name = "start";
  c.how = How::start;
  c.state = [](IoFault&, const json&) { return Is::new_state; };
  return c;
}

// The start behind a host that was killed in the middle of an operation.
IoCase start_after(IoCase killed, double part) {
  IoCase c;
  c.name = "start after " + killed.name;
  c.how = How::start;
  c.may_fail = killed.may_fail;
  c.outside = killed.outside;
  // An index that cannot be made is not an empty log.
  c.always = {"ENOSPC from here on: ftruncate control-plane.db-shm #1", "EIO: open control-plane.db-shm #1"};
  c.prepare = [killed, part](IoFault& t) {
    const json about = killed.prepare ? killed.prepare(t) : json::object();
    t.kill_at(killed.command, killed.arguments(about), part);
    return about;
  };
  // Either is right; a third state is not. With an end that recovery chose, the tests of the operation are the judge.
  c.state = [killed](IoFault& t, const json& about) {
    const Is is = killed.state(t, about);
    return is == Is::neither ? is : Is::new_state;
  };
  return c;
}

}  // namespace

const std::vector<IoCase>& io_cases() {
  static const std::vector<IoCase> all{
      app_create(),     app_delete(),     addon_create(),    addon_ensure(),
      addon_bind(),     addon_unbind(),   addon_share(),   addon_unshare(),   addon_destroy(),   addon_undelete(),
      addon_repair(),   addon_snapshot(), snapshot_delete(), addon_restore(), addon_restore_several(),
      addon_import(),   addon_drain(),    addon_resume(),    rotate(),
      revoke(),         deploy_create(),  runtime_issue(),   runtime_stop(),
      deploy_rollback(), config_set(),    config_unset(),    secret_set(),
      secret_rotate(),  secret_unset(),   addon_export(),    backup_create(false),
      backup_create(true), keys_rotate(), keys_revoke(),     app_repair(),
      plugin_install(), plugin_remove(),  plugin_upgrade(),  plugin_rollback(),
      manifest_apply(), op_cancel(),      command_line(),    backup_restore(),
      first_start(),    start(),
      start_after(addon_create(), 0.5),   start_after(addon_destroy(), 0.6),
      start_after(addon_restore(), 0.6),  start_after(addon_restore_several(), 0.5),
      start_after(deploy_create(), 0.7),
      start_after(addon_undelete(), 0.6), start_after(addon_import(), 0.8),
      start_after(rotate(), 0.6),         start_after(revoke(), 0.6),
      start_after(deploy_rollback(), 0.7), start_after(backup_create(false), 0.9),
      start_after(addon_export(), 0.8),   start_after(keys_rotate(), 0.7),
      start_after(plugin_upgrade(), 0.6), start_after(plugin_rollback(), 0.6),
      start_after(keys_revoke(), 0.7),    start_after(manifest_apply(), 0.6),
  };
  return all;
}

}  // namespace via::test
