#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent::test;

namespace {
std::string file(const std::string& path, const std::string& more) {
  return R"([{"id":"f","type":"file","attributes":{"path":")" + path + "\"" + more + "}}]";
}
std::string directory_resource(const std::string& path, const std::string& more = "") {
  return R"([{"id":"d","type":"directory","attributes":{"path":")" + path + "\"" + more + "}}]";
}
std::string status(const std::vector<json::Value>& records) {
  REQUIRE(records.size() == 1);
  return records.front().string_or("status");
}
std::string code_of(const std::vector<json::Value>& records) {
  REQUIRE(records.size() == 1);
  return records.front().string_or("code");
}
}  // namespace

TEST_CASE("file: planned, made, and in sync afterwards; planning writes nothing") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto path = directory / "motd";
  const auto resources = file(path, R"(,"content":"hello\nworld\n","mode":"0640")");
  const auto before = tree_hash(directory.string());
  auto records = node.run("plan", resources);
  CHECK(status(records) == "would_change");
  CHECK(changes_of(records[0]) == "state: absent -> file of 12 bytes");
  CHECK(records[0].string_or("diff").find("+hello\n+world\n") != std::string::npos);
  CHECK(tree_hash(directory.string()) == before);

  CHECK(status(node.run("apply", resources)) == "changed");
  CHECK(read(path) == "hello\nworld\n");
  CHECK(mode_of(path) == 0640);
  const auto after = tree_hash(directory.string());
  CHECK(status(node.run("apply", resources)) == "in_sync");
  CHECK(status(node.run("plan", resources)) == "in_sync");
  CHECK(tree_hash(directory.string()) == after);
}

TEST_CASE("file: a new content keeps the mode that nobody declared") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto path = directory / "script";
  write(path, "old\n", 0751);
  const auto records = node.run("apply", file(path, R"(,"content":"new\n")"));
  CHECK(status(records) == "changed");
  CHECK(records[0].string_or("diff").find("-old\n+new\n") != std::string::npos);
  CHECK(read(path) == "new\n");
  CHECK(mode_of(path) == 0751);
  CHECK(status(node.run("apply", file(path, R"(,"content":"new\n","mode":"0600")"))) == "changed");
  CHECK(mode_of(path) == 0600);
}

TEST_CASE("file: a sensitive content is never shown") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  write(directory / "key", "OLDSECRET\n");
  for (const auto* mode : {"plan", "apply"}) {
    const auto records = node.run(mode, file(directory / "key", R"(,"content":"NEWSECRET\n","sensitive":true)"));
    CHECK(json::dump(records[0]).find("SECRET") == std::string::npos);
  }
  CHECK(read(directory / "key") == "NEWSECRET\n");
}

TEST_CASE("file: links are made, corrected, and replaced by a file where one is declared") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto path = directory / "link";
  const auto to_a = file(path, R"(,"link_to":"/a")"), to_b = file(path, R"(,"link_to":"/b")");
  CHECK(status(node.run("apply", to_a)) == "changed");
  CHECK(status(node.run("apply", to_a)) == "in_sync");
  CHECK(changes_of(node.run("apply", to_b)[0]) == "link: /a -> /b");
  CHECK(std::filesystem::read_symlink(path) == "/b");
  CHECK(status(node.run("apply", file(path, R"(,"content":"text")"))) == "changed");
  CHECK(std::filesystem::is_regular_file(std::filesystem::symlink_status(path)));
  CHECK(status(node.run("apply", to_a)) == "changed");
}

TEST_CASE("file: absent") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  write(directory / "old", "x");
  const auto resources = file(directory / "old", R"(,"state":"absent")");
  CHECK(status(node.run("plan", resources)) == "would_change");
  CHECK(std::filesystem::exists(directory / "old"));
  CHECK(status(node.run("apply", resources)) == "changed");
  CHECK_FALSE(std::filesystem::exists(directory / "old"));
  CHECK(status(node.run("apply", resources)) == "in_sync");
}

