#include <doctest/doctest.h>

#include <filesystem>
#include <set>

#include "unit/provision/support.hpp"
#include "base/codes/provision.hpp"
#include "manifest/load.hpp"
#include "manifest/resource_types.hpp"
#include "manifest/resource_undo.hpp"

using namespace kfab;
using namespace kfab::provision;

namespace {
// A value of the kind that a variable of this name takes.
json::Value sample_of(const std::string& name) {
  if (name.ends_with("_fingerprints")) return json::Array{"EFEAAB6ED13302D503BE6E64F68182D8A0D11372"};
  if (name.ends_with("_count")) return 8;
  if (name.ends_with("_sha256")) return std::string(64, 'a');
  if (name.ends_with("_file") || name.ends_with("_path")) return "/srv/some/file";
  if (name.ends_with("_uris")) return json::Array{"https://mirror.example/x"};
  if (name.ends_with("_serials") || name.ends_with("_keys")) return json::Array{"some-value"};
  if (name.ends_with("_rules")) return "chain input { type filter hook input priority 0; }";
  return "some-value";
}
}  // namespace

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
    auto site = test::site_with({*role});
    if (!role->needs.empty()) {
      const auto without = desired_state(site, site.nodes.front());
      CHECK_FALSE(without.state);   // said before anything starts, each in its own words
      CHECK(without.diagnostics.size() == role->needs.size());
      for (const auto& problem : without.diagnostics) CHECK(problem.code == code::role_needs);
      for (const auto& [name, purpose] : role->needs) {
        CHECK_FALSE(purpose.empty());
        CHECK(role->vars.count(name) == 0);   // a default would make it needless
        site.profiles.at("hgx").vars[name] = sample_of(name);
      }
    }
    const auto result = desired_state(site, site.nodes.front());
    for (const auto& problem : result.diagnostics) MESSAGE(problem.message);
    REQUIRE(result.state);
    CHECK(result.state->resources.size() == role->resources.size());
    ++count;
  }
  CHECK(count >= 24);
}

TEST_CASE("resource types: names are unique and what names a resource exists") {
  std::set<std::string_view> types;
  for (const auto& type : manifest::resource_types()) {
    CHECK(types.insert(type.name).second);
    CHECK(type.find(type.names_it) != nullptr);
    REQUIRE(manifest::find_undo(type.name) != nullptr);   // what undoing it means is said
    CHECK_FALSE(manifest::find_undo(type.name)->words.empty());
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

TEST_CASE("resource types: what cannot be is told before a node is asked") {
  const auto problems = [](const char* type, const char* attributes) {
    const auto parsed = json::parse(attributes);
    REQUIRE(parsed);
    std::string text;
    for (const auto& problem : manifest::resource_problems(*manifest::find_resource_type(type), *parsed))
      text += problem.attribute + ": " + problem.message + "\n";
    return text;
  };
  const auto told = [&](const char* type, const char* attributes, const char* words) {
    CAPTURE(type);
    CAPTURE(attributes);
    CAPTURE(problems(type, attributes));
    CHECK(problems(type, attributes).find(words) != std::string::npos);
  };
  told("file", R"({"path":"/a","content":"x","validate":["visudo","-c"]})", "must name the new file by %s");
  told("line", R"({"path":"/a"})", "say what the line is");
  told("line", R"({"path":"/a","line":"x","match":"("})", "no POSIX extended regular expression");
  told("line", R"({"path":"/a","state":"absent"})", "which line shall be absent");
  told("sudoers", R"({"name":"60.ops","content":"x"})", "sudo leaves out files");
  told("ssh_key", R"({"user":"ops","keys":["-----BEGIN OPENSSH PRIVATE KEY-----"]})", "private key");
  told("kernel_argument", R"({"name":"iommu","value":"pt quiet"})", "letters, digits");
  told("kernel_module", R"({"name":"a","blacklist":true,"options":"b=1"})", "has no options");
  told("mount", R"({"path":"/","device":"/dev/sda","fstype":"xfs"})", "root file system");
  told("repository", R"({"name":"a","uris":["https://a"],"key":"k"})", "fingerprints");
  told("repository", R"({"name":"a","uris":["https://a"],"fingerprints":["ABCD1234"],"key":"k"})", "40 hexadecimal digits");
  told("repository", R"({"name":"a","uris":["https://a"],"fingerprints":["x"]})", "nobody signed");
  told("firewall", R"({"rules":"chain i { type filter hook input priority 0; policy drop; }"})", "shut kfab out");
  told("assertion", R"({"message":"m","fact":"os.id"})", "say what the fact must be");
  told("assertion", R"({"message":"m","run":["a"],"shell":"b"})", "in one way");
  told("archive", R"({"path":"/opt","from":"/a.tar","sha256":"00"})", "64 hexadecimal digits");
  told("swap", R"({"state":"on"})", "say what to swap to");
  CHECK(problems("firewall", R"({"rules":"chain i { type filter hook input priority 0; policy drop; ct state established accept; tcp dport 22 accept; }"})").empty());
  CHECK(problems("line", R"({"path":"/a","line":"x {{ y }}","match":"^x{{ z }}("})").empty());   // known only later
  CHECK(problems("mount", R"({"path":"/scratch","device":"/dev/md/scratch","fstype":"xfs"})").empty());
}

TEST_CASE("resource types: two lines of one file are not one thing, one file by two roles is") {
  const auto identity = [](const char* type, const char* attributes) {
    return manifest::resource_identity(*manifest::find_resource_type(type), *json::parse(attributes));
  };
  CHECK(identity("line", R"({"path":"/a","line":"x"})") != identity("line", R"({"path":"/a","line":"y"})"));
  CHECK(identity("line", R"({"path":"/a","line":"x=1","match":"^x="})") == identity("line", R"({"path":"/a","line":"x=2","match":"^x="})"));
  CHECK(identity("file", R"({"path":"/a"})") == identity("directory", R"({"path":"/a"})"));
  CHECK(identity("package", R"({"names":["a"]})").empty());
  CHECK(identity("limits", R"({"item":"memlock"})") != identity("limits", R"({"item":"memlock","domains":["@hpc"]})"));
  CHECK(identity("hugepages", R"({"count":1})") == identity("hugepages", R"({"count":2})"));
  CHECK(identity("firewall", R"({"rules":"a"})") == identity("firewall", R"({"rules":"b"})"));
}
