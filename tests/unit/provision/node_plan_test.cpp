#include "provision/node_plan.hpp"

#include <doctest/doctest.h>

using namespace kfab;
using namespace kfab::provision;

namespace {
DesiredState two() {
  DesiredState state;
  state.node = "gpu001";
  state.sha256 = "digest";
  state.resources = {{"r/a", "file", json::Object{}, {}, {}}, {"r/b", "service", json::Object{}, {"r/a"}, {}}};
  return state;
}
json::Value record(const std::string& id, const std::string& status, const std::string& code = "",
                   const std::string& message = "") {
  return json::Object{{"type", "resource"},
                      {"id", id},
                      {"resource_type", "file"},
                      {"status", status},
                      {"changes", json::Array{}},
                      {"diff", ""},
                      {"message", message.empty() ? json::Value() : json::Value(message)},
                      {"code", code.empty() ? json::Value() : json::Value(code)},
                      {"duration_s", 0.25}};
}
const json::Value done = json::Object{{"type", "done"}, {"ok", true}, {"error", nullptr}};
json::Value done_with(const std::string& code, const std::string& message) {
  return json::Object{{"type", "done"}, {"ok", false}, {"error", json::Object{{"code", code}, {"message", message}}}};
}
}  // namespace

TEST_CASE("judge: all in sync or changed is a pass") {
  const auto plan = judge(two(), Mode::apply, {record("r/a", "changed"), record("r/b", "in_sync"), done});
  CHECK(plan.verdict == Verdict::pass);
  CHECK(plan.reason.empty());
  CHECK(plan.changed == 1);
  CHECK(plan.in_sync == 1);
  CHECK(plan.complete);
  CHECK(plan.resources[0].duration_s == 0.25);
}

TEST_CASE("judge: a failure is a fail, with its code and reason, also when the stream ended early") {
  for (const bool whole : {true, false}) {
    std::vector<json::Value> messages{record("r/a", "failed", "KF3021", "cannot write /x: No space left on device"),
                                      record("r/b", "skipped", "KF3039")};
    if (whole) messages.push_back(done);
    const auto plan = judge(two(), Mode::apply, messages);
    CHECK(plan.verdict == Verdict::fail);
    CHECK(plan.code == "KF3021");
    CHECK(plan.reason == "1 resource failed: r/a: cannot write /x: No space left on device");
  }
}

TEST_CASE("judge: what is missing is never a pass") {
  CHECK(judge(two(), Mode::apply, {}).verdict == Verdict::not_judged);
  CHECK(judge(two(), Mode::apply, {done}).verdict == Verdict::not_judged);   // nothing was reported
  CHECK(judge(two(), Mode::apply, {record("r/a", "changed"), record("r/b", "in_sync")}).verdict == Verdict::not_judged);
  CHECK(judge(two(), Mode::apply, {record("r/a", "changed"), done}).not_reported == 1);
  const auto cancelled = judge(
      two(), Mode::apply, {record("r/a", "changed"), record("r/b", "cancelled"), done_with("KF2106", "cancelled")});
  CHECK(cancelled.verdict == Verdict::not_judged);
  CHECK(cancelled.code == "KF2106");
  CHECK(cancelled.reason == "1 of 2 resources not brought to an end: cancelled");
}

TEST_CASE("judge: an error of the task itself") {
  const auto plan = judge(two(), Mode::apply,
                          {record("r/a", "in_sync"), record("r/b", "in_sync"), done_with("KF2101", "no such thing")});
  CHECK(plan.verdict == Verdict::fail);
  CHECK(plan.code == "KF2101");
}

TEST_CASE("judge: a plan passes only where nothing would change") {
  CHECK(judge(two(), Mode::plan, {record("r/a", "in_sync"), record("r/b", "in_sync"), done}).verdict == Verdict::pass);
  const auto plan = judge(two(), Mode::plan, {record("r/a", "would_change"), record("r/b", "in_sync"), done});
  CHECK(plan.verdict == Verdict::not_judged);
  CHECK(plan.reason == "1 resource would change");
}

