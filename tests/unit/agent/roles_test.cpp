// Roles that ship, on recorded states of nodes: what a container, or a machine without the hardware, cannot show.
#include <doctest/doctest.h>

#include <map>

#include "base/text.hpp"
#include "manifest/load.hpp"
#include "provision/desired_state.hpp"
#include "unit/agent/fake_apt.hpp"
#include "unit/agent/support.hpp"
#include "unit/provision/support.hpp"

using namespace kfab;
using namespace kfab::agent;
using namespace kfab::agent::test;

namespace {

// The resources of a role as a node with these variables gets them. Fixed paths that a role names lead into the test's folder.
std::string resources_of(const std::string& name, const TemporaryDirectory& directory, const std::map<std::string, json::Value>& variables, const std::vector<std::string>& paths) {
  const auto loaded = manifest::load_file(std::string(KFAB_SOURCE_DIR) + "/manifests/roles/" + name + ".yaml");
  const auto* role = std::get_if<manifest::Role>(&loaded.document);
  REQUIRE(role != nullptr);
  auto site = provision::test::site_with({*role});
  site.profiles.at("hgx").vars = variables;
  const auto result = provision::desired_state(site, site.nodes.front());
  for (const auto& problem : result.diagnostics) MESSAGE(problem.message);
  REQUIRE(result.state);
  std::string text = json::dump(provision::resources_json(*result.state));
  for (const auto& path : paths)
    for (std::size_t at = text.find(path); at != std::string::npos; at = text.find(path, at + directory.string().size() + 5 + path.size())) text.insert(at, directory / "root");
  return text;
}

std::string words_of(const std::vector<json::Value>& records) {
  std::string text;
  for (const auto& record : records) {
    const std::string code = record.string_or("code");
    text += (text.empty() ? "" : " ") + record.string_or("status") + (code.empty() ? "" : ":" + code);
  }
  return text;
}

}  // namespace

TEST_CASE("role auditd: the package, rules for root alone, and a daemon that reads them again when they change") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_apt(node);
  install_fake_systemd(node, directory);
  write(directory / "fake/packages", "curl\tii \t7.88\n");
  std::filesystem::create_directories(directory / "root/etc/audit/rules.d");
  // Debian's package brings the unit and starts it, and rules of its own stand beside kfab's.
  write(directory / "fake/after-install", "echo active > $FAKE/units/auditd.service.active; echo enabled > $FAKE/units/auditd.service.enabled; cp $FAKE/units/auditd.service.active $FAKE/units/auditd.active; cp $FAKE/units/auditd.service.enabled $FAKE/units/auditd.enabled\n");
  write(directory / "root/etc/audit/rules.d/audit.rules", "-D\n-b 8192\n");
  const std::string role = resources_of("auditd", directory, {}, {"/etc/audit/rules.d"});
  const std::string rules = directory / "root/etc/audit/rules.d/60-kfab.rules";

  const std::string before = tree_hash(directory / "root");
  const auto planned = node.run("plan", role);
  CHECK(words_of(planned) == "would_change would_change would_change");
  CHECK(tree_hash(directory / "root") == before);
  CHECK(words_of(node.run("apply", role)) == "changed changed changed");
  CHECK(read(rules).find("-w /etc/sudoers.d -p wa -k sudo\n") != std::string::npos);
  CHECK(mode_of(rules) == 0640);
  CHECK(read(directory / "root/etc/audit/rules.d/audit.rules") == "-D\n-b 8192\n");
  CHECK(words_of(node.run("apply", role)) == "in_sync in_sync in_sync");

  // Rules that somebody loosened are put right, and the daemon is restarted, which loads them; nothing else is touched.
  write(rules, "# -w /etc/passwd\n", 0640);
  std::filesystem::remove(directory / "fake/systemctl-log");
  const auto mended = node.run("apply", role);
  CHECK(words_of(mended) == "in_sync changed changed");
  CHECK(changes_of(mended.at(2)).find("restart") != std::string::npos);
  CHECK(read(directory / "fake/systemctl-log").find("restart") != std::string::npos);
  // A daemon that the kernel refuses, as in a container, is told and never passed over.
  write(rules, "", 0640);
  write(directory / "fake/systemctl-fails", "Job for auditd.service failed because the control process exited with error code.\n");
  CHECK(words_of(node.run("apply", role)).starts_with("in_sync changed failed:KF30"));
  std::filesystem::remove(directory / "fake/systemctl-fails");
  // No apt that answers: nothing behind the package is touched.
  write(directory / "fake/packages", "curl\tii \t7.88\n");
  write(directory / "fake/apt-says", "E: Unable to locate package auditd\n");
  write(rules, "by hand\n", 0640);
  CHECK(words_of(node.run("apply", role)) == "failed:KF3027 skipped:KF3039 skipped:KF3039");
  CHECK(read(rules) == "by hand\n");
}

