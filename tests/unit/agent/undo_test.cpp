#include "agent/diff.hpp"
#include "base/codes/undo.hpp"
#include "unit/agent/undo_support.hpp"

using namespace kfab;
using namespace kfab::agent::test;

TEST_CASE("merged_text: what others changed stays, what both changed is told") {
  using agent::merged_text;
  CHECK(merged_text("a\nk\n", "a\nk\n", "a\n") == "a\n");
  CHECK(merged_text("a\nk\n", "a\nk\nother\n", "a\n") == "a\nother\n");
  CHECK(merged_text("a\nk\nb\n", "A\nk\nb\n", "a\nold\nb\n") == "A\nold\nb\n");
  CHECK(merged_text("a\nk\nl\n", "a\nl\n", "a\n") == "a\n");          // one of two is gone already
  CHECK(merged_text("a\nk\n", "a\n", "a\n") == "a\n");                // done before
  CHECK(!merged_text("a\nk\n", "a\nK\n", "a\n"));                     // somebody changed the very line
  CHECK(!merged_text("a\n", "a\nx\n", "a\nold\n"));                   // both add at one place
  CHECK(merged_text("a\nk\n", "a\nK\n", "a\n", true) == "a\n");
  CHECK(merged_text("", "x\n", "") == "x\n");
  CHECK(merged_text("a\nb\n", "a\nb\nx\n", "A\nb") == "A\nb\nx\n");   // and no two lines are glued together
  CHECK(merged_text("a", "a", "a\n") == "a\n");                       // a last newline is a difference
}

TEST_CASE("undo: files, links and directories, with modes and parents") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  write(directory / "etc/was", "before\n", 0640);
  write(directory / "etc/goes", "secret of old\n", 0600);
  std::filesystem::create_directories(directory / "etc/dir");
  ::chmod((directory / "etc/dir").c_str(), 0750);
  std::filesystem::create_symlink("/old/target", directory / "etc/link");
  std::filesystem::create_symlink("/old/target", directory / "etc/link2");
  const auto file = [&](const std::string& id, const std::string& name, const std::string& more) {
    return one("r/" + id, "file", R"({"path":")" + (directory / name) + "\"," + more + "}");
  };
  round_trip(directory, node,
             file("new", "etc/new", R"("content":"x\n")") + "," + file("was", "etc/was", R"("content":"after\n","mode":"0600")") + "," +
                 file("goes", "etc/goes", R"("state":"absent")") + "," + file("link", "etc/link", R"("link_to":"/new")") + "," +
                 file("instead", "etc/link2", R"("content":"a file\n")") + "," + file("aslink", "etc/aslink", R"("link_to":"was")") + "," +
                 one("r/dir", "directory", R"({"path":")" + (directory / "etc/dir") + R"(","mode":"0700"})") + "," +
                 one("r/deep", "directory", R"({"path":")" + (directory / "etc/a/b/c") + R"("})") + "," + file("in", "etc/a/b/c/f", R"("content":"y\n")"));
}

TEST_CASE("undo: what was changed since is left alone, and told") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  Undo undo(node);
  write(directory / "a", "old\n");
  const auto resources = "[" + one("r/a", "file", R"({"path":")" + (directory / "a") + R"(","content":"kfab\n"})") + "," +
                         one("r/b", "file", R"({"path":")" + (directory / "b") + R"(","content":"kfab\n"})") + "]";
  CHECK(all_said(node.run("apply", resources)) == "changed changed");
  write(directory / "a", "somebody's\n");
  CHECK(all_said(undo.run("plan")) == "would_change failed KF3300");
  const auto undone = undo.run("apply");
  CHECK(all_said(undone) == "changed failed KF3300");
  CHECK(undone.back().string_or("message").find(directory / "a") != std::string::npos);
  CHECK(read(directory / "a") == "somebody's\n");
  CHECK(!std::filesystem::exists(directory / "b"));
  // As kfab left it again, it can be undone.
  write(directory / "a", "kfab\n");
  CHECK(all_said(undo.run("apply")) == "changed");
  CHECK(read(directory / "a") == "old\n");
  CHECK(backups(directory).size() == 3);   // what kfab replaced, and what undoing replaced and removed
}

