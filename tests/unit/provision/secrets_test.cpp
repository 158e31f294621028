#include "provision/secrets.hpp"

#include <doctest/doctest.h>

#include "base/codes/plan.hpp"
#include "provision/plan_file.hpp"
#include "unit/provision/support.hpp"

using namespace kfab;
using namespace kfab::provision;
using namespace kfab::provision::test;

namespace {

json::Value by(const std::string& kind, json::Value what) { return json::Object{{"secret", json::Object{{kind, std::move(what)}}}}; }

// One role with a file whose content names the password; the variable is a secret.
manifest::Site site_with_secret(manifest::ResourceDecl declared) {
  manifest::Role role;
  role.name = "r";
  role.vars["password"] = by("env", "DB_PASSWORD");
  role.vars["user"] = "kfab";
  role.resources.push_back(std::move(declared));
  return site_with({role});
}

const std::string template_text = "user={{ user }}\npassword={{ password }}\n";

}  // namespace

TEST_CASE("secrets: a mark stands in the state until the request is made") {
  const auto site = site_with_secret(resource("file", "conf", json::Object{{"path", "/etc/app"}, {"content", template_text}}));
  auto result = desired_state(site, site.nodes[0]);
  REQUIRE(result.state);
  DesiredState& state = *result.state;
  REQUIRE(state.secrets.size() == 1);
  const std::string id = *state.secrets.begin();
  CHECK(declared_secrets(site).at(id).words == std::vector<std::string>{"DB_PASSWORD"});
  CHECK(declared_secrets(site).at(id).name == "password");
  CHECK(state.resources[0].attributes.bool_or("sensitive", false));
  const SecretValues values{{id, "hunter22"}}, others{{id, "hunter23"}};
  CHECK(json::dump(resources_json(state)).find("hunter22") == std::string::npos);
  CHECK(json::dump(json::Value(agent_request(state, Mode::apply, values))).find("user=kfab\\npassword=hunter22\\n") != std::string::npos);
  DesiredState changed = state;
  seal(state, values);
  seal(changed, others);
  CHECK(state.sha256 != changed.sha256);   // a changed secret is a changed state
  CHECK(secrets_in(resources_json(state)) == state.secrets);
}

TEST_CASE("secrets: they may stand in a content, and nowhere else") {
  for (const auto& declared : {resource("file", "f", json::Object{{"path", "/etc/{{ password }}"}, {"content", "x"}}),
                               resource("command", "c", json::Object{{"run", json::Array{"login", "{{ password }}"}}, {"unless", "true"}}),
                               resource("directory", "d{{ password }}", json::Object{{"path", "/x"}}),
                               resource("sysctl", "s", json::Object{{"name", "kernel.domainname"}, {"value", "{{ password }}"}})}) {
    const auto site = site_with_secret(declared);
    const auto result = desired_state(site, site.nodes[0]);
    CHECK_FALSE(result.state);
    bool told = false;
    for (const auto& problem : result.diagnostics) told = told || problem.code == code::secret_not_allowed;
    CHECK(told);
  }
}

TEST_CASE("secrets: declarations of every kind, within lists and mappings, and those that are none") {
  auto site = site_with_secret(resource("file", "f", json::Object{{"path", "/x"}, {"content", "{{ deep.key }}{{ list | join(',') }}"}}));
  site.roles["r"].vars["deep"] = json::Object{{"key", by("file", "key.pem")}};
  site.roles["r"].vars["list"] = json::Array{"plain", by("command", json::Array{"sops", "-d", "x"})};
  const auto result = desired_state(site, site.nodes[0]);
  REQUIRE(result.state);
  CHECK(result.state->secrets.size() == 2);
  CHECK(declared_secrets(site).size() == 3);
  for (auto wrong : {by("vault", "x"), by("command", "sops -d x"), by("command", json::Array{}), by("env", ""), by("command", json::Array{1})}) {
    site.roles["r"].vars["password"] = wrong;
    const auto bad = desired_state(site, site.nodes[0]);
    CHECK_FALSE(bad.state);
    REQUIRE_FALSE(bad.diagnostics.empty());
    CHECK(bad.diagnostics[0].code == code::secret_invalid);
  }
}

TEST_CASE("secrets: what a node tells of itself is no mark, and facts are variables where they are known") {
  auto site = site_with_secret(resource("file", "f", json::Object{{"path", "/x"}, {"content", "{{ facts.os.name }} {{ facts.cpu.threads }} {{ facts.none | default('-') }}"}}));
  CHECK(asks_for_facts(site));
  CHECK_FALSE(desired_state(site, site.nodes[0]).state);
  const std::string id = declared_secrets(site).begin()->first;
  const std::string forged = "\x01kfab-secret:" + id + "\x01";
  const auto result = desired_state(site, site.nodes[0], json::Object{{"os", json::Object{{"name", forged}}}, {"cpu", json::Object{{"threads", 8}}}});
  REQUIRE(result.state);
  CHECK(result.state->secrets.empty());
  CHECK(result.state->resources[0].attributes.string_or("content") == "kfab-secret:" + id + " 8 -");
}

TEST_CASE("secrets: a plan file holds a digest, and tells a changed secret") {
  const auto site = site_with_secret(resource("file", "conf", json::Object{{"path", "/etc/app"}, {"content", template_text}}));
  auto state = *desired_state(site, site.nodes[0]).state;
  const std::string id = *state.secrets.begin();
  const SecretValues values{{id, "hunter22"}};
  seal(state, values);
  PlanFile plan;
  plan.run_id = "run";
  plan.secrets[id] = secret_digest("run", "hunter22");
  add_node(plan, state, judge(state, Mode::plan, {}), {.node = {}, .outcome = "ok", .phase = "close", .code = {}, .reason = {}, .desired = {}, .found = {}, .board_serial = {}, .machine_id = {}});
  const std::string text = to_text(plan);
  CHECK(text.find("hunter22") == std::string::npos);
  const auto again = read_plan_file(text, "p");
  REQUIRE(again);
  CHECK(again->states.begin()->second.secrets == state.secrets);
  CHECK(json::dump(json::Value(agent_request(again->states.begin()->second, Mode::apply, values))) == json::dump(json::Value(agent_request(state, Mode::apply, values))));
  CHECK(check_secrets(*again, declared_secrets(site), values));
  const auto stale = check_secrets(*again, declared_secrets(site), {{id, "hunter23"}});
  REQUIRE_FALSE(stale);
  CHECK(stale.error().code == code::secret_changed);
  CHECK(stale.error().message.find("password") != std::string::npos);
}
