#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "unit/agent/converge.hpp"

#include "agent/resources/backup.hpp"

using namespace kfab;
using namespace kfab::agent::test;

namespace {

std::string line(const std::string& path, const std::string& more) {
  return resource("line", R"({"path":")" + path + "\"" + more + "}");
}

void install_accounts(Provisioner& node, const TemporaryDirectory& directory) {
  node.program("getent", R"(
grep "^$2:" "$FAKE/$1" || exit 2)");
  write(directory / "fake/passwd", "ops:x:" + std::to_string(::geteuid()) + ":" + std::to_string(::getegid()) +
                                       ":Operator:/home/ops:/bin/sh\n");
  write(directory / "fake/group", "adm:x:4:\n");
}

constexpr const char* key_a = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPe6Yd3zD2dO1mmwzqvvCKBPq0yZTmzd6n5wYVJTDyLx a@one";
constexpr const char* key_b = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEHhxtkl5yyQ2KxEbjDhh6XnNQVvIVVJnBHyNbb8b7Cq b@two";

}  // namespace

TEST_CASE("line: added at the end, changed where it matches, and the file keeps its mode") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto path = directory / "sshd_config";
  write(path, "# a comment\nPermitRootLogin yes\nPort 22", 0640);
  CHECK(converge(directory, node, line(path, R"(,"line":"UseDNS no")")) == "line: absent -> UseDNS no");
  CHECK(read(path) == "# a comment\nPermitRootLogin yes\nPort 22\nUseDNS no\n");
  CHECK(mode_of(path) == 0640);
  const auto matched = line(path, R"(,"line":"PermitRootLogin no","match":"^#?PermitRootLogin[ \t]")");
  CHECK(converge(directory, node, matched) == "line: PermitRootLogin yes -> PermitRootLogin no");
  CHECK(read(path) == "# a comment\nPermitRootLogin no\nPort 22\nUseDNS no\n");
  // What says the same otherwise goes, for it could win by its place.
  write(path, "PermitRootLogin yes\nPermitRootLogin no\nPermitRootLogin prohibit-password\n", 0640);
  CHECK(converge(directory, node, matched) ==
        "line: PermitRootLogin yes -> absent; line: PermitRootLogin prohibit-password -> absent");
  CHECK(read(path) == "PermitRootLogin no\n");
  CHECK(converge(directory, node, line(path, R"(,"match":"^PermitRootLogin","state":"absent")")) ==
        "line: PermitRootLogin no -> absent");
  CHECK(read(path).empty());
}

TEST_CASE("line: what cannot be done is refused and the file left as it is") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto path = directory / "conf";
  CHECK(said(node.run("apply", line(path, R"(,"line":"a")"))) == "failed KF3023");
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK(said(node.run("apply", line(path, R"(,"line":"a","state":"absent")"))) == "in_sync");
  CHECK(said(node.run("apply", line(path, R"(,"line":"a","create":true,"mode":"0600")"))) == "changed");
  CHECK(read(path) == "a\n");
  CHECK(mode_of(path) == 0600);
  CHECK(said(node.run("apply", line(path, R"(,"line":"a\nb")"))).starts_with("failed"));
  CHECK(said(node.run("apply", line(path, R"(,"line":"a","match":"(")"))).starts_with("failed"));
  std::filesystem::create_symlink(path, directory / "link");
  CHECK(said(node.run("apply", line(directory / "link", R"(,"line":"b")"))) == "failed KF3023");
  CHECK(read(path) == "a\n");
}

TEST_CASE("line: a secret line is shown nowhere") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  write(directory / "conf", "token=OLDSECRET\n");
  const auto resources = line(directory / "conf", R"(,"line":"token=NEWSECRET","match":"^token=","sensitive":true)");
  for (const auto* mode : {"plan", "apply"}) CHECK(json::dump(node.run(mode, resources).at(0)).find("SECRET") == std::string::npos);
  CHECK(read(directory / "conf") == "token=NEWSECRET\n");
}