TEST_CASE("judge: a node's words are material, not truth") {
  // Impossible words, resources nobody asked for, escape sequences, later words over earlier ones.
  CHECK(judge(two(), Mode::plan, {record("r/a", "changed"), record("r/b", "in_sync"), done}).verdict ==
        Verdict::not_judged);
  CHECK(judge(two(), Mode::apply, {record("r/a", "great"), record("r/b", "in_sync"), done}).verdict ==
        Verdict::not_judged);
  CHECK(judge(two(), Mode::apply, {record("r/a", "not_reported"), record("r/b", "in_sync"), done}).verdict ==
        Verdict::not_judged);
  const auto plan =
      judge(two(), Mode::apply,
            {record("r/x", "failed"), record("r/a", "in_sync"),
             record("r/a", "failed", "nonsense", "\x1b[2Jbad\x07\nword"), record("r/b", "in_sync"), done, 3, "text"});
  CHECK(plan.resources.size() == 2);
  CHECK(plan.verdict == Verdict::fail);
  CHECK(plan.resources[0].message.find('\x1b') == std::string::npos);
  CHECK(plan.resources[0].code.empty());
  auto long_diff = record("r/a", "changed");
  long_diff =
      json::Object{{"type", "resource"}, {"id", "r/a"}, {"status", "changed"}, {"diff", std::string(1'000'000, 'x')}};
  CHECK(judge(two(), Mode::apply, {long_diff}).resources[0].diff.size() < 70'000);
}

TEST_CASE("judge: as JSON every key is there") {
  const auto value = to_json(judge(two(), Mode::apply, {record("r/a", "changed"), record("r/b", "in_sync"), done}));
  for (const auto* key :
       {"node", "mode", "verdict", "reason", "code", "desired_sha256", "complete", "counts", "resources"})
    CHECK(value.as_object()->find(key) != nullptr);
  CHECK(value["counts"].int_or("changed", 0) == 1);
  CHECK(value.array_at("resources")[0].as_object()->find("message")->is_null());
}

TEST_CASE("judge: a reboot that is asked for is kept with its reason, and is no failure") {
  const auto asks = [](const json::Value& reason) {
    return json::Object{{"type", "resource"}, {"id", "r/a"},         {"resource_type", "file"},   {"status", "in_sync"},
                        {"changes", json::Array{}}, {"diff", ""},    {"message", nullptr},        {"code", nullptr},
                        {"reboot_required", true},  {"reboot_reason", reason}, {"duration_s", 0.1}};
  };
  auto plan = judge(two(), Mode::apply, {asks("started without iommu=pt\x1b[31m"), record("r/b", "in_sync"), done});
  CHECK(plan.verdict == Verdict::pass);
  CHECK(plan.reboot_required);
  CHECK(plan.resources[0].reboot_reason == "started without iommu=pt");   // nothing from a node reaches a terminal as it is
  const auto written = to_json(plan);
  CHECK(written.bool_or("reboot_required", false));
  CHECK(written.array_at("resources")[0].string_or("reboot_reason") == "started without iommu=pt");
  CHECK(written.array_at("resources")[1].bool_or("reboot_required", true) == false);
  CHECK(written.array_at("resources")[1]["reboot_reason"].is_null());
  plan = judge(two(), Mode::apply, {asks(nullptr), record("r/b", "in_sync"), done});
  CHECK(plan.reboot_required);   // asked for without a reason all the same
  plan = judge(two(), Mode::apply, {record("r/a", "changed"), record("r/b", "in_sync"), done});
  CHECK_FALSE(plan.reboot_required);
  // The system itself may ask for it, whatever the resources say.
  const json::Value system = json::Object{{"type", "system"}, {"reboot_due", "packages wait for it: linux-image"}};
  plan = judge(two(), Mode::plan, {record("r/a", "in_sync"), record("r/b", "in_sync"), system, done});
  CHECK(plan.reboot_required);
  CHECK(plan.reboot_reason == "packages wait for it: linux-image");
  CHECK(plan.verdict == Verdict::pass);
  const json::Value calm = json::Object{{"type", "system"}, {"reboot_due", nullptr}};
  CHECK_FALSE(judge(two(), Mode::plan, {record("r/a", "in_sync"), record("r/b", "in_sync"), calm, done}).reboot_required);
}

namespace {
DesiredState with_reboot() {
  DesiredState state;
  state.node = "gpu001";
  state.sha256 = "digest";
  state.resources = {{"k/a", "package", json::Object{}, {}, {}}, {"k/boot", "reboot", json::Object{}, {"k/a"}, {}}, {"d/b", "package", json::Object{}, {}, {}}, {"d/c", "service", json::Object{}, {}, {}}};
  return state;
}
json::Value stop_at(const std::string& id, const std::string& boot) {
  return json::Object{{"type", "system"}, {"reboot_due", nullptr}, {"stopped_for_reboot", json::Object{{"resource", id}, {"reason", "x"}, {"boot_id", boot}}}};
}
NodePlan stopped(const std::string& first = "changed") {
  return judge(with_reboot(), Mode::apply, {record("k/a", first), record("k/boot", "waiting", "", "another kernel runs"), record("d/b", "waiting"), record("d/c", "waiting"), stop_at("k/boot", "one"), done});
}
}  // namespace

TEST_CASE("judge: a node that stopped for a reboot is not judged, and says what for") {
  const auto plan = stopped();
  CHECK(plan.verdict == Verdict::not_judged);
  CHECK(plan.code == "KF3320");
  CHECK(plan.reason == "stopped for a reboot at k/boot: another kernel runs; 2 resources wait for it");
  CHECK(plan.stopped_at == "k/boot");
  CHECK(plan.stopped_boot_id == "one");
  CHECK(plan.waiting == 3);
  const json::Value told = to_json(plan);
  CHECK(json::dump(told["waits_for_reboot"]) == R"({"resource":"k/boot","reason":"another kernel runs","resources":2})");
  CHECK(told["counts"].int_or("waiting", 0) == 3);
  CHECK(told.string_or("stopped_boot_id") == "one");
  // A failure weighs more, and nothing waits in a plan.
  CHECK(judge(with_reboot(), Mode::apply, {record("k/a", "failed", "KF3028", "no"), record("k/boot", "waiting"), record("d/b", "waiting"), record("d/c", "waiting"), done}).verdict == Verdict::fail);
  CHECK(judge(with_reboot(), Mode::plan, {record("k/a", "in_sync"), record("k/boot", "waiting"), record("d/b", "in_sync"), record("d/c", "in_sync"), done}).not_reported == 1);
  CHECK(to_json(judge(two(), Mode::apply, {record("r/a", "in_sync"), record("r/b", "in_sync"), done}))["waits_for_reboot"].is_null());
}

TEST_CASE("continued: what both passes did is one answer") {
  const auto after = judge(with_reboot(), Mode::apply, {record("k/a", "in_sync"), record("k/boot", "in_sync"), record("d/b", "changed"), record("d/c", "in_sync"), done});
  const auto whole = continued(stopped(), after);
  CHECK(whole.verdict == Verdict::pass);
  CHECK(whole.changed == 3);
  CHECK(whole.in_sync == 1);
  CHECK(whole.waiting == 0);
  CHECK(whole.stopped_at.empty());
  CHECK(whole.stopped_boot_id == "one");   // whoever goes on with the node must know it
  REQUIRE(whole.resources[1].changes.size() == 1);
  CHECK(whole.resources[1].changes[0].what == "boot");
  // What was right before the reboot, changed or not, and had to be changed after it, was undone by it.
  const auto late = judge(with_reboot(), Mode::apply, {record("k/a", "changed"), record("k/boot", "in_sync"), record("d/b", "changed"), record("d/c", "in_sync"), done});
  CHECK(continued(stopped("in_sync"), late).code == "KF3226");
  const auto undone = continued(stopped(), late);
  CHECK(undone.verdict == Verdict::fail);
  CHECK(undone.code == "KF3226");
  CHECK(undone.reason == "the reboot k/boot undid what was right before it, and it was applied again: k/a");
  // A node that did not answer afterwards keeps what was done before, and is not judged.
  auto silent = judge(with_reboot(), Mode::apply, {});
  const auto half = continued(stopped(), silent);
  CHECK(half.verdict == Verdict::not_judged);
  CHECK(half.changed == 1);
  CHECK(half.not_reported == 3);
}

TEST_CASE("at_reboot: each node once for each reboot, and only what was reviewed") {
  const auto plan = stopped();
  const auto expect = [](const char* digests) { return *json::parse(std::string(R"({"resources":[{"id":"k/boot","failed":false,"digests":)") + digests + "}]}"); };
  CHECK(at_reboot(judge(two(), Mode::apply, {done}), {}, {}) == AtReboot::none);
  CHECK(at_reboot(plan, {}, {}) == AtReboot::reboot);
  CHECK(at_reboot(plan, {}, {"d/other"}) == AtReboot::reboot);
  CHECK(at_reboot(plan, {}, {"k/boot"}) == AtReboot::in_vain);
  CHECK(at_reboot(plan, expect(R"(["abc"])"), {}) == AtReboot::reboot);
  CHECK(at_reboot(plan, expect("[]"), {}) == AtReboot::not_planned);
  CHECK(at_reboot(plan, *json::parse(R"({"resources":[]})"), {}) == AtReboot::not_planned);
}

TEST_CASE("fail_reboot: a reboot that did not do its work fails its node") {
  auto plan = stopped();
  fail_reboot(plan, "k/boot", "KF3221", "did not answer within 60 s");
  CHECK(plan.verdict == Verdict::fail);
  CHECK(plan.code == "KF3221");
  CHECK(plan.failed == 1);
  CHECK(plan.waiting == 2);
  CHECK(plan.resources[1].message == "did not answer within 60 s");
}

TEST_CASE("planned_reboots: the role that comes next, else the resource, else the end") {
  auto state = with_reboot();
  const auto planned = [&] {
    std::vector<json::Value> messages;
    for (const auto& resource : state.resources) messages.push_back(record(resource.id, resource.type == "reboot" ? "would_change" : "in_sync", "", resource.type == "reboot" ? "why" : ""));
    messages.push_back(done);
    return planned_reboots(judge(state, Mode::plan, messages));
  };
  REQUIRE(planned().size() == 1);
  CHECK(planned()[0].resource == "k/boot");
  CHECK(planned()[0].reason == "why");
  CHECK(planned()[0].before == "d");
  state.resources[2].id = "k/b";
  CHECK(planned()[0].before == "k/b");
  state.resources.resize(2);
  CHECK(planned()[0].before.empty());
}
