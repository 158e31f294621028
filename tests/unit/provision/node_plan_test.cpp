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
