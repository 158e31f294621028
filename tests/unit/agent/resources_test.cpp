#include <sys/stat.h>

#include <doctest/doctest.h>

#include "unit/agent/fake_apt.hpp"
#include "unit/agent/support.hpp"

#include "base/codes/agent.hpp"

using namespace kfab;
using namespace kfab::agent::test;

namespace {

const json::Value& only(const std::vector<json::Value>& records) {
  REQUIRE(records.size() == 1);
  return records.front();
}

}  // namespace

TEST_CASE("package: installed once, with the options that keep apt from asking") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_apt(node);
  write(directory / "fake/packages", "curl\tii \t7.88\n");
  const auto resources = resource("package", R"({"names":["curl","chrony"],"lock_timeout_s":7})");
  const auto before = tree_hash(directory.string());
  CHECK(changes_of(only(node.run("plan", resources))) == "chrony: absent -> installed");
  CHECK(tree_hash(directory.string()) == before);
  CHECK(only(node.run("apply", resources)).string_or("status") == "changed");
  CHECK(only(node.run("apply", resources)).string_or("status") == "in_sync");
  const auto log = read(directory / "fake/apt-log");
  CHECK(log.find("install") != std::string::npos);
  CHECK(log.find("--no-install-recommends") != std::string::npos);
  CHECK(log.find("DPkg::Lock::Timeout=7") != std::string::npos);
  CHECK(log.find("curl") == std::string::npos);   // what is there is not named again
  CHECK(std::count(log.begin(), log.end(), '\n') == 1);
}

TEST_CASE("package: version, hold and absence") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_apt(node);
  write(directory / "fake/packages", "driver\tii \t535.1\nold\trc \t1.0\n");
  const auto pinned = resource("package", R"({"names":["driver"],"version":"550.2","hold":true})");
  CHECK(changes_of(only(node.run("apply", pinned))) == "driver: 535.1 -> 550.2; driver hold: not held -> held");
  CHECK(only(node.run("apply", pinned)).string_or("status") == "in_sync");
  // Removed with its configuration left is not installed.
  CHECK(only(node.run("plan", resource("package", R"({"names":["old"],"state":"absent"})"))).string_or("status") ==
        "in_sync");
  CHECK(changes_of(only(node.run("plan", resource("package", R"({"names":["old"]})")))) == "old: absent -> installed");
  CHECK(changes_of(only(node.run("apply", resource("package", R"({"names":"driver","state":"absent"})")))) ==
        "driver: 550.2 -> absent");
}

TEST_CASE("package: what apt says becomes a code") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_apt(node);
  const std::pair<const char*, const char*> cases[] = {
      {"E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 9 (unattended-upgr)", "KF3026"},
      {"E: Unable to locate package chrony", "KF3027"},
      {"E: Version '9' for 'chrony' was not found", "KF3027"},
      {"E: Write error - write (28: No space left on device)", "KF3021"},
      {"E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)\nE: are you root?",
       "KF3020"},
      {"E: Sub-process /usr/bin/dpkg returned an error code (1)", "KF3028"}};
  for (const auto& [words, code] : cases) {
    CAPTURE(words);
    write(directory / "fake/apt-says", words);
    const auto record = only(node.run("apply", resource("package", R"({"names":["chrony"]})")));
    CHECK(record.string_or("status") == "failed");
    CHECK(record.string_or("code") == code);
    CHECK(record.string_or("message").find("apt-get install") != std::string::npos);
  }
}

TEST_CASE("package: what dpkg left when it was cut is finished first") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_apt(node);
  write(directory / "fake/apt-says", "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem. ");
  node.program("dpkg", "echo \"$@\" >> \"$FAKE/dpkg-log\"; rm \"$FAKE/apt-says\"");
  CHECK(only(node.run("apply", resource("package", R"({"names":["chrony"]})"))).string_or("status") == "changed");
  CHECK(read(directory / "fake/dpkg-log") == "--force-confdef --force-confold --configure -a\n");
  // Where that fails it is said, and apt is not asked a second time.
  write(directory / "fake/apt-says", "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem. ");
  std::filesystem::remove(directory / "fake/apt-log");
  node.program("dpkg", "echo 'error processing package tmux' >&2; exit 1");
  const auto record = only(node.run("apply", resource("package", R"({"names":["tmux"]})")));
  CHECK(record.string_or("code") == "KF3028");
  CHECK(record.string_or("message").find("error processing package tmux") != std::string::npos);
  const auto log = read(directory / "fake/apt-log");
  CHECK(std::count(log.begin(), log.end(), '\n') == 1);
}