TEST_CASE("undo: applied again and again, the first state is the one that comes back") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  Undo undo(node);
  write(directory / "a", "first\n", 0604);
  const auto apply = [&](const std::string& text) {
    return said(node.run("apply", "[" + one("r/a", "file", R"({"path":")" + (directory / "a") + R"(","content":")" + text + R"("})") + "]"));
  };
  for (int i = 0; i < 8; ++i) CHECK(apply("kfab " + std::to_string(i)) == "changed");   // more often than backups are kept
  write(directory / "a", "drift\n", 0604);
  CHECK(apply("kfab") == "changed");
  CHECK(all_said(undo.run("apply")) == "changed");
  CHECK(read(directory / "a") == "first\n");
  CHECK(mode_of(directory / "a") == 0604);
}

TEST_CASE("undo: lines of a file that others write too") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  Undo undo(node);
  const auto path = directory / "conf";
  const auto line = [&](const std::string& id, const std::string& text, const std::string& match) {
    return one(id, "line", R"({"path":")" + path + R"(","line":")" + text + R"(","match":")" + match + R"("})");
  };
  SUBCASE("all of it, byte for byte") {
    write(path, "Port 22\nRoot yes\nlast", 0640);   // without its last newline
    round_trip(directory, node, line("r/one", "Root no", "^Root ") + "," + line("r/two", "Log high", "^Log "));
  }
  SUBCASE("one role of two, and what somebody wrote meanwhile stays") {
    write(path, "Port 22\nRoot yes\n");
    CHECK(all_said(node.run("apply", "[" + line("r/one", "Root no", "^Root ") + "," + line("s/two", "Log high", "^Log ") + "]")) == "changed changed");
    write(path, "# by hand\n" + read(path));
    CHECK(all_said(undo.run("apply")) == "changed");
    CHECK(read(path) == "# by hand\nPort 22\nRoot yes\nLog high\n");
    CHECK(all_said(undo.run("apply", "\"s\"")) == "changed");
    CHECK(read(path) == "# by hand\nPort 22\nRoot yes\n");
  }
  SUBCASE("the line itself was changed") {
    write(path, "Root yes\n");
    CHECK(said(node.run("apply", "[" + line("r/one", "Root no", "^Root ") + "]")) == "changed");
    write(path, "Root prohibit-password\n");
    CHECK(all_said(undo.run("apply")) == "failed KF3300");
    CHECK(read(path) == "Root prohibit-password\n");
    // Applied again over what somebody wrote, that is what was there before.
    write(path, "Root prohibit-password\nother\n");
    CHECK(said(node.run("apply", "[" + line("r/one", "Root no", "^Root ") + "]")) == "changed");
    CHECK(all_said(undo.run("apply")) == "changed");
    CHECK(read(path) == "Root prohibit-password\nother\n");
  }
}

TEST_CASE("undo: a run that was cut") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  Undo undo(node);
  const auto path = directory / "a";
  write(path, "old\n");
  const auto resources = "[" + one("r/a", "file", R"({"path":")" + path + R"(","content":"kfab\n"})") + "]";
  CHECK(said(node.run("apply", resources)) == "changed");
  const std::string records = std::filesystem::directory_iterator(directory / "root/var/lib/kfab/undo/records")->path().string();
  const auto record = std::filesystem::directory_iterator(records)->path().string();
  CHECK(mode_of(record) == 0600);
  CHECK(mode_of(records) == 0700);
  const auto text = read(record);
  // As if the node had lost power after "before" was written, or after the file was.
  auto open = text;
  open.replace(open.find("\"complete\":true"), 15, "\"complete\":false");
  const auto left = open.find("\"left\":{\"kind\"");
  REQUIRE(left != std::string::npos);
  open.replace(left, open.find('}', left) - left + 1, "\"left\":null");
  write(record, open, 0600);
  SUBCASE("nothing was changed yet") {
    write(path, "old\n");
    CHECK(all_said(undo.run("apply")) == "in_sync");
    CHECK(read(path) == "old\n");
    CHECK(undo.run("apply").empty());
  }
  SUBCASE("it was: nobody knows how kfab left it, until it is provisioned again") {
    CHECK(all_said(undo.run("plan")) == "failed KF3301");
    CHECK(all_said(undo.run("apply")) == "failed KF3301");
    CHECK(read(path) == "kfab\n");
    CHECK(said(node.run("apply", resources)) == "in_sync");
    CHECK(all_said(undo.run("apply")) == "changed");
    CHECK(read(path) == "old\n");
  }
  SUBCASE("a record that is not whole is named") {
    write(record, text.substr(0, text.size() / 2), 0600);
    CHECK(undo.run("apply").empty());
    REQUIRE(!undo.status);
    CHECK(undo.status.error().code == code::undo_record_damaged);
    CHECK(undo.status.error().message.find(record) != std::string::npos);
    CHECK(read(path) == "kfab\n");
  }
  SUBCASE("a copy that is not what was kept is not put back") {
    write(record, text, 0600);
    for (const auto& copy : std::filesystem::directory_iterator(directory / "root/var/lib/kfab/undo/copies")) write(copy.path().string(), "other\n", 0600);
    CHECK(all_said(undo.run("apply")) == "failed KF3305");
    CHECK(read(path) == "kfab\n");
  }
}

