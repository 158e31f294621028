#include <doctest/doctest.h>

#include "agent/boot_task.hpp"
#include "base/codes/reboot.hpp"
#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent;
using namespace kfab::agent::test;

namespace {

// A node whose /proc is a directory and whose systemctl is a script that writes down what it was told.
struct Node {
  Node() {
    boot.proc = directory / "proc";
    boot.machine_id = directory / "machine-id";
    boot.systemd_marker = directory / "systemd";
    boot.process_environment = {"PATH=" + (directory / "bin") + ":/usr/bin:/bin", "LOG=" + (directory / "log")};
    write(boot.proc + "/sys/kernel/random/boot_id", "11111111-2222\n");
    write(boot.proc + "/uptime", "5000.25 100.00\n");
    // The start time, 22nd field: 100 s after the kernel's start at 100 ticks a second. The name holds what splits badly.
    write(boot.proc + "/1/stat", "1 (init) S ) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 " + std::to_string(100 * ::sysconf(_SC_CLK_TCK)) + " 1 2 3\n");
    write(boot.machine_id, "abc\n");
    write(boot.systemd_marker, "");
    program("systemctl", "echo \"$*\" >> $LOG\ncase \"$1\" in is-system-running) echo degraded; exit 1;; list-units) echo 'a.service loaded failed failed A'; echo 'b.mount loaded failed failed B';; esac");
  }
  void program(const std::string& name, const std::string& script) { write(directory / ("bin/" + name), "#!/bin/sh\n" + script + "\n", 0755); }
  std::string log() { return read(directory / "log"); }

  TemporaryDirectory directory;
  BootEnvironment boot;
  RecordingContext context;
};

}  // namespace

TEST_CASE_FIXTURE(Node, "the boot tells its id, its age by process 1, and what systemd thinks of it") {
  REQUIRE(run_boot_task({}, context, boot));
  REQUIRE(context.messages.size() == 1);
  const json::Value& told = context.messages.front();
  CHECK(told.string_or("type") == "boot");
  CHECK(told.string_or("boot_id") == "11111111-2222");
  CHECK(told.string_or("machine_id") == "abc");
  CHECK(told["init_age_s"].as_double().value_or(-1) == doctest::Approx(4900.25));
  CHECK(told.string_or("state") == "degraded");
  REQUIRE(told.array_at("failed_units").size() == 2);
  CHECK(*told.array_at("failed_units")[1].as_string() == "b.mount");
  CHECK(log().find("reboot") == std::string::npos);
}

TEST_CASE_FIXTURE(Node, "what cannot be read is null, never a guess") {
  std::filesystem::remove_all(boot.proc);
  std::filesystem::remove(boot.machine_id);
  std::filesystem::remove(boot.systemd_marker);
  REQUIRE(run_boot_task({}, context, boot));
  const json::Value& told = context.messages.front();
  CHECK(told["boot_id"].is_null());
  CHECK(told["machine_id"].is_null());
  CHECK(told["init_age_s"].is_null());
  CHECK(told.string_or("state") == "unknown");
}

TEST_CASE_FIXTURE(Node, "a reboot is told which boot it ends, ordered without waiting, and said to be ordered") {
  REQUIRE(run_reboot_task({}, context, boot));
  REQUIRE(context.messages.size() == 2);
  CHECK(context.messages[0].string_or("boot_id") == "11111111-2222");
  CHECK(context.messages[1].string_or("type") == "reboot_ordered");
  CHECK(log().find("--no-block reboot") != std::string::npos);
}

TEST_CASE_FIXTURE(Node, "a reboot that is refused says in whose words") {
  program("systemctl", "echo 'Call to Reboot failed: Interactive authentication required.' >&2; exit 1");
  const auto status = run_reboot_task({}, context, boot);
  REQUIRE_FALSE(status);
  CHECK(status.error().code == code::reboot_not_ordered);
  CHECK(status.error().message.find("Interactive authentication") != std::string::npos);
  CHECK(context.messages.size() == 1);
}

TEST_CASE_FIXTURE(Node, "without systemd it is the program reboot that is asked") {
  std::filesystem::remove(boot.systemd_marker);
  program("reboot", "echo plain-reboot >> $LOG");
  REQUIRE(run_reboot_task({}, context, boot));
  CHECK(log() == "plain-reboot\n");
}

TEST_CASE_FIXTURE(Node, "a node whose owner is gone is not rebooted") {
  context.stop = true;
  REQUIRE(run_reboot_task({}, context, boot));
  CHECK(log().find("reboot") == std::string::npos);
}