TEST_CASE("package: apt that claims success without doing it is found out") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_apt(node);
  node.program("apt-get", "exit 0");
  const auto record = only(node.run("apply", resource("package", R"({"names":["chrony"]})")));
  CHECK(record.string_or("code") == "KF3037");
  CHECK(record.string_or("message").find("chrony is absent and not installed") != std::string::npos);
}

TEST_CASE("package: a node without apt says so") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  node.node.process_environment[0] = "PATH=" + (directory / "bin");
  CHECK(only(node.run("plan", resource("package", R"({"names":["chrony"]})"))).string_or("code") == "KF3025");
}

TEST_CASE("service: started and enabled once; restarted when what it reads changed") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_systemd(node, directory);
  write(directory / "fake/units/chrony.active", "inactive");
  write(directory / "fake/units/chrony.enabled", "disabled");
  const auto resources =
      "[{\"id\":\"conf\",\"type\":\"file\",\"attributes\":{\"path\":\"" + (directory / "chrony.conf") +
      "\",\"content\":\"server a\\n\"}},"
      R"({"id":"unit","type":"service","attributes":{"name":"chrony","state":"running","enabled":true},"restart_on":["conf"]}])";
  auto records = node.run("plan", resources);
  CHECK(changes_of(records.at(1)) == "enabled: disabled -> enabled; state: inactive -> running");
  CHECK(node.run("apply", resources).at(1).string_or("status") == "changed");
  const auto first = read(directory / "fake/systemctl-log");
  CHECK(first.find("restart") == std::string::npos);   // it was started with the new file
  records = node.run("apply", resources);
  CHECK(records.at(0).string_or("status") == "in_sync");
  CHECK(records.at(1).string_or("status") == "in_sync");
  CHECK(read(directory / "fake/systemctl-log").find("restart") == std::string::npos);

  write(directory / "chrony.conf", "something else\n");
  records = node.run("plan", resources);
  CHECK(records.at(1).string_or("status") == "would_change");
  CHECK(changes_of(records.at(1)) == "restart: running with what was before -> restarted");
  CHECK(read(directory / "fake/systemctl-log").find("restart") == std::string::npos);
  CHECK(node.run("apply", resources).at(1).string_or("status") == "changed");
  CHECK(read(directory / "fake/systemctl-log").find("restart -- chrony") != std::string::npos);
}

TEST_CASE("service: a restart that a cut run left undone is done by the next, once") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_systemd(node, directory);
  write(directory / "fake/units/chrony.active", "active");
  write(directory / "fake/units/chrony.enabled", "enabled");
  write(directory / "fake/units/chrony.since", "1");   // since boot
  write(directory / "chrony.conf", "server a\n");      // as declared, and newer
  const auto resources =
      "[{\"id\":\"conf\",\"type\":\"file\",\"attributes\":{\"path\":\"" + (directory / "chrony.conf") +
      "\",\"content\":\"server a\\n\"}},"
      R"({"id":"unit","type":"service","attributes":{"name":"chrony","state":"running"},"restart_on":["conf"]}])";
  CHECK(changes_of(node.run("plan", resources).at(1)) == "restart: running with what was before -> restarted");
  CHECK(node.run("apply", resources).at(1).string_or("status") == "changed");
  CHECK(node.run("apply", resources).at(1).string_or("status") == "in_sync");
}

