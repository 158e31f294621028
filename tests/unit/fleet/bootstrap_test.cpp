#include <doctest/doctest.h>

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "base/codes/agent.hpp"
#include "fleet/bootstrap.hpp"
#include "json/value.hpp"
#include "unit/fleet/fake_agent.hpp"
#include "unit/ssh/recorder.hpp"

using namespace kfab;
using namespace kfab::fleet;
using namespace kfab::fleet::test;

namespace {

// Runs the bootstrap as a node would, under one shell; sends the image when it is asked for.
struct Node final : ssh::CommandListener {
  explicit Node(std::string_view image) : gz(image) {}
  void on_start(ssh::CommandPeer& given) override { peer = &given; }
  void on_stdout(std::string_view bytes) override {
    out += bytes;
    if (out.find("\"state\":\"need\"") != std::string::npos && !sent) {
      sent = true;
      peer->write("direct\n");
      peer->write_view(gz);
      if (hang_up_after_image) peer->close_input();
    }
    if (out.find("\"state\":\"ready\"") != std::string::npos && !asked) {
      asked = true;
      peer->write("{\"type\":\"request\"}\n");
      peer->close_input();
    }
  }
  void on_end(const ssh::CommandEnd& how) override { end = how; }
  bool has(const std::string& state) const { return out.find("\"state\":\"" + state + "\"") != std::string::npos; }
  std::string gz, out;
  bool sent = false, asked = false, hang_up_after_image = false;
  ssh::CommandPeer* peer = nullptr;
  ssh::CommandEnd end;
};

std::shared_ptr<Node> boot(const std::string& line, std::string_view gz, bool hang_up = false) {
  auto transport = ssh::make_transport({});
  ssh::Target target;
  target.node = "here";
  target.transport = ssh::TransportKind::local;
  ssh::Command command;
  command.line = line;
  command.deadlines.total = std::chrono::seconds(60);
  auto node = std::make_shared<Node>(gz);
  node->hang_up_after_image = hang_up;
  transport->launch(target, command, node);
  ssh::test::drive_to_end(*transport);
  return node;
}

std::vector<std::string> shells() {
  std::vector<std::string> found;
  for (const std::string shell : {"dash", "bash", "busybox sh"}) {
    if (std::system(("command -v " + shell.substr(0, shell.find(' ')) + " >/dev/null 2>&1").c_str()) == 0) found.push_back(shell);
  }
  return found;
}

std::string under(const std::string& shell, const AgentImage& image) {
  std::string line = bootstrap_line(image, Become::none, "ab12");
  const std::string from = "exec /bin/sh ";
  return line.replace(0, from.size(), "exec " + shell + " ");
}

const std::string script = agent_script(done_ok);

// A small file system of the given size, where root may make one; else the test says that it did not run.
struct SmallDisk {
  std::string path;
  bool mounted = false;
  SmallDisk(const std::string& at, const char* options, unsigned long flags) : path(at) {
    std::filesystem::create_directories(path);
    mounted = ::mount("tmpfs", path.c_str(), "tmpfs", flags, options) == 0;
    if (!mounted) MESSAGE("not run: a file system can be mounted by root only");
  }
  ~SmallDisk() { if (mounted) ::umount2(path.c_str(), MNT_DETACH); }
};

}  // namespace

TEST_CASE("the script survives any login shell: one line, no quote, no history mark, no double backslash") {
  const std::string travels = bootstrap_script();
  CHECK(travels.find_first_of("'!\n") == std::string::npos);
  CHECK(travels.find("\\\\") == std::string::npos);
  CHECK(travels.size() < 16000);
  const AgentImage image{"xx", std::string(64, 'a'), 10};
  CHECK(bootstrap_line(image, Become::sudo, "ab12").ends_with(" kfab-bootstrap " + std::string(64, 'a') + " 2 10 sudo ab12"));
}

TEST_CASE_FIXTURE(Home, "under every shell: sent when missing, used when there, replaced when damaged") {
  for (const std::string& shell : shells()) {
    CAPTURE(shell);
    const Image image(script);
    auto node = boot(under(shell, image.image), image.gz);
    CHECK(node->sent);
    CHECK(node->end.outcome == NodeOutcome::ok);
    CHECK(node->out.find("\"type\":\"done\"") != std::string::npos);
    node = boot(under(shell, image.image), image.gz);
    CHECK_FALSE(node->sent);
    CHECK(node->end.outcome == NodeOutcome::ok);
    REQUIRE(cached().size() == 1);
    const std::string file = path + "/.cache/kfab/" + cached()[0];
    struct stat about {};
    REQUIRE(::stat(file.c_str(), &about) == 0);
    CHECK((about.st_mode & 077) == 0);
    std::ofstream(file, std::ios::app) << "#";
    CHECK(boot(under(shell, image.image), image.gz)->sent);
    CHECK(cached().size() == 1);
    std::filesystem::remove_all(path + "/.cache");
  }
}

