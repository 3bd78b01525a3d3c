// Apps: create, list, show, delete.
#include <nlohmann/json.hpp>

#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/views.hpp"

namespace via::lifecycle {

using nlohmann::json;
using store::Transaction;

// In the caller's transaction.
Result<releases::App> ControlPlane::insert_app(const std::string& name, const Actor& actor) {
  releases::App app;
  app.id = make_id("app");
  app.name = name;
  app.created_at = now();
  VIA_TRY(apps_.insert(app));
  VIA_TRY(record_change("app.create", app.id, actor, {{"app", name}}));
  return app;
}

Result<releases::App> ControlPlane::create_app(const std::string& name, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY(check_name("The app's name", name));
  VIA_TRY_LET(existing, apps_.find(name));
  if (existing) return fail(Code::conflict, "App '" + name + "' exists already. Look at it: via app show " + name);
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY_LET(app, insert_app(name, actor));
  VIA_TRY(change.commit());
  d_.log.info("app.created", {{"app", name}});
  return app;
}

Result<std::vector<releases::App>> ControlPlane::list_apps() {
  VIA_TRY_LET(lock, control());
  return apps_.list();
}

Result<AppView> ControlPlane::show_app(const std::string& name) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(name));
  VIA_TRY_LET(addons, addons_.list(app.id));
  VIA_TRY_LET(bound, bindings_.of_app(app.id));
  VIA_TRY_LET(instances, instances_.wanted(app.id));
  return AppView{std::move(app), std::move(addons), std::move(bound), std::move(instances)};
}

Result<json> ControlPlane::delete_app(const std::string& name, const PlanRequest& request, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(name));
  VIA_TRY(not_claimed("app:" + app.id));
  VIA_TRY_LET(owned, addons_.list(app.id));
  VIA_TRY_LET(bound, bindings_.of_app(app.id));
  VIA_TRY_LET(instances, instances_.wanted(app.id));
  VIA_TRY_LET(logged, instances_.list(app.id));
  VIA_TRY_LET(values, value_table_.load(app.id));
  auto ids = json::array(), plain = json::array(), secrets = json::array(), releases = json::array();
  for (const auto& instance : instances) ids.push_back(instance.id);
  for (const auto& value : values->values) (value.secret() ? secrets : plain).push_back(value.key);
  if (!app.current_release.empty()) releases.push_back(app.current_release);
  json plan = {{"action", "app.delete"},
               {"target", {{"app", name}, {"id", app.id}}},
               {"touches",
                {{"apps", {name}},
                 {"releases", std::move(releases)},
                 {"instances", std::move(ids)},
                 {"bindings", touched(bound)},
                 {"config", std::move(plain)},
                 {"secrets", std::move(secrets)}}},
               {"warnings", json::array()}};
  if (fs::exists(app_folder(app.id) / "data"))
    plan["warnings"].push_back("Its folder /data is deleted with it (" + std::to_string(folder_bytes(app_folder(app.id) / "data")) + " bytes).");
  if (!owned.empty())
    plan["warnings"].push_back("It owns " + std::to_string(owned.size()) + " add-on(s) and is not deleted before they are destroyed.");
  VIA_TRY_LET(shown, check_plan(std::move(plan), request));
  if (!shown.is_null()) return {boost::system::in_place_value, std::move(shown)};
  if (!owned.empty())
    return fail(Code::refused, "App '" + name + "' still owns " + std::to_string(owned.size()) + " add-on(s), such as '" +
                                   owned.front().name + "'. Destroy them first: via addon destroy " +
                                   owned.front().name);
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  for (const auto& binding : bound) VIA_TRY(bindings_.remove(binding.id, now()));
  for (const auto& instance : instances) VIA_TRY(instances_.end(instance.id, releases::InstanceState::stopped, now()));
  VIA_TRY(apps_.remove(app, now()));
  VIA_TRY(record_change("app.delete", app.id, actor,
                        {{"app", name}, {"instances", instances.size()}, {"bindings", bound.size()}}));
  VIA_TRY(change.commit());
  values_.forget(name);
  withdraw(instances);
  end_processes(std::move(lock), instances);
  remove_logs(logged);  // what is written yet, or after a crash here, trim_logs() removes
  {
    VIA_TRY_LET(again, control());
    forget_app_files(app.id, app.uid);
  }
  d_.log.info("app.deleted", {{"app", name}});
  return {boost::system::in_place_value, json{{"deleted", name}}};
}

}  // namespace via::lifecycle
