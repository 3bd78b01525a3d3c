// Every way a manifest or a configuration can be wrong, and that the refusal names what was wrong.
#include "core/plugins/manifest.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/plugins/config_schema.hpp"

namespace via::plugins {
namespace {

using nlohmann::json;

json good() {
  return json::parse(R"({
    "manifest_version": 1, "id": "test.echo", "version": "1.0", "title": "Echo", "abi": {"major": 1, "minor": 0},
    "library": "echo.so",
    "types": [{"id": "echo", "title": "An echo", "storage_schema": 3, "credentials": "host", "scopes": ["read", "write"],
      "access": {"read_write": ["read", "write"], "read_only": ["read"]},
      "ops": [{"name": "say", "scopes": ["read"]}, {"name": "put", "scopes": ["write"]}],
      "derived": ["_URL"], "limits": {"parallel_ops": 7},
      "config_schema": {"type": "object"}}]})");
}

TEST(Manifest, AGoodOneIsReadWhole) {
  const std::string text = good().dump(2);
  const auto m = parse_manifest(text);
  ASSERT_TRUE(m) << m.error().message;
  EXPECT_EQ(m->id, "test.echo");
  EXPECT_EQ(m->abi_major, 1);
  EXPECT_EQ(m->text, text) << "byte for byte";
  ASSERT_EQ(m->types.size(), 1U);
  const AddonType& t = m->types[0];
  EXPECT_EQ(t.plugin_id, "test.echo");
  EXPECT_EQ(t.storage_schema, 3U);
  EXPECT_EQ(t.parallel_ops, 7U);
  EXPECT_EQ(t.ops[1].name, "put");
  EXPECT_EQ(t.derived, std::vector<std::string>{"_URL"});
  EXPECT_EQ(t.scopes_for(true), std::vector<std::string>{"read"});
}

TEST(Manifest, WhatIsOptionalHasADefault) {
  json m = good();
  m.erase("title");
  for (const char* name : {"title", "storage_schema", "credentials", "ops", "derived", "limits", "config_schema"})
    m["types"][0].erase(name);
  m["types"][0]["access"].erase("read_only");
  const auto parsed = parse_manifest(m.dump());
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->title, "test.echo");
  EXPECT_EQ(parsed->types[0].parallel_ops, 16U);
  EXPECT_TRUE(parsed->types[0].ops.empty());
}

TEST(Manifest, EveryWrongMemberIsNamed) {
  struct Case {
    const char* pointer;
    json value;  // discarded = the member is taken away
    const char* named;
  };
  const json gone(json::value_t::discarded);
  const Case cases[] = {
      {"/manifest_version", gone, "manifest_version"}, {"/manifest_version", 2, "manifest_version"},
      {"/manifest_version", "1", "manifest_version"},  {"/id", gone, "id"},
      {"/id", "", "id"},                               {"/id", 7, "id"},
      {"/id", "../x", "id"},                           {"/id", "Acme", "id"},
      {"/id", "a/b", "id"},                            {"/id", std::string(65, 'a'), "id"},
      {"/version", gone, "version"},                   {"/title", 7, "title"},
      {"/version", "..", "version"},                   {"/version", "1/2", "version"},
      {"/version", "v1", "version"},                   {"/version", std::string(65, '1'), "version"},
      {"/abi", gone, "abi"},                           {"/abi", "1.0", "abi"},
      {"/abi/major", -1, "major"},                     {"/abi/major", 1.5, "major"},
      {"/abi/major", 65537, "abi"},                    {"/library", gone, "library"},
      {"/library", "../echo.so", "library"},           {"/library", "/lib/echo.so", "library"},
      {"/library", ".hidden", "library"},              {"/types", gone, "types"},
      {"/types", json::array(), "types"},              {"/types", json::object(), "types"},
      {"/types/0", 7, "types"},                        {"/types/0/id", gone, "id"},
      {"/types/0/id", "Echo", "type id"},              {"/types/0/id", std::string(33, 'a'), "type id"},
      {"/types/0/id", "1echo", "type id"},             {"/types/0/storage_schema", -1, "storage_schema"},
      {"/types/0/storage_schema", 4294967296, "storage_schema"},
      {"/types/0/credentials", "mine", "credentials"}, {"/types/0/scopes", gone, "scopes"},
      {"/types/0/scopes", json::array(), "scopes"},    {"/types/0/scopes", {1}, "scopes"},
      {"/types/0/scopes", "read", "scopes"},           {"/types/0/access", gone, "access"},
      {"/types/0/access", json::array(), "access"},    {"/types/0/access/read_write", gone, "read_write"},
      {"/types/0/access/read_write", {"admin"}, "admin"}, {"/types/0/access/read_only", {"admin"}, "admin"},
      {"/types/0/ops", json::object(), "ops"},         {"/types/0/ops/0", 7, "ops"},
      {"/types/0/ops/0/name", gone, "name"},           {"/types/0/ops/0/name", "http", "http"},
      {"/types/0/ops/0/name", "Say", "operation name"}, {"/types/0/ops/0/name", "put", "put"},
      {"/types/0/ops/0/scopes", gone, "scopes"},       {"/types/0/ops/0/scopes", {"admin"}, "admin"},
      {"/types/0/derived", {"-url"}, "derived"},       {"/types/0/derived", "_URL", "derived"},
      {"/types/0/limits", 7, "limits"},                {"/types/0/limits/parallel_ops", "7", "parallel_ops"},
      {"/types/0/config_schema", "x", "config_schema"}, {"/types/1", good()["types"][0], "twice"},
  };
  for (const Case& c : cases) {
    json m = good();
    const json::json_pointer at(c.pointer);
    if (c.value.is_discarded())
      m[at.parent_pointer()].erase(at.back());
    else
      m[at] = c.value;
    const auto parsed = parse_manifest(m.dump());
    ASSERT_FALSE(parsed) << c.pointer << " = " << c.value;
    EXPECT_EQ(parsed.error().code, Code::bad_request);
    EXPECT_NE(parsed.error().message.find(c.named), std::string::npos) << c.pointer << ": " << parsed.error().message;
  }
}

