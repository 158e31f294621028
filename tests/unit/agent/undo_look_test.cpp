#include "base/codes/undo.hpp"
#include "unit/agent/undo_support.hpp"

using namespace kfab;
using namespace kfab::agent::test;

namespace {

// Two files, and a service that reads both.
struct Reading {
  TemporaryDirectory directory;
  Provisioner node{directory};
  Undo undo{node};

  explicit Reading(const std::string& active) {
    install_fake_systemd(node, directory);
    unit(active);
    write(directory / "conf", "before\n");
  }
  void unit(const std::string& active) {
    write(directory / "fake/units/s.active", active + "\n");
    write(directory / "fake/units/s.enabled", "enabled\n");
  }
  std::string apply() {
    const auto file = [&](const std::string& name) { return one("r/" + name, "file", R"({"path":")" + (directory / name) + R"(","content":"kfab\n"})"); };
    const std::string service = R"({"id":"r/s","type":"service","attributes":{"name":"s","state":"running"},"restart_on":["r/conf","r/more"]})";
    return all_said(node.run("apply", "[" + file("conf") + "," + file("more") + "," + service + "]"));
  }
  long restarts() const {
    const std::string log = std::filesystem::exists(directory / "fake/systemctl-log") ? read(directory / "fake/systemctl-log") : "";
    long count = 0;
    for (auto at = log.find("restart "); at != std::string::npos; at = log.find("restart ", at + 1)) ++count;
    return count;
  }
};

std::string directory_of_role(const std::string& id, const std::string& path, const std::string& more = "") {
  return one("r/" + id, "directory", R"({"path":")" + path + "\"" + more + "}");
}

std::string file_of_role(const std::string& id, const std::string& path, const std::string& more) {
  return one("r/" + id, "file", R"({"path":")" + path + "\"," + more + "}");
}

}  // namespace

TEST_CASE("undo: a service is restarted, once, when what it reads was put back") {
  Reading site("active");
  CHECK(site.apply() == "changed changed changed");
  CHECK(site.restarts() == 1);
  CHECK(site.apply() == "in_sync in_sync in_sync");
  SUBCASE("both files") {
    const auto planned = site.undo.run("plan");
    CHECK(all_said(planned) == "would_change would_change would_change");
    CHECK(changes_of(planned.back()) == "restart: running with what was before -> restarted");
    CHECK(site.restarts() == 1);
    CHECK(all_said(site.undo.run("apply")) == "changed changed changed");
    CHECK(site.restarts() == 2);
    CHECK(read(site.directory / "conf") == "before\n");
    CHECK(site.undo.run("apply").empty());
    CHECK(std::filesystem::is_empty(site.directory / "root/var/lib/kfab/undo/records"));
  }
  SUBCASE("nothing was put back") {
    write(site.directory / "conf", "somebody's\n");
    write(site.directory / "more", "somebody's\n");
    CHECK(all_said(site.undo.run("plan")) == "failed KF3300 failed KF3300 in_sync");
    CHECK(all_said(site.undo.run("apply")) == "failed KF3300 failed KF3300 in_sync");
    CHECK(site.restarts() == 1);
  }
  SUBCASE("it does not run any more") {
    site.unit("inactive");
    CHECK(all_said(site.undo.run("plan")) == "would_change would_change in_sync");
    CHECK(all_said(site.undo.run("apply")) == "changed changed in_sync");
    CHECK(site.restarts() == 1);
    CHECK(site.undo.run("apply").empty());
  }
  SUBCASE("it cannot be restarted: that is still to be done the next time") {
    write(site.directory / "fake/systemctl-fails", "the bus is gone");
    CHECK(all_said(site.undo.run("apply")) == "changed changed failed KF3030");
    std::filesystem::remove(site.directory / "fake/systemctl-fails");
    CHECK(all_said(site.undo.run("plan")) == "would_change");
    CHECK(all_said(site.undo.run("apply")) == "changed");
    CHECK(site.restarts() == 2);
    CHECK(site.undo.run("apply").empty());
  }
}

TEST_CASE("undo: a service that kfab started is stopped, and not restarted after it") {
  Reading site("inactive");
  CHECK(site.apply() == "changed changed changed");
  CHECK(all_said(site.undo.run("plan")) == "would_change would_change would_change in_sync");
  CHECK(all_said(site.undo.run("apply")) == "changed changed changed in_sync");
  CHECK(site.restarts() == 0);
  CHECK(read(site.directory / "fake/units/s.active") == "inactive\n");
  CHECK(site.undo.run("apply").empty());
}

