#include "provision/desired_state.hpp"

#include <doctest/doctest.h>

#include "base/codes/provision.hpp"
#include "unit/provision/support.hpp"

using namespace kfab;
using namespace kfab::provision;
using namespace kfab::provision::test;

namespace {
manifest::Role role(const std::string& name, std::vector<manifest::ResourceDecl> resources) {
  manifest::Role result;
  result.name = name;
  result.resources = std::move(resources);
  return result;
}
DesiredStateResult plan(const manifest::Site& site) { return desired_state(site, site.nodes.front()); }
manifest::ResourceDecl file(const std::string& id, const std::string& path, std::vector<std::string> after = {}) {
  return resource("file", id, {{"path", path}, {"content", "x"}}, std::move(after));
}
}  // namespace

TEST_CASE("desired state: roles in order, ids unique, dependencies first, else as declared") {
  const auto site = site_with({role("first", {file("c", "/c", {"a"}), file("b", "/b"), file("a", "/a")}),
                               role("second", {file("a", "/d", {"first/b"})})});
  const auto result = plan(site);
  REQUIRE(result.state);
  CHECK(ids_of(*result.state) == "first/b first/a first/c second/a");
  CHECK(result.state->resources[2].after == std::vector<std::string>{"first/a"});
  CHECK(result.state->resources[3].after == std::vector<std::string>{"first/b"});
  CHECK(result.diagnostics.empty());
}

TEST_CASE("desired state: the nearer variable wins, and the node's names are there") {
  auto base = role(
      "base",
      {resource("file", "f",
                {{"path", "/etc/{{ node.name }}"},
                 {"content",
                  "{{ a }} {{ b }} {{ c }} {{ site.name }} {{ tranche.name }} {{ profile.name }} {{ node.rack }}"}})});
  base.vars = {{"a", "role"}, {"b", "role"}, {"c", "role"}};
  auto site = site_with({base});
  site.profiles["hgx"].vars = {{"b", "profile"}, {"c", "profile"}};
  site.nodes.front().vars = {{"c", "node"}};
  const auto result = plan(site);
  REQUIRE(result.state);
  const auto& attributes = result.state->resources[0].attributes;
  CHECK(attributes.string_or("path") == "/etc/gpu001");
  CHECK(attributes.string_or("content") == "role profile node ulsan t1 hgx r1");
}

TEST_CASE("desired state: verbatim content is left alone, and what is the host's own does not travel") {
  const auto site = site_with({role(
      "r",
      {resource("file", "f", {{"path", "/x"}, {"content", "{{ .Go }}"}, {"verbatim", true}, {"source", "x.tmpl"}})})});
  const auto result = plan(site);
  REQUIRE(result.state);
  CHECK(json::dump(result.state->resources[0].attributes) == R"({"path":"/x","content":"{{ .Go }}"})");
}

TEST_CASE("desired state: a number of a variable stays one, a file's content is text") {
  auto r = role(
      "r", {resource("user", "u", {{"name", "ops"}, {"uid", "{{ uid }}"}, {"groups", json::Array{"{{ groups }}"}}}),
            resource("file", "f", {{"path", "/x"}, {"content", "{{ uid }}"}})});
  r.vars = {{"uid", 2000}, {"groups", json::Array{"adm", "video"}}};
  const auto result = plan(site_with({r}));
  REQUIRE(result.state);
  CHECK(result.state->resources[0].attributes.int_or("uid", 0) == 2000);
  CHECK(json::dump(result.state->resources[0].attributes["groups"]) == R"(["adm","video"])");
  CHECK(result.state->resources[1].attributes.string_or("content") == "2000");
}

TEST_CASE("desired state: everything that is wrong is told at once, and there is no state") {
  auto bad = role("bad", {resource("file", "t", {{"path", "/x"}, {"content", "a\nb {{ node.nam }}"}}),
                          resource("user", "u", {{"name", "x"}, {"uid", "{{ node.name }}"}}),
                          resource("command", "c", {{"run", json::Array{"true"}}}), file("d", "/d", {"nowhere"}),
                          resource("teapot", "p", {})});
  const auto result = plan(site_with({bad}));
  CHECK_FALSE(result.state);
  std::string codes;
  for (const auto& problem : result.diagnostics) {
    codes += to_string(problem.code) + " ";
    CHECK(problem.node == "gpu001");
  }
  CHECK(codes == "KF3001 KF3005 KF3005 KF3005 KF3007 ");
  CHECK(result.diagnostics[0].message == "content of t, line 2, column 6: nothing defines 'node.nam'");
  CHECK(result.diagnostics[0].suggestions.front() == "node.name");
  CHECK(result.diagnostics[0].path == "roles.bad.t.content");
  CHECK(result.diagnostics[1].message.find("expected a whole number, found the string 'gpu001'") != std::string::npos);
  CHECK(result.diagnostics[2].message.find("needs a guard") != std::string::npos);
}

