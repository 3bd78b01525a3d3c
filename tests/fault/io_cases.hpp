// The operations under faults, by area of the life cycle (io_cases_*.cpp), and what they begin with and are looked at with
// (io_looks.cpp). A further operation is one more function here and one more entry of the list in io_cases.cpp.
// Thread: the test's own.
#pragma once

#include "fault/io_fault.hpp"

namespace via::test::faults {

namespace fs = std::filesystem;

Is neither(const std::string& why);
Is when(bool happened);
std::optional<json> addon(IoFault& t, const std::string& name = "extra-db");
bool has_binding(IoFault& t, const std::string& binding, const std::string& app = "steady");
// An add-on that nothing uses, with no data of an app in it.
json extra_addon(IoFault& t);
json extra_bound(IoFault& t);
// App "other" with rows in its database: "first", then a snapshot, then "second".
json other_with_snapshot(IoFault& t);
json rows_of_other(IoFault& t, const json& about);
std::string config_value(IoFault& t);
// The first column of the first row; empty when it cannot be read.
std::string one_value(const fs::path& file, const char* sql);

IoCase addon_create();
IoCase addon_ensure();
IoCase addon_bind();
IoCase addon_share();
IoCase addon_unshare();
IoCase addon_unbind();
IoCase addon_destroy();
IoCase addon_undelete();
IoCase addon_repair();
IoCase addon_drain();
IoCase addon_resume();
IoCase rotate();
IoCase revoke();

IoCase addon_snapshot();
IoCase snapshot_delete();
IoCase addon_restore();
IoCase addon_restore_several();
IoCase addon_import();
IoCase addon_export();
IoCase backup_create(bool encrypted);
IoCase backup_restore();
IoCase op_cancel();

IoCase plugin_install();
IoCase plugin_remove();
IoCase plugin_upgrade();
IoCase plugin_rollback();

IoCase app_create();
IoCase app_delete();
IoCase app_repair();
IoCase manifest_apply();
IoCase deploy_create();
IoCase deploy_rollback();
IoCase runtime_issue();
IoCase runtime_stop();

IoCase config_set();
IoCase config_unset();
IoCase secret_set();
IoCase secret_rotate();
IoCase secret_unset();
IoCase keys_rotate();
IoCase keys_revoke();

}  // namespace via::test::faults