TEST_CASE("undo: a directory that would not be empty is refused by a look, with the code of a run") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  Undo undo(node);
  const auto made = directory / "made";
  CHECK(all_said(node.run("apply", "[" + directory_of_role("d", made) + "," + file_of_role("in", made + "/in", R"("content":"x\n")") + "," +
                                       directory_of_role("deep", made + "/a/b/deep") + "]")) == "changed changed changed");
  SUBCASE("all that it holds goes with it") {
    CHECK(all_said(undo.run("plan")) == "would_change would_change would_change");
    CHECK(all_said(undo.run("apply")) == "changed changed changed");
    CHECK(!std::filesystem::exists(made));
  }
  SUBCASE("somebody's file is in it") {
    write(made + "/a/theirs", "theirs\n");
    const auto planned = undo.run("plan");
    CHECK(all_said(planned) == "would_change would_change failed KF3303");
    CHECK(planned.back().string_or("message").find("made is not removed: it holds what is not undone with it: a (what commands made, files of another role, or of nobody that kfab knows)") != std::string::npos);
    CHECK(all_said(undo.run("apply")) == "changed changed failed KF3303");
    CHECK(read(made + "/a/theirs") == "theirs\n");
    std::filesystem::remove_all(made + "/a");
    CHECK(all_said(undo.run("plan")) == "would_change");
    CHECK(all_said(undo.run("apply")) == "changed");
  }
  SUBCASE("what is refused in it keeps it") {
    write(made + "/in", "somebody's\n");
    for (const auto* mode : {"plan", "apply"}) {
      const auto records = undo.run(mode);
      CHECK(all_said(records) == (mode == std::string("plan") ? "would_change failed KF3300 failed KF3303" : "changed failed KF3300 failed KF3303"));
      CHECK(records.back().string_or("message").ends_with("it holds what is not undone with it: in (of r/in, which is not undone, KF3300)"));
    }
  }
  SUBCASE("a command of the role, another role and somebody each made a part of it") {
    const std::string stamp = R"({"id":"r/stamp","type":"command","attributes":{"run":["touch",")" + made + R"(/stamp"],"creates":")" + made + R"(/stamp"}})";
    const std::string other = one("s/theirs", "directory", R"({"path":")" + made + R"(/sub/theirs"})");
    CHECK(all_said(node.run("apply", "[" + stamp + "," + other + "]")) == "changed changed");
    write(made + "/unknown", "x\n");
    const std::string known = "stamp (made by the command r/stamp, which cannot be undone), sub (of s/theirs, of a role that is not undone), "
                              "unknown (what commands made, files of another role, or of nobody that kfab knows)";
    for (const auto* mode : {"plan", "apply"}) {
      const auto records = undo.run(mode);
      REQUIRE(records.size() == 4);
      CHECK(records.front().string_or("code") == "KF3302");
      CHECK(records.back().string_or("message").ends_with("it holds what is not undone with it: " + known));
    }
  }
}

TEST_CASE("directory: one that is to go and would not be empty fails the plan as it fails the run") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto gone = directory / "gone";
  const std::string absent = R"("state":"absent")";
  write(gone + "/mine", "x\n");
  std::filesystem::create_directories(gone + "/sub");
  const auto mine = file_of_role("mine", gone + "/mine", absent), sub = directory_of_role("sub", gone + "/sub", "," + absent), whole = directory_of_role("d", gone, "," + absent);
  for (const auto* mode : {"plan", "apply"}) {
    const auto records = node.run(mode, "[" + whole + "]");
    CHECK(all_said(records) == "failed KF3023");
    CHECK(records.front().string_or("message").find("it is not empty: mine, sub") != std::string::npos);
  }
  CHECK(all_said(node.run("plan", "[" + mine + "," + whole + "]")) == "would_change failed KF3023");
  CHECK(all_said(node.run("plan", "[" + mine + "," + sub + "," + whole + "]")) == "would_change would_change would_change");
  CHECK(all_said(node.run("apply", "[" + mine + "," + sub + "," + whole + "]")) == "changed changed changed");
  CHECK(!std::filesystem::exists(gone));
}
