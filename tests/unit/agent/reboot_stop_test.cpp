#include <doctest/doctest.h>

#include <algorithm>

#include "base/codes/plan.hpp"
#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent;
using namespace kfab::agent::test;

// A `reboot` in a role: when it is due, that nothing behind it is applied before, and that the boot itself is no drift.
namespace {

struct Told {
  std::vector<json::Value> resources;
  json::Value system, identity;
  Status status = ok();
  std::string words() const {   // the statuses, in order
    std::string text;
    for (const auto& resource : resources) text += (text.empty() ? "" : " ") + resource.string_or("status");
    return text;
  }
  const json::Value& at(std::size_t i) const { return resources.at(i); }
};

struct Node {
  TemporaryDirectory directory;
  Provisioner provisioner{directory};
  Node() {
    boot("one");
    write(directory / "root/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
  }
  void boot(const std::string& id) { write(directory / "root/proc/sys/kernel/random/boot_id", id + "\n"); }
  std::string file(const std::string& name, const std::string& more = {}) const {
    return R"({"id":"r/)" + name + R"(","type":"file","attributes":{"path":")" + (directory / name) + R"(","content":")" + name + R"(\n"})" + more + "}";
  }
  bool has(const std::string& name) const { return std::filesystem::exists(directory / name); }
  Told run(const std::string& mode, const std::string& resources, const json::Value& expect = {}) {
    const auto list = json::parse("[" + resources + "]");
    REQUIRE(list);
    json::Object request{{"mode", mode}, {"resources", *list}};
    if (!expect.is_null()) request.set("expect", expect);
    RecordingContext context;
    Told told;
    told.status = run_provision_task(json::Value(std::move(request)), context, provisioner.node);
    for (auto& message : context.messages) {
      const std::string type = message.string_or("type");
      if (type == "resource") told.resources.push_back(std::move(message));
      else if (type == "system") told.system = std::move(message);
      else if (type == "identity") told.identity = std::move(message);
    }
    return told;
  }
};

json::Value expect_of(const Told& planned, const std::string& stopped_boot_id = {}) {
  json::Array list;
  for (const auto& found : planned.resources)
    list.emplace_back(json::Object{{"id", found["id"]}, {"failed", found.string_or("status") == "failed"}, {"digests", found["digests"]}});
  json::Object expect{{"board_serial", planned.identity["board_serial"]}, {"machine_id", planned.identity["machine_id"]}, {"resources", std::move(list)}};
  if (!stopped_boot_id.empty()) expect.set("stopped_boot_id", stopped_boot_id);
  return expect;
}

const std::string needed = R"({"id":"r/reboot","type":"reboot","attributes":{}})";
const std::string changed = R"({"id":"r/reboot","type":"reboot","attributes":{"when":"changed"},"after":["r/a"]})";

}  // namespace

TEST_CASE_FIXTURE(Node, "reboot when changed: what stands behind it waits, in this run and the next, until another boot runs") {
  const std::string resources = file("a") + "," + changed + "," + file("b");
  const auto first = run("apply", resources);
  REQUIRE(first.status);
  CHECK(first.words() == "changed waiting waiting");
  CHECK(first.at(1).string_or("message") == "r/a is changed by this run");
  CHECK(first.at(1).bool_or("reboot_required", false));
  CHECK(first.at(2).string_or("message") == "waits for the reboot r/reboot");
  CHECK(first.system["stopped_for_reboot"].string_or("resource") == "r/reboot");
  CHECK(first.system["stopped_for_reboot"].string_or("boot_id") == "one");
  CHECK_FALSE(has("b"));
  // Another run knows it from the node alone, whatever became of the first one.
  CHECK(run("apply", resources).words() == "in_sync waiting waiting");
  CHECK(run("plan", resources).words() == "in_sync would_change would_change");
  CHECK(run("plan", resources).at(1).bool_or("reboot_required", false));
  CHECK_FALSE(has("b"));
  boot("two");
  const auto after = run("apply", resources);
  CHECK(after.words() == "in_sync in_sync changed");
  CHECK(after.system["stopped_for_reboot"].is_null());
  CHECK(has("b"));
  CHECK(run("apply", resources).words() == "in_sync in_sync in_sync");
}

TEST_CASE_FIXTURE(Node, "reboot when changed: a change that was cut half way counts, and one of another resource does not") {
  const std::string resources = file("a") + "," + file("other") + "," + changed + "," + file("b");
  CHECK(run("apply", file("a") + "," + file("other")).words() == "changed changed");   // no reboot was declared yet: nothing is noted
  CHECK(run("apply", resources).words() == "in_sync in_sync in_sync changed");
  write(directory / "other", "not as declared\n");
  CHECK(run("apply", resources).words() == "in_sync changed in_sync in_sync");
  // The note is written before the change, so that a run that ends between the two leaves one.
  write(directory / "root/run/kfab/changed", "one\nr/a\n");
  CHECK(run("plan", resources).words() == "in_sync in_sync would_change in_sync");
  write(directory / "root/run/kfab/changed", "zero\nr/a\n");   // a boot before this one, in a /run that outlasts boots
  CHECK(run("plan", resources).words() == "in_sync in_sync in_sync in_sync");
}

TEST_CASE_FIXTURE(Node, "reboot when changed: where the boot cannot be told, or the change not be noted, nothing is changed") {
  std::filesystem::remove(directory / "root/proc/sys/kernel/random/boot_id");
  const auto blind = run("apply", file("a") + "," + changed + "," + file("b"));
  CHECK(blind.words() == "failed skipped skipped");
  CHECK(blind.at(0).string_or("code") == "KF3323");
  CHECK_FALSE(has("a"));
  CHECK_FALSE(has("b"));
}

TEST_CASE_FIXTURE(Node, "reboot when needed: by what packages left, and by what a resource says that it needs") {
  const std::string resources = file("a") + "," + needed + "," + file("b");
  CHECK(run("apply", resources).words() == "changed in_sync changed");   // a file needs none
  write(directory / "root/run/reboot-required", "*** System restart required ***\n");
  write(directory / "root/run/reboot-required.pkgs", "linux-image-6.1\n");
  std::filesystem::remove(directory / "b");
  const auto waits = run("apply", resources);
  CHECK(waits.words() == "in_sync waiting waiting");
  CHECK(waits.at(1).string_or("message") == "packages wait for it: linux-image-6.1");
  CHECK_FALSE(has("b"));
  std::filesystem::remove_all(directory / "root/run");
  CHECK(run("apply", resources).words() == "in_sync in_sync changed");
  const std::string module = R"({"id":"r/m","type":"kernel_module","attributes":{"name":"nouveau","blacklist":true}})";
  std::filesystem::create_directories(directory / "root/sys/module/nouveau");
  std::filesystem::remove(directory / "b");
  const auto loaded = run("apply", module + "," + needed + "," + file("b"));
  CHECK(loaded.words() == "changed waiting waiting");
  CHECK(loaded.at(1).string_or("message") == "the kernel still has nouveau loaded");
  std::filesystem::remove(directory / "root/sys/module/nouveau");
  CHECK(run("apply", module + "," + needed + "," + file("b")).words() == "in_sync in_sync changed");
}

TEST_CASE_FIXTURE(Node, "reboot unless: by a guard alone, with the role's own reason") {
  const std::string reboot = R"({"id":"r/reboot","type":"reboot","attributes":{"unless":["/bin/sh","-c","test -e )" + (directory / "kernel") + R"( || { echo old kernel >&2; exit 1; }"]}})";
  CHECK(run("apply", reboot + "," + file("b")).at(0).string_or("message") == "old kernel");
  std::string with_reason = reboot;
  with_reason.insert(with_reason.find("\"unless\""), R"("reason":"another kernel runs",)");
  const auto waits = run("apply", with_reason + "," + file("b"));
  CHECK(waits.words() == "waiting waiting");
  CHECK(waits.at(0).string_or("message") == "another kernel runs");
  write(directory / "kernel", "");
  write(directory / "root/run/reboot-required", "");   // the guard is in place of when
  CHECK(run("apply", with_reason + "," + file("b")).words() == "in_sync changed");
  // One that cannot be asked tells nothing, and then nothing goes past it.
  std::filesystem::remove(directory / "b");
  const auto blind = run("apply", R"({"id":"r/reboot","type":"reboot","attributes":{"unless":["/no/such/program"]}},)" + file("b"));
  CHECK(blind.words() == "failed skipped");
  CHECK(blind.at(0).string_or("code") == "KF3036");
  CHECK_FALSE(has("b"));
}

TEST_CASE_FIXTURE(Node, "reboot: a node on which something failed before it is not rebooted, and nothing behind is applied") {
  const std::string fails = R"({"id":"r/f","type":"assertion","attributes":{"message":"no","run":["/bin/false"]}})";
  const auto told = run("apply", fails + "," + file("a") + "," + changed + "," + file("b"));
  CHECK(told.words() == "failed changed skipped skipped");
  CHECK(told.at(2).string_or("code") == "KF3322");
  CHECK(told.at(3).string_or("code") == "KF3039");
  CHECK(told.system["stopped_for_reboot"].is_null());
  CHECK_FALSE(has("b"));
  boot("two");   // not due any more: what failed is in nobody's way
  CHECK(run("apply", fails + "," + file("a") + "," + changed + "," + file("b")).words() == "failed in_sync in_sync changed");
}

TEST_CASE_FIXTURE(Node, "reboot in a plan: to be expected, with what only it will tell, and nothing is written") {
  const std::string command = R"({"id":"r/c","type":"command","attributes":{"run":["/bin/true"],"unless":["/bin/true"]}})";
  const std::string fails = R"({"id":"r/f","type":"assertion","attributes":{"message":"no","run":["/bin/false"]}})";
  const std::string resources = file("a") + "," + changed + "," + command + "," + fails + "," + file("b");
  const std::string before = tree_hash(directory.string());
  const auto planned = run("plan", resources);
  CHECK(tree_hash(directory.string()) == before);
  CHECK(planned.words() == "would_change would_change would_change would_change would_change");
  CHECK_FALSE(planned.at(1).bool_or("reboot_required", true));   // it is not due before `a` is changed
  CHECK(planned.at(1).string_or("message") == "r/a is changed by this run");
  CHECK(planned.at(2).string_or("message") == "its guard holds now, and is asked again after the reboot");
  // What packages will leave behind is not to be foretold.
  const std::string package = R"({"id":"r/a","type":"command","attributes":{"run":["/bin/true"],"creates":")" + (directory / "made") + R"("}})";
  const auto open = run("plan", package + "," + needed + "," + file("b"));
  CHECK(open.words() == "would_change would_change would_change");
  CHECK(open.at(1).string_or("message") == "only if what is applied before it asks for one");
  CHECK(run("plan", file("a") + "," + needed + "," + file("b")).words() == "would_change in_sync would_change");
}

TEST_CASE_FIXTURE(Node, "reboot and a plan: the boot is no drift, and anything else is") {
  write(directory / "proc-sys/vm/swappiness", "1\n");
  write(directory / "sysctl.d/60-kfab.conf", "");
  const std::string sysctl = R"({"id":"r/s","type":"sysctl","attributes":{"name":"vm.swappiness","value":"1"}})";
  CHECK(run("apply", sysctl).words() == "changed");
  const std::string resources = sysctl + "," + file("a") + "," + changed + "," + file("b");
  const auto planned = run("plan", resources);
  CHECK(planned.words() == "in_sync would_change would_change would_change");
  CHECK(run("apply", resources, expect_of(planned)).words() == "in_sync changed waiting waiting");
  // Killed and started again in the same boot it stands where it stood.
  CHECK(run("apply", resources, expect_of(planned, "one")).words() == "in_sync in_sync waiting waiting");
  boot("two");
  write(directory / "proc-sys/vm/swappiness", "60\n");   // the kernel's own value, until somebody reads the file
  const auto refused = run("apply", resources, expect_of(planned));
  REQUIRE_FALSE(refused.status);
  CHECK(refused.status.error().code == code::node_drifted);
  CHECK_FALSE(has("b"));
  // In the boot at which the run stopped, a live value that somebody changed is drift all the same.
  CHECK_FALSE(run("apply", resources, expect_of(planned, "two")).status);
  write(directory / "a", "by hand\n");
  const auto drifted = run("apply", resources, expect_of(planned, "one"));
  REQUIRE_FALSE(drifted.status);
  CHECK(drifted.status.error().message == "has drifted since the plan: r/a; nothing was applied, plan again");
  CHECK_FALSE(has("b"));
  write(directory / "a", "a\n");
  const auto rest = run("apply", resources, expect_of(planned, "one"));
  REQUIRE(rest.status);
  CHECK(rest.words() == "changed in_sync in_sync changed");
  CHECK(has("b"));
}

TEST_CASE_FIXTURE(Node, "reboot and a plan: one that became due without the plan knowing it is drift before, and stops during the run") {
  const std::string resources = file("a") + "," + needed + "," + file("b");
  const auto planned = run("plan", resources);
  CHECK(planned.words() == "would_change in_sync would_change");
  write(directory / "root/run/reboot-required", "");
  const auto refused = run("apply", resources, expect_of(planned));
  REQUIRE_FALSE(refused.status);
  CHECK(refused.status.error().message.find("r/reboot") != std::string::npos);
  CHECK_FALSE(has("a"));
}