TEST_CASE("file: the new content is checked before the old one is replaced") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  node.program("check-conf", R"sh(
echo "checked $1: $(cat "$1")" >> "$FAKE/log"
grep -q good "$1" || { echo "line 1: bad syntax SECRET" >&2; exit 1; })sh");
  const auto path = directory / "conf";
  const auto file = [&](const std::string& content, const std::string& more = "") {
    return resource("file", R"({"path":")" + path + R"(","content":")" + content +
                                R"(","validate":["check-conf","%s"])" + more + "}");
  };
  write(path, "old\n");
  const auto refused = node.run("apply", file("bad"));
  CHECK(said(refused) == "failed KF3070");
  CHECK(refused[0].string_or("message").find("line 1: bad syntax") != std::string::npos);
  CHECK(read(path) == "old\n");
  CHECK(nothing_left_over(directory));
  CHECK(backups(directory).empty());   // nothing was replaced
  // A check may quote what it reads.
  CHECK(json::dump(node.run("apply", file("bad", R"(,"sensitive":true)"))[0]).find("SECRET") == std::string::npos);
  CHECK(said(node.run("apply", file("good"))) == "changed");
  CHECK(read(path) == "good");
  const auto log = read(directory / "fake/log");
  CHECK(log.find("checked " + path + ":") == std::string::npos);   // it is never the file in use that is checked
  CHECK(said(node.run("apply", resource("file", R"({"path":")" + path + R"(","content":"x","validate":["no-such","%s"]})"))) == "failed KF3041");
  CHECK(read(path) == "good");
}

TEST_CASE("backups: of what was replaced, once for the same bytes, the last five, and for their owner alone") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto path = directory / "conf";
  const auto content = [&](const std::string& text, const std::string& more = "") {
    return node.run("apply", resource("file", R"({"path":")" + path + R"(","content":")" + text + "\"" + more + "}"));
  };
  content("0");
  CHECK(backups(directory).empty());   // nothing was there
  content("1", R"(,"mode":"0600","sensitive":true)");
  auto kept = backups(directory);
  REQUIRE(kept.size() == 1);
  CHECK(kept[0].starts_with(agent::backup_name(path) + ".20"));
  const auto place = directory / "root/var/lib/kfab/backups";
  CHECK(read(place + "/" + kept[0]) == "0");
  CHECK(mode_of(place) == 0700);
  CHECK(mode_of(place + "/" + kept[0]) == 0600);
  write(path, "0");   // drifted back to what is kept already
  content("1");
  CHECK(backups(directory).size() == 1);
  for (char c = '2'; c <= '9'; ++c) content(std::string(1, c));
  kept = backups(directory);
  REQUIRE(kept.size() == 5);
  CHECK(read(place + "/" + kept.back()) == "8");
  content("none", R"(,"backup":false)");
  CHECK(read(place + "/" + backups(directory).back()) == "8");
  CHECK(said(node.run("apply", resource("file", R"({"path":")" + path + R"(","state":"absent"})"))) == "changed");
  CHECK(read(place + "/" + backups(directory).back()) == "none");
}

TEST_CASE("backups: names tell the path, and one path's copies are not another's") {
  CHECK(agent::backup_name("/etc/fstab") == "etc!fstab");
  CHECK(agent::backup_name("/etc/a!b") == "etc!a!!b");
  const auto long_name = agent::backup_name("/" + std::string(250, 'a') + "/" + std::string(250, 'b'));
  CHECK(long_name.size() == 160);
  CHECK(long_name != agent::backup_name("/" + std::string(249, 'a') + "c/" + std::string(250, 'b')));
}

TEST_CASE("backups: where none can be kept nothing is replaced") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  write(directory / "conf", "old");
  write(directory / "root/var/lib/kfab", "a file in the way");
  CHECK(said(node.run("apply", resource("file", R"({"path":")" + (directory / "conf") + R"(","content":"new"})"))) ==
        "failed KF3023");
  CHECK(read(directory / "conf") == "old");
  CHECK(nothing_left_over(directory));
}

