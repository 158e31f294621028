#include <doctest/doctest.h>

#include "base/codes/agent.hpp"
#include "base/codes/plan.hpp"
#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent;
using namespace kfab::agent::test;

// A plan is applied only to a node that is as it was when it was planned.
namespace {

struct Told {
  std::vector<json::Value> resources;
  json::Value identity;
  Status status = ok();
};

Told run(const NodeEnvironment& node, const std::string& mode, const std::string& resources, const json::Value& expect = {}) {
  json::Object request{{"mode", mode}, {"resources", *json::parse(resources)}};
  if (!expect.is_null()) request.set("expect", expect);
  RecordingContext context;
  Told told;
  told.status = run_provision_task(json::Value(std::move(request)), context, node);
  for (auto& message : context.messages) {
    if (message.string_or("type") == "resource") told.resources.push_back(std::move(message));
    else if (message.string_or("type") == "identity") told.identity = std::move(message);
  }
  return told;
}

json::Value expect_of(const Told& planned) {
  json::Array list;
  for (const auto& found : planned.resources)
    list.emplace_back(json::Object{{"id", found["id"]}, {"failed", found.string_or("status") == "failed"}, {"digests", found["digests"]}});
  return json::Object{{"board_serial", planned.identity["board_serial"]}, {"machine_id", planned.identity["machine_id"]}, {"resources", std::move(list)}};
}

struct Node {
  TemporaryDirectory directory;
  NodeEnvironment environment;
  std::string resources;
  Node() {
    environment.root = directory.string() + "/root";
    write(directory / "root/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    write(directory / "root/sys/class/dmi/id/board_serial", "BOARD-1\n");
    write(directory / "a", "old\n");
    resources = R"([{"id":"a","type":"file","attributes":{"path":")" + (directory / "a") + R"(","content":"new\n"}},
                    {"id":"b","type":"file","attributes":{"path":")" + (directory / "b") + R"(","content":"b\n","mode":"0640"}}])";
  }
};

}  // namespace

TEST_CASE("expect: a node as it was planned is brought to what was planned, and once more is no drift") {
  Node node;
  const Told planned = run(node.environment, "plan", node.resources);
  CHECK(planned.identity.string_or("board_serial") == "BOARD-1");
  CHECK(planned.identity.string_or("machine_id") == "0123456789abcdef0123456789abcdef");
  CHECK(planned.resources.at(0).array_at("digests").size() == 2);   // the change, and which bytes were found
  const Told applied = run(node.environment, "apply", node.resources, expect_of(planned));
  REQUIRE(applied.status);
  CHECK(applied.resources.at(0).string_or("status") == "changed");
  CHECK(read(node.directory / "a") == "new\n");
  const Told again = run(node.environment, "apply", node.resources, expect_of(planned));
  REQUIRE(again.status);
  for (const auto& resource : again.resources) CHECK(resource.string_or("status") == "in_sync");
}

TEST_CASE("expect: other bytes of the same length are drift, and then nothing at all is applied") {
  Node node;
  const Told planned = run(node.environment, "plan", node.resources);
  write(node.directory / "a", "odd\n");
  const std::string before = tree_hash(node.directory.string());
  const Told refused = run(node.environment, "apply", node.resources, expect_of(planned));
  REQUIRE_FALSE(refused.status);
  CHECK(refused.status.error().code == code::node_drifted);
  CHECK(refused.status.error().message == "has drifted since the plan: a; nothing was applied, plan again");
  CHECK(refused.resources.at(0).string_or("code") == "KF3150");
  CHECK(refused.resources.at(1).string_or("status") == "skipped");
  CHECK(tree_hash(node.directory.string()) == before);
}

TEST_CASE("expect: what was cut half way goes on with the same plan") {
  Node node;
  const Told planned = run(node.environment, "plan", node.resources);
  write(node.directory / "b", "b\n", 0600);   // written, but not yet as it shall be: this was never planned
  CHECK(run(node.environment, "apply", node.resources, expect_of(planned)).status.error().code == code::node_drifted);
  std::filesystem::remove(node.directory / "b");
  write(node.directory / "a", "new\n");       // done, the other is not
  const Told rest = run(node.environment, "apply", node.resources, expect_of(planned));
  REQUIRE(rest.status);
  CHECK(rest.resources.at(0).string_or("status") == "in_sync");
  CHECK(rest.resources.at(1).string_or("status") == "changed");
}

TEST_CASE("expect: another board, another installation, and a resource that was not planned are refused") {
  Node node;
  const json::Value expect = expect_of(run(node.environment, "plan", node.resources));
  const auto with = [&](const char* key, json::Value value) {
    json::Object other = *expect.as_object();
    other.set(key, std::move(value));
    return run(node.environment, "apply", node.resources, other).status;
  };
  const Status board = with("board_serial", "BOARD-2");
  REQUIRE_FALSE(board);
  CHECK(board.error().code == code::plan_other_machine);
  CHECK(board.error().message.find("board serial is BOARD-1, planned was BOARD-2") != std::string::npos);
  CHECK(with("machine_id", nullptr).error().code == code::plan_other_machine);
  CHECK(with("resources", json::Array{}).error().code == code::node_drifted);
  CHECK(read(node.directory / "a") == "old\n");
  CHECK_FALSE(std::filesystem::exists(node.directory / "b"));
}

TEST_CASE("expect: a stopped run compares nothing and applies nothing") {
  Node node;
  const json::Value expect = expect_of(run(node.environment, "plan", node.resources));
  RecordingContext context;
  context.stop = true;
  const Status status = run_provision_task(json::Object{{"mode", "apply"}, {"resources", *json::parse(node.resources)}, {"expect", expect}}, context, node.environment);
  REQUIRE_FALSE(status);
  CHECK(status.error().code == code::agent_cancelled);
  CHECK(read(node.directory / "a") == "old\n");
}

TEST_CASE("provision: what the system's packages say of a reboot is passed on in every run") {
  Node node;
  const auto due = [&] {
    RecordingContext context;
    const json::Object request{{"mode", "plan"}, {"resources", *json::parse(node.resources)}};
    REQUIRE(run_provision_task(json::Value(request), context, node.environment));
    for (const auto& message : context.messages)
      if (message.string_or("type") == "system") return message["reboot_due"];
    return json::Value("not told");
  };
  CHECK(due().is_null());
  write(node.directory / "root/run/reboot-required", "*** System restart required ***\n");
  CHECK(json::dump(due()) == R"("packages wait for it")");
  write(node.directory / "root/run/reboot-required.pkgs", "linux-image-6.1\n\ndbus\n");
  CHECK(json::dump(due()) == R"("packages wait for it: linux-image-6.1, dbus")");
}
