#include "provision/plan_file.hpp"

#include <doctest/doctest.h>

#include "base/codes/plan.hpp"

using namespace kfab;
using namespace kfab::provision;

namespace {

DesiredState state_of(const std::string& node) {
  DesiredState state;
  state.node = node;
  state.sha256 = "digest";
  state.resources = {{"r/a", "file", json::Object{{"path", "/a"}, {"content", "x\n"}}, {}, {}}, {"r/b", "service", json::Object{{"name", "b"}}, {"r/a"}, {"r/a"}}};
  return state;
}

json::Value record(const std::string& id, const std::string& status, const std::string& before) {
  return json::Object{{"type", "resource"}, {"id", id}, {"resource_type", "file"}, {"status", status},
                      {"changes", json::Array{json::Object{{"what", "content"}, {"before", before}, {"after", "2 bytes"}}}},
                      {"diff", "-" + before + "\n"}, {"message", nullptr}, {"code", nullptr}, {"digests", json::Array{"d-" + before}}, {"duration_s", 0.5}};
}

NodePlan planned(const std::string& node, const std::string& before, const std::string& serial) {
  return judge(state_of(node), Mode::plan,
               {record("r/a", "would_change", before), record("r/b", "in_sync", "same"),
                json::Object{{"type", "identity"}, {"board_serial", serial}, {"machine_id", nullptr}},
                json::Object{{"type", "done"}, {"ok", true}, {"error", nullptr}}});
}

PlanFile plan_of_three() {
  PlanFile plan;
  plan.kfab_version = "0.1.0";
  plan.created_by = "ops@control";
  plan.run_id = "run";
  plan.site = "ulsan";
  plan.manifest = "/srv/site.yaml";
  plan.manifest_sha256 = "m";
  add_node(plan, state_of("n1"), planned("n1", "5 bytes", "S1"), {.node = {}, .outcome = "ok", .phase = "close", .code = {}, .reason = {}, .desired = {}, .found = {}, .board_serial = {}, .machine_id = {}});
  add_node(plan, state_of("n2"), planned("n2", "5 bytes", "S2"), {.node = {}, .outcome = "ok", .phase = "close", .code = {}, .reason = {}, .desired = {}, .found = {}, .board_serial = {}, .machine_id = {}});
  add_node(plan, state_of("n3"), judge(state_of("n3"), Mode::plan, {}),
           {.node = {}, .outcome = "unreachable", .phase = "connect", .code = "KF2001", .reason = "no route", .desired = {}, .found = {}, .board_serial = {}, .machine_id = {}});
  return plan;
}

}  // namespace

TEST_CASE("plan file: what is written is read again, and equal nodes share what they have in common") {
  PlanFile plan = plan_of_three();
  CHECK(plan.states.size() == 1);
  CHECK(plan.found.size() == 1);
  const std::string text = to_text(plan);
  CHECK(is_plan_file(text));
  const auto again = read_plan_file(text, "p.plan");
  REQUIRE(again);
  PlanFile copy = *again;
  CHECK(to_text(copy) == text);
  CHECK(again->sha256 == plan.sha256);
  CHECK(again->site == "ulsan");
  REQUIRE(again->find("n1") != nullptr);
  CHECK(again->find("n9") == nullptr);
  const NodePlan judged = again->plan_of(*again->find("n1"));
  CHECK(judged.would_change == 1);
  CHECK(judged.in_sync == 1);
  CHECK(judged.resources[0].changes[0].before == "5 bytes");
  CHECK(judged.verdict == Verdict::not_judged);
  CHECK(agent_request(again->states.at("digest"), Mode::apply).members() .size() == agent_request(state_of("n1"), Mode::apply).members().size());
  CHECK(json::dump(resources_json(again->states.at("digest"))) == json::dump(resources_json(state_of("n1"))));
}

TEST_CASE("plan file: the agent is told what was found, and whose; a node that did not answer is held against nothing") {
  const PlanFile plan = plan_of_three();
  const json::Value expect = expectation(plan, *plan.find("n2"));
  CHECK(expect.string_or("board_serial") == "S2");
  CHECK(expect["machine_id"].is_null());
  REQUIRE(expect.array_at("resources").size() == 2);
  CHECK(json::dump(expect.array_at("resources")[0]) == R"({"id":"r/a","failed":false,"digests":["d-5 bytes"]})");
  CHECK(plan.find("n3")->found.empty());
  CHECK(plan.plan_of(*plan.find("n3")).not_reported == 2);
  CHECK(facts_sha256(*plan.find("n1")) != facts_sha256(*plan.find("n2")));   // the same findings on another board
}

TEST_CASE("plan file: what is cut, changed or from elsewhere is refused") {
  PlanFile plan = plan_of_three();
  const std::string text = to_text(plan);
  const auto code_of = [](std::string_view bytes) {
    const auto read = read_plan_file(bytes, "p.plan");
    return read ? code::internal : read.error().code;
  };
  for (std::size_t cut = 0; cut + 1 < text.size(); cut += 7) CHECK(code_of(std::string_view(text).substr(0, cut)) == code::plan_file_damaged);
  for (std::size_t at = 40; at < text.size(); at += 11) {
    std::string other = text;
    other[at] = other[at] == 'x' ? 'y' : 'x';
    const Code seen = code_of(other);
    CHECK((seen == code::plan_file_damaged || seen == code::plan_file_newer));
  }
  CHECK(code_of("kind: Site\n") == code::plan_file_damaged);
  std::string newer = text;
  newer.replace(newer.find("/1.1"), 4, "/2.0");
  CHECK(code_of(newer) == code::plan_file_newer);
}

TEST_CASE("judge: a node that has drifted fails with the words of its agent") {
  const auto plan = judge(state_of("n1"), Mode::apply,
                          {record("r/a", "failed", "x"), record("r/b", "skipped", "y"),
                           json::Object{{"type", "done"}, {"ok", false}, {"error", json::Object{{"code", "KF3150"}, {"message", "has drifted since the plan: r/a"}}}}});
  CHECK(plan.verdict == Verdict::fail);
  CHECK(plan.code == "KF3150");
  CHECK(plan.reason == "has drifted since the plan: r/a");
}

TEST_CASE("plan file: how many nodes may apply it at once is kept") {
  PlanFile plan;
  plan.site = "ulsan";
  DesiredState state = state_of("n1");
  state.resources[1].turns = {{"r", 4}, {"r/b", 1}};
  add_node(plan, state, planned("n1", "5 bytes", "S1"), {.node = {}, .outcome = "ok", .phase = "close", .code = {}, .reason = {}, .desired = {}, .found = {}, .board_serial = {}, .machine_id = {}});
  const auto again = read_plan_file(to_text(plan), "p.plan");
  REQUIRE(again);
  CHECK(turn_limits({again->states.at("digest")}) == std::map<std::string, std::size_t>{{"r", 4}, {"r/b", 1}});
}