TEST_CASE("file: what stands in the way is said, and nothing is left behind") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  std::filesystem::create_directories(directory / "dir");
  CHECK(code_of(node.run("apply", file(directory / "dir", R"(,"content":"x")"))) == "KF3023");
  const auto no_parent = node.run("apply", file(directory / "none/such", R"(,"content":"x")"));
  CHECK(code_of(no_parent) == "KF3023");
  CHECK(no_parent[0].string_or("message").find("is not on the node; declare it before") != std::string::npos);
  write(directory / "plain", "x");
  CHECK(code_of(node.run("apply", file(directory / "plain/below", R"(,"content":"x")"))) == "KF3023");
  CHECK(code_of(node.run("apply", file(directory / "x", R"(,"content":"x","owner":"kfab-nobody-here")"))) == "KF3040");
  CHECK_FALSE(std::filesystem::exists(directory / "x"));
  for (const auto& entry : std::filesystem::directory_iterator(directory.string()))
    CHECK(entry.path().string().find("kfab-new") == std::string::npos);
}

TEST_CASE("file: what a killed run left beside the target is replaced") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  write(directory / ".motd.kfab-new", "half");
  CHECK(status(node.run("apply", file(directory / "motd", R"(,"content":"whole")"))) == "changed");
  CHECK_FALSE(std::filesystem::exists(directory / ".motd.kfab-new"));
}

// Runs `check` in a child as another user, so that rights hold for it also when the tests run as root.
template <class Check>
int as_nobody(const Check& check) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) ::_exit(99);
    ::_exit(check());
  }
  int ended = 0;
  ::waitpid(pid, &ended, 0);
  return WIFEXITED(ended) ? WEXITSTATUS(ended) : 100;
}

TEST_CASE("file: no right to write is said with its own code") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  std::filesystem::create_directories(directory / "locked");
  write(directory / "locked/file", "old");
  ::chmod((directory / "locked").c_str(), 0555);
  const int result = as_nobody([&] {
    const auto records = node.run("apply", file(directory / "locked/file", R"(,"content":"new")"));
    if (records.size() != 1 || records[0].string_or("code") != "KF3020") return 1;
    const auto made = node.run("apply", directory_resource(directory / "locked/dir"));
    return made.size() == 1 && made[0].string_or("code") == "KF3020" ? 0 : 2;
  });
  CHECK(result == 0);
  CHECK(read(directory / "locked/file") == "old");
  ::chmod((directory / "locked").c_str(), 0755);
}

TEST_CASE("file: a full disk and a read-only one leave the old content") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto mounted = directory / "small";
  std::filesystem::create_directories(mounted);
  if (::mount("tmpfs", mounted.c_str(), "tmpfs", 0, "size=64k") != 0) {
    MESSAGE("SKIPPED: mounting a small tmpfs needs root");
    return;
  }
  write(mounted + "/file", "old");
  const auto big = file(mounted + "/file", ",\"content\":\"" + std::string(200'000, 'x') + "\"");
  const auto full = node.run("apply", big);
  CHECK(code_of(full) == "KF3021");
  CHECK(read(mounted + "/file") == "old");
  CHECK_FALSE(std::filesystem::exists(mounted + "/.file.kfab-new"));
  REQUIRE(::mount(nullptr, mounted.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
  CHECK(code_of(node.run("apply", file(mounted + "/file", R"(,"content":"new")"))) == "KF3022");
  CHECK(code_of(node.run("apply", directory_resource(mounted + "/dir"))) == "KF3022");
  CHECK(read(mounted + "/file") == "old");
  ::umount(mounted.c_str());
}

TEST_CASE("directory: made with its parents, corrected, removed only when empty") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto path = directory / "a/b/c";
  CHECK(status(node.run("plan", directory_resource(path))) == "would_change");
  CHECK_FALSE(std::filesystem::exists(directory / "a"));
  CHECK(status(node.run("apply", directory_resource(path, R"(,"mode":"0700")"))) == "changed");
  CHECK(mode_of(path) == 0700);
  CHECK(mode_of(directory / "a") == 0755);
  CHECK(status(node.run("apply", directory_resource(path, R"(,"mode":"0700")"))) == "in_sync");
  CHECK(changes_of(node.run("apply", directory_resource(path, R"(,"mode":"0750")"))[0]) == "mode: 0700 -> 0750");
  write(path + "/file", "x");
  CHECK(code_of(node.run("apply", directory_resource(path, R"(,"state":"absent")"))) == "KF3023");
  std::filesystem::remove(path + "/file");
  CHECK(status(node.run("apply", directory_resource(path, R"(,"state":"absent")"))) == "changed");
  CHECK(status(node.run("apply", directory_resource(path, R"(,"state":"absent")"))) == "in_sync");
  write(directory / "plain", "x");
  CHECK(code_of(node.run("apply", directory_resource(directory / "plain"))) == "KF3023");
}