TEST_CASE("service: stopped, disabled, unknown, failing, and no systemd at all") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_systemd(node, directory);
  write(directory / "fake/units/rngd.active", "active");
  write(directory / "fake/units/rngd.enabled", "enabled");
  const auto off = resource("service", R"({"name":"rngd","state":"stopped","enabled":false})");
  CHECK(changes_of(only(node.run("apply", off))) == "enabled: enabled -> disabled; state: active -> stopped");
  CHECK(only(node.run("apply", off)).string_or("status") == "in_sync");
  CHECK(only(node.run("plan", resource("service", R"({"name":"none","state":"stopped"})"))).string_or("status") ==
        "in_sync");
  CHECK(only(node.run("plan", resource("service", R"({"name":"none","state":"running"})"))).string_or("code") ==
        "KF3029");
  const auto on = resource("service", R"({"name":"rngd","state":"running"})");
  write(directory / "fake/systemctl-fails",
        "Job for rngd.service failed because the control process exited with error code.");
  CHECK(only(node.run("apply", on)).string_or("code") == "KF3030");
  write(directory / "fake/systemctl-fails", "Failed to start rngd.service: Interactive authentication required.");
  CHECK(only(node.run("apply", on)).string_or("code") == "KF3020");
  std::filesystem::remove(directory / "systemd");
  CHECK(only(node.run("apply", on)).string_or("code") == "KF3031");
}

TEST_CASE("sysctl: live and for the next boot; other lines stay") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  write(directory / "proc-sys/vm/max_map_count", "65530\n");
  write(directory / "proc-sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n");
  write(directory / "sysctl.d/60-kfab.conf", "# mine\nvm.swappiness = 10\n");
  const auto resources = R"([{"id":"a","type":"sysctl","attributes":{"name":"vm.max_map_count","value":1048576}},
    {"id":"b","type":"sysctl","attributes":{"name":"net.ipv4.tcp_rmem","value":"4096 131072 6291456"}}])";
  const auto before = tree_hash(directory.string());
  auto records = node.run("plan", resources);
  CHECK(changes_of(records.at(0)) == "live: 65530 -> 1048576; at boot: absent -> 1048576");
  CHECK(changes_of(records.at(1)) == "at boot: absent -> 4096 131072 6291456");
  CHECK(tree_hash(directory.string()) == before);
  for (const auto& record : node.run("apply", resources)) CHECK(record.string_or("status") == "changed");
  CHECK(read(directory / "proc-sys/vm/max_map_count") == "1048576\n");
  CHECK(read(directory / "sysctl.d/60-kfab.conf") ==
        "# mine\nvm.swappiness = 10\nvm.max_map_count = 1048576\nnet.ipv4.tcp_rmem = 4096 131072 6291456\n");
  for (const auto& record : node.run("apply", resources)) CHECK(record.string_or("status") == "in_sync");
  const auto changed = resource("sysctl", R"({"name":"vm.max_map_count","value":"99"})");
  CHECK(only(node.run("apply", changed)).string_or("status") == "changed");
  CHECK(read(directory / "sysctl.d/60-kfab.conf").find("vm.max_map_count = 99\n") != std::string::npos);
  CHECK(read(directory / "sysctl.d/60-kfab.conf").find("1048576") == std::string::npos);
  // A file that others may write to is put right, whatever stands in it.
  REQUIRE(::chmod((directory / "sysctl.d/60-kfab.conf").c_str(), 0666) == 0);
  const auto open_to_all = node.run("plan", changed);
  CHECK(said(open_to_all) == "would_change");
  CHECK(changes_of(open_to_all.front()) == "at boot file mode: 0666 -> 0644");
  CHECK(said(node.run("apply", changed)) == "changed");
  CHECK(said(node.run("plan", changed)) == "in_sync");
}

TEST_CASE("sysctl: the file for the next boot is everybody's to read, also where it is written under a narrow umask, as over SSH") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  write(directory / "proc-sys/vm/swappiness", "60\n");
  const mode_t before = ::umask(077);
  const auto applied = node.run("apply", resource("sysctl", R"({"name":"vm.swappiness","value":"10"})"));
  ::umask(before);
  CHECK(said(applied) == "changed");
  CHECK(mode_of(directory / "sysctl.d/60-kfab.conf") == 0644);
}

TEST_CASE("sysctl: an unknown parameter, and a name that leads elsewhere") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  CHECK(only(node.run("apply", resource("sysctl", R"({"name":"vm.none","value":1})"))).string_or("code") == "KF3032");
  CHECK(only(node.run("apply", resource("sysctl", R"({"name":"vm...x","value":1})"))).string_or("code") == "KF3032");
}