TEST_CASE("sudoers: installed only when visudo takes it") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  node.program("visudo", R"(
for last in "$@"; do :; done
echo "$last" >> "$FAKE/log"
grep -q "NOPASSWD: ALL$" "$last" || { echo "$last:1:20: syntax error" >&2; exit 1; })");
  std::filesystem::create_directories(directory / "root/etc/sudoers.d");
  const auto rules = [](const std::string& content) {
    return resource("sudoers", R"({"name":"60-ops","content":")" + content + "\"}");
  };
  const auto path = directory / "root/etc/sudoers.d/60-ops";
  CHECK(converge(directory, node, rules("ops ALL=(ALL) NOPASSWD: ALL")) == "state: absent -> file of 28 bytes");
  CHECK(mode_of(path) == 0440);
  CHECK(said(node.run("apply", rules("ops ALL=(ALL NOPASSWD ALL"))) == "failed KF3070");
  CHECK(read(path) == "ops ALL=(ALL) NOPASSWD: ALL\n");
  CHECK(read(directory / "fake/log").find(path + "\n") == std::string::npos);
  ::chmod(path.c_str(), 0644);   // sudo refuses that
  CHECK(converge(directory, node, rules("ops ALL=(ALL) NOPASSWD: ALL")) == "mode: 0644 -> 0440");
  std::filesystem::remove(directory / "bin/visudo");
  node.node.process_environment[0] = "PATH=" + (directory / "bin");
  CHECK(said(node.run("apply", rules("other ALL=(ALL) NOPASSWD: ALL"))) == "failed KF3041");
  CHECK(read(path) == "ops ALL=(ALL) NOPASSWD: ALL\n");
  CHECK(said(node.run("apply", resource("sudoers", R"({"name":"../x","content":"y"})"))).starts_with("failed"));
  CHECK(said(node.run("apply", resource("sudoers", R"({"name":"60.ops","content":"y"})"))).starts_with("failed"));
  CHECK(said(node.run("apply", resource("sudoers", R"({"name":"60-ops","state":"absent"})"))) == "changed");
  CHECK(said(node.run("apply", resource("sudoers", R"({"name":"60-ops","state":"absent"})"))) == "in_sync");
}

TEST_CASE("sudoers: the node's own visudo") {
  if (::access("/usr/sbin/visudo", X_OK) != 0) {
    MESSAGE("SKIPPED: no visudo here");
    return;
  }
  const TemporaryDirectory directory;
  Provisioner node(directory);
  node.node.process_environment[0] = "PATH=/usr/sbin:/usr/bin:/bin";
  std::filesystem::create_directories(directory / "root/etc/sudoers.d");
  CHECK(said(node.run("apply", resource("sudoers", R"({"name":"ops","content":"root ALL=(ALL:ALL) NOPASSWD: ALL"})"))) == "changed");
  const auto refused = node.run("apply", resource("sudoers", R"({"name":"ops","content":"root ALL=ALL) ALL"})"));
  CHECK(said(refused) == "failed KF3070");
  CHECK(read(directory / "root/etc/sudoers.d/ops") == "root ALL=(ALL:ALL) NOPASSWD: ALL\n");
}

TEST_CASE("group: made, renumbered, removed") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_accounts(node, directory);
  node.program("groupadd", R"(echo "groupadd $@" >> "$FAKE/log"; echo "hpc:x:3000:" >> "$FAKE/group")");
  node.program("groupmod", R"(echo "groupmod $@" >> "$FAKE/log"; sed -i "s/^hpc:.*/hpc:x:$2:/" "$FAKE/group")");
  node.program("groupdel", R"(echo "groupdel $@" >> "$FAKE/log"; sed -i "/^hpc:/d" "$FAKE/group")");
  CHECK(converge(directory, node, resource("group", R"({"name":"hpc","gid":3000,"system":true})")) == "state: absent -> present");
  CHECK(converge(directory, node, resource("group", R"({"name":"hpc","gid":3001})")) == "gid: 3000 -> 3001");
  CHECK(converge(directory, node, resource("group", R"({"name":"hpc","state":"absent"})")) == "state: present -> absent");
  CHECK(read(directory / "fake/log") == "groupadd --system -g 3000 -- hpc\ngroupmod -g 3001 -- hpc\ngroupdel -- hpc\n");
  node.program("groupadd", "echo 'groupadd: GID 3000 already exists' >&2; exit 4");
  CHECK(said(node.run("apply", resource("group", R"({"name":"hpc","gid":3000})"))) == "failed KF3072");
}

