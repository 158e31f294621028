#include <doctest/doctest.h>

#include <filesystem>
#include <set>

#include "unit/provision/support.hpp"
#include "manifest/load.hpp"
#include "manifest/resource_types.hpp"

using namespace kfab;
using namespace kfab::provision;

TEST_CASE("shipped roles: each loads, and can be planned for a node with its own defaults alone") {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(KFAB_SOURCE_DIR) + "/manifests/roles")) {
    if (entry.path().extension() != ".yaml") continue;
    CAPTURE(entry.path().string());
    const auto loaded = manifest::load_file(entry.path());
    for (const auto& problem : loaded.diagnostics) MESSAGE(problem.message);
    CHECK_FALSE(has_errors(loaded.diagnostics));
    const auto* role = std::get_if<manifest::Role>(&loaded.document);
    REQUIRE(role != nullptr);
    CHECK(role->name == entry.path().stem().string());
    CHECK_FALSE(role->description.empty());
    const auto site = test::site_with({*role});
    const auto result = desired_state(site, site.nodes.front());
    for (const auto& problem : result.diagnostics) MESSAGE(problem.message);
    REQUIRE(result.state);
    CHECK(result.state->resources.size() == role->resources.size());
    ++count;
  }
  CHECK(count >= 7);
}

TEST_CASE("resource types: names are unique and what names a resource exists") {
  std::set<std::string_view> types;
  for (const auto& type : manifest::resource_types()) {
    CHECK(types.insert(type.name).second);
    CHECK(type.find(type.names_it) != nullptr);
    std::set<std::string_view> names;
    for (const auto& attribute : type.attributes) {
      CAPTURE(attribute.name);
      CHECK(names.insert(attribute.name).second);
      CHECK_FALSE(attribute.help.empty());
      for (const auto& key : manifest::common_resource_keys()) CHECK(key.name != attribute.name);
    }
  }
}

TEST_CASE("resource types: values that do not fit are told in words") {
  const auto problem = [](const char* type, const char* attribute, json::Value value) {
    return manifest::attribute_problem(*manifest::find_resource_type(type)->find(attribute), value).value_or("");
  };
  CHECK(problem("file", "mode", "0644").empty());
  CHECK(problem("file", "mode", 644) == "expected permission bits such as \"0644\", found the number 644");
  CHECK(problem("file", "mode", "rw") == "expected permission bits such as \"0644\", found 'rw'");
  CHECK(problem("file", "path", "etc/x") == "expected an absolute path, found 'etc/x'");
  CHECK(problem("file", "path", "/etc/../x") == "expected a path without '..' in it, found '/etc/../x'");
  CHECK(problem("file", "state", "gone") == "expected present or absent, found 'gone'");
  CHECK(problem("user", "uid", "12") == "expected a whole number, found the string '12'");
  CHECK(problem("user", "uid", 1.5) == "expected a whole number, found the number 1.5");
  CHECK(problem("user", "uid", "{{ uid }}").empty());
  CHECK(problem("package", "names", json::Array{"a", 1}) == "expected a list of strings, found a list");
  CHECK(problem("command", "timeout_s", 0) == "expected 1 to 86400 seconds, found 0");
  CHECK(problem("sysctl", "value", 0).empty());
}