TEST_CASE("desired state: circles, ids used twice, unknown roles and profiles") {
  auto result = plan(site_with({role("r", {file("a", "/a", {"b"}), file("b", "/b", {"c"}), file("c", "/c", {"b"})})}));
  CHECK_FALSE(result.state);
  REQUIRE(result.diagnostics.size() == 1);
  CHECK(result.diagnostics[0].code == code::resource_cycle);
  CHECK(result.diagnostics[0].message.find("b -> c -> b") != std::string::npos);

  result = plan(site_with({role("r", {file("a", "/a"), file("a", "/b")})}));
  CHECK(result.diagnostics.at(0).code == code::resource_id_duplicate);

  auto site = site_with({role("time-chrony", {})});
  site.profiles["hgx"].roles = {"time-chroni"};
  result = plan(site);
  CHECK(result.diagnostics.at(0).code == code::role_unknown);
  CHECK(result.diagnostics.at(0).suggestions.at(0) == "time-chrony");
  site.nodes.front().profile = "hgy";
  result = plan(site);
  CHECK(result.diagnostics.at(0).code == code::profile_unknown);
}

TEST_CASE("desired state: the same thing said differently by two roles is warned of") {
  const auto different = plan(site_with(
      {role("a", {file("f", "/etc/x")}), role("b", {resource("file", "f", {{"path", "/etc/x"}, {"content", "y"}})})}));
  REQUIRE(different.state);
  REQUIRE(different.diagnostics.size() == 1);
  CHECK(different.diagnostics[0].code == code::resource_conflict);
  CHECK(plan(site_with({role("a", {file("f", "/etc/x")}), role("b", {file("f", "/etc/x")})})).diagnostics.empty());
}

TEST_CASE("desired state: equal states have equal digests, others not; the request has what the agent reads") {
  const auto one =
      plan(site_with({role("r", {file("a", "/a"), resource("service", "s", {{"name", "x"}}, {}, {"a"})})}));
  const auto same =
      plan(site_with({role("r", {file("a", "/a"), resource("service", "s", {{"name", "x"}}, {}, {"a"})})}));
  const auto other =
      plan(site_with({role("r", {file("a", "/b"), resource("service", "s", {{"name", "x"}}, {}, {"a"})})}));
  REQUIRE(one.state);
  CHECK(one.state->sha256.size() == 64);
  CHECK(one.state->sha256 == same.state->sha256);
  CHECK(one.state->sha256 != other.state->sha256);
  CHECK(json::dump(json::Value(agent_request(*one.state, Mode::apply))["resources"]) ==
        R"([{"id":"r/a","type":"file","attributes":{"path":"/a","content":"x"},"after":[],"restart_on":[]},)"
        R"({"id":"r/s","type":"service","attributes":{"name":"x"},"after":[],"restart_on":["r/a"]}])");
}

TEST_CASE("desired state: a profile without roles asks for nothing") {
  const auto result = plan(site_with({}));
  REQUIRE(result.state);
  CHECK(result.state->resources.empty());
}

TEST_CASE("desired state: how many nodes may apply it at once goes along, and is no part of what the state is") {
  auto narrow = role("narrow", {file("a", "/a"), file("b", "/b")});
  const auto without = plan(site_with({narrow}));
  narrow.concurrency = 4;
  narrow.resources[1].concurrency = 1;
  const auto with = plan(site_with({narrow}));
  REQUIRE(with.state);
  REQUIRE(without.state);
  CHECK(with.state->sha256 == without.state->sha256);
  CHECK(turn_limits({*without.state}).empty());
  CHECK(turn_limits({*with.state, *without.state}) == std::map<std::string, std::size_t>{{"narrow", 4}, {"narrow/b", 1}});
  const json::Value request = agent_request(*with.state, Mode::apply);
  CHECK(json::dump(request.array_at("resources").at(1)["turns"]) == R"([{"name":"narrow","limit":4},{"name":"narrow/b","limit":1}])");
  const json::Value plain = agent_request(*without.state, Mode::apply);
  CHECK(plain.array_at("resources").at(0)["turns"].is_null());
}