TEST_CASE("undo: cut between putting back and telling the system, it tells it again") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_systemd(node, directory);
  Undo undo(node);
  write(directory / "fake/units/x.service.active", "inactive");
  write(directory / "fake/units/x.service.enabled", "disabled");
  const auto resources = "[" + one("r/d", "drop_in", R"({"unit":"x","content":"[Service]\nNice=5\n"})") + "]";
  CHECK(said(node.run("apply", resources)) == "changed");
  write(directory / "fake/systemctl-fails", "the bus is gone");
  CHECK(all_said(undo.run("apply")).starts_with("failed KF"));
  CHECK(!std::filesystem::exists(directory / "root/etc/systemd/system/x.service.d"));
  std::filesystem::remove(directory / "fake/systemctl-fails");
  std::filesystem::remove(directory / "fake/systemctl-log");
  CHECK(all_said(undo.run("apply")) == "changed");
  CHECK(read(directory / "fake/systemctl-log").find("daemon-reload") != std::string::npos);
  CHECK(undo.run("apply").empty());
}

TEST_CASE("undo: what can never be taken back is said once, and nothing is done") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  Undo undo(node);
  write(directory / "f", "old\n");
  CHECK(all_said(node.run("apply", "[" + one("r/c", "command", R"({"run":["touch",")" + (directory / "done") + R"("],"creates":")" + (directory / "done") + R"("})") + "," +
                                       one("r/f", "file", R"({"path":")" + (directory / "f") + R"(","content":"new\n","backup":false})") + "]")) == "changed changed");
  CHECK(all_said(undo.run("plan")) == "skipped KF3302 skipped KF3302");
  const auto told = undo.run("apply");
  CHECK(all_said(told) == "skipped KF3302 skipped KF3302");
  CHECK(told.front().string_or("message").find("backup: false") != std::string::npos);
  CHECK(read(directory / "f") == "new\n");
  CHECK(std::filesystem::exists(directory / "done"));
  CHECK(undo.run("apply").empty());
}

TEST_CASE("undo: only what was asked for, in whose name it was applied") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  Undo undo(node);
  CHECK(all_said(node.run("apply", "[" + one("role/a", "file", R"({"path":")" + (directory / "a") + R"(","content":"x"})") + "," +
                                       one("role2/b", "file", R"({"path":")" + (directory / "b") + R"(","content":"x"})") + "]")) == "changed changed");
  CHECK(undo.run("apply", "\"rol\"").empty());
  CHECK(all_said(undo.run("apply", "\"role\"")) == "changed");
  CHECK(!std::filesystem::exists(directory / "a"));
  CHECK(std::filesystem::exists(directory / "b"));
  CHECK(!kfab::agent::run_undo_task(*json::parse(R"({"mode":"apply","owner":".","roles":[]})"), *std::make_unique<RecordingContext>(), node.node));
}

TEST_CASE("undo: a secret is in no message and in no record") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  Undo undo(node);
  write(directory / "s", "old password\n", 0600);
  const auto resources = "[" + one("r/s", "file", R"({"path":")" + (directory / "s") + R"(","content":"hunter22","sensitive":true})") + "]";
  CHECK(said(node.run("apply", resources)) == "changed");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory / "root/var/lib/kfab/undo"))
    if (entry.is_regular_file()) CHECK(read(entry.path().string()).find("hunter22") == std::string::npos);
  for (const auto& message : undo.run("plan")) {
    CHECK(json::dump(message).find("hunter22") == std::string::npos);
    CHECK(json::dump(message).find("old password") == std::string::npos);
    CHECK(message.string_or("diff").find("not shown") != std::string::npos);
  }
  CHECK(all_said(undo.run("apply")) == "changed");
  CHECK(read(directory / "s") == "old password\n");
}