TEST_CASE("ssh_key: added, given options, the only ones, removed") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_accounts(node, directory);
  std::filesystem::create_directories(directory / "root/home/ops");
  const auto path = directory / "root/home/ops/.ssh/authorized_keys";
  const auto keys = [](const std::string& list, const std::string& more = "") {
    return resource("ssh_key", R"({"user":"ops","keys":[)" + list + "]" + more + "}");
  };
  const std::string a = std::string("\"") + key_a + "\"", b = std::string("\"") + key_b + "\"";
  CHECK(converge(directory, node, keys(a)) == "key: absent -> ssh-ed25519 ...YVJTDyLx a@one");
  CHECK(read(path) == std::string(key_a) + "\n");
  CHECK(mode_of(path) == 0600);
  CHECK(mode_of(directory / "root/home/ops/.ssh") == 0700);
  converge(directory, node, keys(b));
  CHECK(read(path) == std::string(key_a) + "\n" + key_b + "\n");   // others' keys stay
  // The same key with other options is replaced where it stands: it must not go on opening without them.
  converge(directory, node, keys(a, R"(,"options":"from=\"10.0.0.0/8, 127.0.0.1\",no-pty")"));
  CHECK(read(path) == "from=\"10.0.0.0/8, 127.0.0.1\",no-pty " + std::string(key_a) + "\n" + key_b + "\n");
  write(path, "# kept\nnonsense\n" + std::string(key_a) + "\n" + key_b + "\n" + key_a + "\n", 0600);
  converge(directory, node, keys(b, R"(,"exclusive":true)"));
  CHECK(read(path) == "# kept\n" + std::string(key_b) + "\n");
  ::chmod(path.c_str(), 0666);
  ::chmod((directory / "root/home/ops/.ssh").c_str(), 0777);
  CHECK(converge(directory, node, keys(b)) == "mode: 0666 -> 0600; directory mode: 0777 -> 0700");
  converge(directory, node, keys(b, R"(,"state":"absent")"));
  CHECK(read(path) == "# kept\n");
}

TEST_CASE("ssh_key: what is no key, a user who is not there, and links that a user laid") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_accounts(node, directory);
  std::filesystem::create_directories(directory / "root/home/ops");
  const auto keys = [](const std::string& key) {
    return resource("ssh_key", R"({"user":"ops","keys":[")" + key + "\"]}");
  };
  for (const auto* bad : {"hello", "ssh-ed25519", "ssh-ed25519 short", "ssh-dss AAAAC3NzaC1lZDI1NTE5AAAAIPe6Yd3zD2dO1mmwzqvvCKBPq0yZTmzd6n5wYVJTDyLx",
                          "-----BEGIN OPENSSH PRIVATE KEY-----"}) {
    CAPTURE(bad);
    CHECK(said(node.run("apply", keys(bad))) == "failed KF3073");
  }
  CHECK_FALSE(std::filesystem::exists(directory / "root/home/ops/.ssh"));
  CHECK(said(node.run("apply", resource("ssh_key", R"({"user":"nobody-here","keys":[")" + std::string(key_a) + "\"]}"))) == "failed KF3040");
  // ~/.ssh as a link to somewhere else, and the file as one: root must not write there.
  std::filesystem::create_directories(directory / "root/etc/elsewhere");
  std::filesystem::create_symlink(directory / "root/etc/elsewhere", directory / "root/home/ops/.ssh");
  CHECK(said(node.run("apply", keys(key_a))) == "failed KF3023");
  CHECK(std::filesystem::is_empty(directory / "root/etc/elsewhere"));
  std::filesystem::remove(directory / "root/home/ops/.ssh");
  std::filesystem::create_directories(directory / "root/home/ops/.ssh");
  write(directory / "root/etc/shadow", "root:secret\n");
  std::filesystem::create_symlink(directory / "root/etc/shadow", directory / "root/home/ops/.ssh/authorized_keys");
  const auto record = node.run("apply", keys(key_a));
  CHECK(said(record) == "failed KF3023");
  CHECK(json::dump(record[0]).find("secret") == std::string::npos);
  CHECK(read(directory / "root/etc/shadow") == "root:secret\n");
}