TEST_CASE("user: created, corrected, removed") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  node.program("getent", R"(grep "^$2:" "$FAKE/passwd" 2>/dev/null || exit 2)");
  node.program("id", R"(case $1 in -nG) cat "$FAKE/groups";; -gn) echo ops;; esac)");
  node.program("useradd", R"(echo "$@" > "$FAKE/useradd-log"; for n in "$@"; do :; done
echo "$n:x:2000:2000::/home/$n:/bin/bash" >> "$FAKE/passwd"; echo "$n adm" > "$FAKE/groups")");
  node.program("usermod", R"(echo "$@" > "$FAKE/usermod-log"
while [ $# -gt 1 ]; do case $1 in -s) shell=$2;; -G) echo "kfab adm $2" > "$FAKE/groups";; esac; shift; done
[ -n "$shell" ] && sed -i "s|:[^:]*$|:$shell|" "$FAKE/passwd"; true)");
  node.program("userdel", R"(: > "$FAKE/passwd")");
  write(directory / "fake/passwd", "");
  const auto resources =
      resource("user", R"({"name":"kfab","uid":2000,"shell":"/bin/bash","groups":["adm"],"home":"/home/kfab"})");
  CHECK(changes_of(only(node.run("plan", resources))) == "state: absent -> present");
  CHECK(only(node.run("apply", resources)).string_or("status") == "changed");
  CHECK(read(directory / "fake/useradd-log") == "-u 2000 -G adm -s /bin/bash -d /home/kfab -m -- kfab\n");
  CHECK(only(node.run("apply", resources)).string_or("status") == "in_sync");
  const auto more = resource("user", R"({"name":"kfab","shell":"/bin/sh","groups":["adm","video"]})");
  CHECK(changes_of(only(node.run("apply", more))) == "shell: /bin/bash -> /bin/sh; groups: kfab,adm -> also video");
  CHECK(read(directory / "fake/usermod-log") == "-s /bin/sh -a -G video -- kfab\n");
  CHECK(only(node.run("apply", resource("user", R"({"name":"kfab","state":"absent"})"))).string_or("status") ==
        "changed");
  CHECK(only(node.run("apply", resource("user", R"({"name":"kfab","state":"absent"})"))).string_or("status") ==
        "in_sync");
  node.program("useradd", "echo \"useradd: Permission denied.\" >&2; exit 1");
  CHECK(only(node.run("apply", resources)).string_or("code") == "KF3020");
  node.program("useradd", "echo \"useradd: UID 2000 is not unique\" >&2; exit 4");
  const auto record = only(node.run("apply", resources));
  CHECK(record.string_or("code") == "KF3034");
  CHECK(record.string_or("message").find("UID 2000 is not unique") != std::string::npos);
}

TEST_CASE("command: runs only when its guards say so, and must satisfy them") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto flag = directory / "flag";
  const auto creates = resource("command", R"({"run":["touch",")" + flag + R"("],"creates":")" + flag + "\"}");
  CHECK(only(node.run("plan", creates)).string_or("status") == "would_change");
  CHECK_FALSE(std::filesystem::exists(flag));
  CHECK(only(node.run("apply", creates)).string_or("status") == "changed");
  CHECK(only(node.run("apply", creates)).string_or("status") == "in_sync");
  const auto unless =
      resource("command", R"({"shell":"rm )" + flag + R"(","unless":["/bin/sh","-c","! test -e )" + flag + "\"]}");
  CHECK(only(node.run("apply", unless)).string_or("status") == "changed");
  CHECK(only(node.run("apply", unless)).string_or("status") == "in_sync");
  const auto only_if = resource("command", R"({"shell":"rm )" + flag + R"(","only_if":"test -e )" + flag + "\"}");
  CHECK(only(node.run("apply", only_if)).string_or("status") == "in_sync");
  write(flag, "");
  CHECK(only(node.run("apply", only_if)).string_or("status") == "changed");
  const auto lie = resource("command", R"({"run":["true"],"unless":"false"})");
  CHECK(only(node.run("apply", lie)).string_or("code") == "KF3037");
}