TEST_CASE("role kernel-pin: where another kernel runs the node waits for its reboot, and else nothing does") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_apt(node);
  node.program("uname", "cat \"$FAKE/release\"\n");
  write(directory / "fake/release", "6.1.0-17-amd64\n");
  write(directory / "fake/packages", "curl\tii \t7.88\n");
  const std::string role = resources_of("kernel-pin", directory, {{"kernel_packages", json::Array{"linux-image-6.1.0-18-amd64"}}, {"kernel_release", "6.1.0-18-amd64"}}, {});
  const auto planned = node.run("plan", role);
  CHECK(words_of(planned) == "would_change would_change");
  CHECK(planned.at(1).string_or("message") == "another kernel runs than 6.1.0-18-amd64");
  CHECK(words_of(node.run("apply", role)) == "changed waiting");
  CHECK(words_of(node.run("apply", role)) == "in_sync waiting");
  write(directory / "fake/release", "6.1.0-18-amd64\n");   // as the boot makes it
  CHECK(words_of(node.run("apply", role)) == "in_sync in_sync");
  // A hold alone needs no boot.
  write(directory / "fake/packages", "linux-image-6.1.0-18-amd64\tii \t1.0\n");
  CHECK(words_of(node.run("apply", role)) == "changed in_sync");
}

TEST_CASE("role nvidia-driver: an upgrade waits for the boot, a first installation does not") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_apt(node);
  install_fake_systemd(node, directory);
  node.program("apt-cache", R"(
[ "$1" = madison ] && { echo "$2 | 570.133.20-1 | mirror"; exit 0; }
for name in "$@"; do case $name in -*|policy|show) ;; *) printf '%s:\n  Candidate: 570.133.20-1\n' "$name";; esac; done)");
  node.program("modinfo", "cat \"$FAKE/installed\"\n");
  const auto with_version = [&](const std::string& packages) { write(directory / "fake/packages", packages); };
  write(directory / "fake/units/nvidia-persistenced.active", "active\n");
  write(directory / "fake/units/nvidia-persistenced.enabled", "enabled\n");
  const std::string role = resources_of("nvidia-driver", directory, {{"driver_version", "570.133.20"}, {"driver_packages", json::Array{"nvidia-driver-570-server-open"}}}, {"/sys/module"});
  with_version("nvidia-driver-570-server-open\thi \t570.133.20-1\n");
  write(directory / "root/etc/apt/preferences.d/none", "");
  write(directory / "fake/installed", "570.133.20\n");
  const auto reboot_of = [&](const std::vector<json::Value>& records) { return records.size() == 4 ? records.at(2).string_or("status") + " " + records.at(3).string_or("status") : words_of(records); };
  CHECK(reboot_of(node.run("apply", role)) == "in_sync in_sync");   // nothing is loaded: the modules come when they are asked for
  write(directory / "root/sys/module/nvidia/version", "550.54.14\n");
  const auto waits = node.run("apply", role);
  CHECK(reboot_of(waits) == "waiting waiting");
  CHECK(waits.at(2).string_or("message") == "the kernel has the modules of another driver loaded than of the one that is installed");
  write(directory / "root/sys/module/nvidia/version", "570.133.20\n");
  CHECK(reboot_of(node.run("apply", role)) == "in_sync in_sync");
  // Whether an upgrade will need one is told by the plan as what it is: not known yet.
  with_version("curl\tii \t7.88\n");
  const auto planned = node.run("plan", role);
  CHECK(reboot_of(planned).starts_with("would_change "));
  CHECK(planned.at(2).string_or("message") == "only if what is applied before it asks for one");
}