TEST_CASE("limits: for everybody and for root, beside what other resources say") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto path = directory / "root/etc/security/limits.d/60-kfab.conf";
  CHECK(converge(directory, node, resource("limits", R"({"item":"memlock","value":"unlimited"})")) ==
        "* memlock: absent -> unlimited; root memlock: absent -> unlimited");
  CHECK(converge(directory, node, resource("limits", R"({"item":"nofile","value":1048576,"domains":["*"]})")) ==
        "* nofile: absent -> 1048576");
  CHECK(read(path) == "# Written by kfab from the site's roles; changes here are undone.\n* - memlock unlimited\n"
                      "root - memlock unlimited\n* - nofile 1048576\n");
  // Who may read and write the file is part of it, also where the limits in it are right.
  const auto both = R"({"item":"memlock","value":"unlimited"})";
  REQUIRE(::chmod(path.c_str(), 0666) == 0);
  CHECK(converge(directory, node, resource("limits", both)) == "file mode: 0666 -> 0644");
  if (::geteuid() == 0) {
    REQUIRE(::chown(path.c_str(), 1234, 4321) == 0);
    CHECK(converge(directory, node, resource("limits", both)) == "file owner: 1234 -> 0; file group: 4321 -> 0");
  }
  CHECK(read(path).ends_with("* - nofile 1048576\n"));
  // Both of soft and hard as somebody wrote them are what the one line says; another value is not.
  write(path, "* soft memlock 64\n* hard memlock unlimited\nroot - memlock unlimited # fine\n");
  CHECK(converge(directory, node, resource("limits", R"({"item":"memlock","value":"unlimited"})")) ==
        "* memlock: hard unlimited, soft 64 -> unlimited");
  CHECK(converge(directory, node, resource("limits", R"({"item":"memlock","state":"absent"})")) ==
        "* memlock: unlimited -> absent; root memlock: unlimited -> absent");
  CHECK(said(node.run("apply", resource("limits", R"({"item":"nofile","value":"1\n* - x y"})"))).starts_with("failed"));
}

TEST_CASE("hostname: now and at the next boot") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  write(directory / "proc-sys/kernel/hostname", "debian\n");
  write(directory / "root/etc/hostname", "# set at installation\ndebian\n");
  CHECK(converge(directory, node, resource("hostname", R"({"name":"gpu001"})")) ==
        "live: debian -> gpu001; at boot: debian -> gpu001");
  CHECK(read(directory / "root/etc/hostname") == "gpu001\n");
  write(directory / "proc-sys/kernel/hostname", "other\n");
  CHECK(converge(directory, node, resource("hostname", R"({"name":"gpu001"})")) == "live: other -> gpu001");
  for (const auto* bad : {"gpu_1", "-gpu", "a..b", "a b", "\\u0007"})
    CHECK(said(node.run("apply", resource("hostname", std::string(R"({"name":")") + bad + "\"}"))).starts_with("failed"));
}

TEST_CASE("timezone: the link and Debian's text") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  write(directory / "root/usr/share/zoneinfo/Asia/Seoul", "TZif");
  write(directory / "root/usr/share/zoneinfo/Etc/UTC", "TZif");
  write(directory / "root/etc/timezone", "Etc/UTC\n");
  std::filesystem::create_symlink("/usr/share/zoneinfo/Etc/UTC", directory / "root/etc/localtime");
  CHECK(converge(directory, node, resource("timezone", R"({"name":"Asia/Seoul"})")) ==
        "zone: Etc/UTC -> Asia/Seoul; /etc/timezone: Etc/UTC -> Asia/Seoul");
  CHECK(std::filesystem::read_symlink(directory / "root/etc/localtime") == "/usr/share/zoneinfo/Asia/Seoul");
  std::filesystem::remove(directory / "root/etc/timezone");
  CHECK(converge(directory, node, resource("timezone", R"({"name":"Etc/UTC"})")) == "zone: Asia/Seoul -> Etc/UTC");
  for (const auto* bad : {"Asia/Nowhere", "../../../etc/passwd", "/etc/passwd", "Asia"})
    CHECK(said(node.run("apply", resource("timezone", std::string(R"({"name":")") + bad + "\"}"))) == "failed KF3074");
}