TEST_CASE("command: failing, hanging, guards that cannot be asked, and none at all") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto failing =
      only(node.run("apply", resource("command", R"({"shell":"echo why >&2; exit 4","unless":"false"})")));
  CHECK(failing.string_or("code") == "KF3035");
  CHECK(failing.string_or("message").find("exit status 4: why") != std::string::npos);
  CHECK(only(node.run("apply", resource("command", R"({"run":["sleep","100"],"unless":"false","timeout_s":1})")))
            .string_or("code") == "KF3038");
  CHECK(only(node.run("apply", resource("command", R"({"run":["true"],"unless":"kfab-no-such-program"})")))
            .string_or("code") == "KF3036");
  CHECK(only(node.run("apply", resource("command", R"({"run":["true"],"unless":["kfab-no-such-program"]})")))
            .string_or("code") == "KF3036");
  CHECK(only(node.run("apply", resource("command", R"({"run":["true"]})"))).string_or("code") == "KF2101");
  CHECK(only(node.run("apply", resource("command", R"({"run":["kfab-no-such-program"],"unless":"false"})")))
            .string_or("code") == "KF3041");
}

TEST_CASE("provision: what waits for a failure is skipped, the rest goes on") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto resources = R"([{"id":"bad","type":"command","attributes":{"run":["false"],"unless":"false"}},
    {"id":"next","type":"file","after":["bad"],"attributes":{"path":")" + (directory / "next") + R"(","content":"x"}},
    {"id":"last","type":"file","after":["next"],"attributes":{"path":")" + (directory / "last") + R"(","content":"x"}},
    {"id":"other","type":"file","attributes":{"path":")" + (directory / "other") + R"(","content":"x"}}])";
  const auto records = node.run("apply", resources);
  REQUIRE(records.size() == 4);
  CHECK(node.status);
  CHECK(records[0].string_or("status") == "failed");
  CHECK(records[1].string_or("status") == "skipped");
  CHECK(records[1].string_or("code") == "KF3039");
  CHECK(records[2].string_or("status") == "skipped");
  CHECK(records[3].string_or("status") == "changed");
  CHECK_FALSE(std::filesystem::exists(directory / "next"));
}

TEST_CASE("provision: what an earlier resource will bring is no failure of the plan, but one of the run") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_apt(node);
  install_fake_systemd(node, directory);
  const auto resources = R"([{"id":"package","type":"package","attributes":{"names":["chrony"]}},
    {"id":"unit","type":"service","after":["package"],"attributes":{"name":"chrony","state":"running"}}])";
  const auto planned = node.run("plan", resources);
  CHECK(planned.at(1).string_or("status") == "would_change");
  CHECK(planned.at(1).string_or("message").find("only when earlier resources are applied") != std::string::npos);
  CHECK(node.run("apply", resources).at(1).string_or("code") == "KF3029");
}

TEST_CASE("provision: a stopped run cancels what is left") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  node.stop = true;
  const auto record =
      only(node.run("apply", resource("file", R"({"path":")" + (directory / "x") + R"(","content":"x"})")));
  CHECK(record.string_or("status") == "cancelled");
  CHECK_FALSE(std::filesystem::exists(directory / "x"));
}

TEST_CASE("provision: requests that make no sense change nothing") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto good = R"({"id":"a","type":"file","attributes":{"path":")" + (directory / "x") + R"(","content":"x"}})";
  const std::string cases[] = {"{}", "[" + good + "," + good + "]",
                               "[" + good + R"(,{"id":"b","type":"file","after":["c"],"attributes":{}}])",
                               R"([{"id":"","type":"file"}])"};
  for (const auto& resources : cases) {
    CAPTURE(resources);
    CHECK(node.run("apply", resources).empty());
    REQUIRE_FALSE(node.status);
    CHECK(node.status.error().code == code::agent_bad_request);
  }
  CHECK(node.run("dance", "[]").empty());
  CHECK_FALSE(node.status);
  CHECK_FALSE(std::filesystem::exists(directory / "x"));
  CHECK(only(node.run("apply", R"([{"id":"a","type":"teapot","attributes":{}}])")).string_or("code") == "KF2101");
  CHECK(only(node.run("apply", R"([{"id":"a","type":"file","attributes":{"content":"x"}}])")).string_or("code") ==
        "KF2101");
}