TEST(Manifest, VersionsAreOrderedAsSemverSays) {
  const std::vector<std::string> order = {"0.9",        "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta.2", "1.0.0-beta.11",
                                          "1.0.0-rc.1", "1.0.0",       "1.0.1",         "1.9.0",        "1.10.0", "10"};
  for (std::size_t i = 0; i < order.size(); ++i)
    for (std::size_t j = 0; j < order.size(); ++j)
      EXPECT_EQ(compare_versions(order[i], order[j]), i < j ? -1 : i > j ? 1 : 0) << order[i] << " " << order[j];
  EXPECT_EQ(compare_versions("1.0", "1.0.0"), 0);
  EXPECT_EQ(compare_versions("1.0.0+a", "1.0.0+b"), 0);
  EXPECT_EQ(compare_versions("1.02", "1.2"), 0);
}

TEST(Manifest, TextThatIsNotOneJsonObjectWithSingleNamesIsRefused) {
  const std::string g = good().dump();
  const std::string deep = std::string(40, '[') + std::string(40, ']');
  for (const std::string& text : {std::string(), std::string("{"), std::string("[]"), std::string("null"), g + g, g + "x",
                                  "{\"id\":\"x\"," + g.substr(1), "{\"a\":" + deep + "," + g.substr(1),
                                  std::string("\xff") + g}) {
    const auto parsed = parse_manifest(text);
    EXPECT_FALSE(parsed) << text.substr(0, 60);
  }
}

TEST(Manifest, ParallelOperationsAreBroughtIntoRange) {
  for (const auto& [given, kept] : {std::pair{0U, 1U}, std::pair{5000U, 1024U}}) {
    json m = good();
    m["types"][0]["limits"]["parallel_ops"] = given;
    EXPECT_EQ(parse_manifest(m.dump())->types[0].parallel_ops, kept);
  }
}

TEST(ConfigSchema, AnswersAsItsTableSays) {
  const std::string schema = R"({"type":"object","additionalProperties":false,"required":["size"],"properties":{
    "size":{"type":"integer","minimum":1,"maximum":9},"mode":{"enum":["fast","safe"]},"rate":{"type":"number"},
    "on":{"type":"boolean"},"name":{"type":"string"},"list":{"type":"array"},"none":{"type":"null"},
    "inner":{"type":"object","properties":{"x":{"type":"integer"}},"additionalProperties":false}}})";
  struct Case {
    const char* config;
    const char* named;  // in the message; null = good
  };
  for (const Case& c : std::initializer_list<Case>{
           {R"({"size":1})", nullptr},
           {R"({"size":9,"mode":"safe","rate":1.5,"on":true,"name":"","list":[1],"none":null,"inner":{"x":1}})", nullptr},
           {R"({})", "size"},
           {R"({"size":0})", "size"},
           {R"({"size":10})", "size"},
           {R"({"size":1.5})", "size"},
           {R"({"size":"1"})", "size"},
           {R"({"size":1,"mode":"other"})", "mode"},
           {R"({"size":1,"rate":"1"})", "rate"},
           {R"({"size":1,"on":1})", "on"},
           {R"({"size":1,"name":1})", "name"},
           {R"({"size":1,"list":{}})", "list"},
           {R"({"size":1,"none":0})", "none"},
           {R"({"size":1,"inner":{"x":"1"}})", "inner.x"},
           {R"({"size":1,"inner":{"y":1}})", "inner.y"},
           {R"({"size":1,"extra":1})", "extra"},
           {R"([])", "object"},
           {R"({"size":1)", "JSON"},
       }) {
    const auto checked = check_against_schema(schema, c.config);
    EXPECT_EQ(checked.has_value(), c.named == nullptr) << c.config;
    if (!checked) {
      EXPECT_NE(checked.error().message.find(c.named), std::string::npos) << c.config << ": " << checked.error().message;
      EXPECT_EQ(checked.error().code, Code::bad_request);
    }
  }
}

TEST(ConfigSchema, ATypeWithoutASchemaTakesAnyObject) {
  EXPECT_TRUE(check_against_schema("", ""));
  EXPECT_TRUE(check_against_schema("", "{\"a\":1}"));
  EXPECT_FALSE(check_against_schema("", "[]"));
}

}  // namespace
}  // namespace via::plugins