TEST_CASE_FIXTURE(Home, "an image that arrives damaged or cut short is not kept") {
  const Image image(script), other(script + "# other\n");
  AgentImage wrong = image.image;
  wrong.gz = other.gz;
  auto node = boot(bootstrap_line(wrong, Become::none, "ab12"), other.gz);
  CHECK(node->has("not_stored"));
  CHECK(cached().empty());
  node = boot(bootstrap_line(image.image, Become::none, "ab12"), image.gz.substr(0, image.gz.size() / 2), true);   // the connection ends early
  CHECK(node->has("not_stored"));
  CHECK(node->end.outcome == NodeOutcome::failed);
  CHECK(cached().empty());
}

TEST_CASE_FIXTURE(Home, "each node gets the agent of its own processors, and one that there is none for says so") {
  Image own(script), arm(script + "# arm\n");
  own.image.machine = "x86_64";
  arm.image.machine = "aarch64";
  own.image.others = {arm.image};
  const std::vector<std::pair<std::string, const Image*>> machines{{"x86_64", &own}, {"aarch64", &arm}, {"", &own}};
  for (const std::string& shell : shells()) {
    CAPTURE(shell);
    for (const auto& [machine, image] : machines) {
      CAPTURE(machine);
      const OtherMachine node_says(path + "/bin", machine);
      const auto node = boot(under(shell, own.image), image->gz);
      CHECK(node->sent);
      CHECK(node->end.outcome == NodeOutcome::ok);
      CHECK(cached() == std::vector<std::string>{"agent-" + image->image.sha256});
      CHECK_FALSE(boot(under(shell, own.image), image->gz)->sent);
      std::filesystem::remove_all(path + "/.cache");
    }
    const OtherMachine node_says(path + "/bin", "riscv64");
    const auto node = boot(under(shell, own.image), own.gz);
    CHECK_FALSE(node->sent);
    CHECK(node->has("cannot_run"));
    CHECK(node->out.find("the node is riscv64, and this kfab has agents for x86_64 aarch64") != std::string::npos);
    CHECK(cached().empty());
  }
}

TEST_CASE_FIXTURE(Home, "a node that lies about its processors is sent what it cannot use, and keeps nothing of it") {
  Image own(script), arm(script + "# arm\n");
  own.image.machine = "x86_64";
  arm.image.machine = "aarch64";
  own.image.others = {arm.image};
  const OtherMachine node_says(path + "/bin", "aarch64");
  const auto node = boot(bootstrap_line(own.image, Become::none, "ab12"), own.gz, true);
  CHECK(node->has("not_stored"));
  CHECK(cached().empty());
}

TEST_CASE_FIXTURE(Home, "a link in the place of the cache is not followed") {
  std::filesystem::create_directories(path + "/.cache");
  std::filesystem::create_directories(path + "/elsewhere");
  std::filesystem::create_directory_symlink(path + "/elsewhere", path + "/.cache/kfab");
  const Image image(script);
  auto node = boot(bootstrap_line(image.image, Become::none, "ab12"), image.gz);
  CHECK(std::filesystem::is_empty(path + "/elsewhere"));
  CHECK(node->end.outcome == NodeOutcome::ok);   // it went to the next place
  std::filesystem::remove("/var/tmp/kfab-" + std::to_string(::getuid()) + "/agent-" + image.image.sha256);
}

TEST_CASE_FIXTURE(Home, "a cache mounted noexec or full is passed over") {
  const Image image(script);
  for (const bool noexec : {true, false}) {
    const SmallDisk disk(path + "/.cache", noexec ? "size=16m" : "size=64k", noexec ? MS_NOEXEC : 0);
    if (!disk.mounted) return;
    auto node = boot(bootstrap_line(image.image, Become::none, "ab12"), image.gz);
    CHECK(node->end.outcome == NodeOutcome::ok);
    CHECK(cached().empty());
    const std::string elsewhere = "/var/tmp/kfab-" + std::to_string(::getuid()) + "/agent-" + image.image.sha256;
    CHECK(std::filesystem::exists(elsewhere));
    std::filesystem::remove(elsewhere);
  }
}

TEST_CASE("each state of the bootstrap has its own code, and the node's words are made harmless") {
  CHECK(bootstrap_error("no_directory", "x", "n").code == code::agent_no_directory);
  CHECK(bootstrap_error("no_space", "x", "n").code == code::agent_no_space);
  CHECK(bootstrap_error("no_tool", "gzip", "n").code == code::agent_no_tool);
  CHECK(bootstrap_error("not_stored", "x", "n").code == code::agent_not_stored);
  CHECK(bootstrap_error("cannot_run", "x", "n").code == code::agent_cannot_run);
  CHECK(bootstrap_error("no_sudo", "x", "n").code == code::agent_no_sudo);
  const Diagnostic unknown = bootstrap_error("\x1b[31mevil\n", std::string(5000, 'x'), "n");
  CHECK(unknown.code == code::agent_protocol_error);
  CHECK(unknown.message.find('\x1b') == std::string::npos);
  CHECK(bootstrap_error("no_space", std::string(5000, 'x'), "n").message.size() < 500);
}
