#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

#include "agent/provision_task.hpp"
#include "agent/task.hpp"
#include "base/ids.hpp"
#include "base/sha256.hpp"

// What the agent's tests share: a directory that vanishes, a task context that keeps what was said, a folder of
// programs that stand in for those of a node.
namespace kfab::agent::test {

class TemporaryDirectory {
 public:
  TemporaryDirectory() : path_(std::filesystem::temp_directory_path() / ("kfab-agent-test-" + random_hex(6))) {
    std::filesystem::create_directories(path_);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::string string() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

inline void write(const std::string& path, const std::string& text, mode_t mode = 0644) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
  ::chmod(path.c_str(), mode);
}

inline std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline mode_t mode_of(const std::string& path) {
  struct stat found {};
  return ::lstat(path.c_str(), &found) == 0 ? found.st_mode & 07777 : 0;
}

// Everything about a tree that a write could change: names, kinds, modes, owners, times, contents.
inline std::string tree_hash(const std::string& root) {
  std::vector<std::string> lines;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    struct stat found {};
    ::lstat(entry.path().c_str(), &found);
    std::ostringstream line;
    line << entry.path().string() << ' ' << found.st_mode << ' ' << found.st_uid << ' ' << found.st_gid << ' '
         << found.st_ino << ' ' << found.st_mtim.tv_sec << '.' << found.st_mtim.tv_nsec << ' ' << found.st_ctim.tv_sec
         << '.' << found.st_ctim.tv_nsec;
    if (S_ISREG(found.st_mode)) line << ' ' << sha256_hex(read(entry.path().string()));
    lines.push_back(line.str());
  }
  std::sort(lines.begin(), lines.end());
  Sha256 hash;
  for (const auto& line : lines) hash.update(line + "\n");
  return hash.hex();
}

class RecordingContext final : public TaskContext {
 public:
  void emit(const json::Value& message) override {
    const std::lock_guard lock(mutex_);
    messages.push_back(message);
  }
  bool stop_requested() const override { return stop; }
  double remaining_s() const override { return remaining; }

  std::vector<json::Value> messages;
  std::atomic<bool> stop{false};
  double remaining = 60;

 private:
  std::mutex mutex_;
};

// One run of the provision task over some resources.
class Provisioner {
 public:
  explicit Provisioner(const TemporaryDirectory& directory) : directory_(directory) {
    node.process_environment = {"PATH=" + (directory / "bin") + ":/usr/bin:/bin", "FAKE=" + (directory / "fake"), "ROOT=" + (directory / "root")};
    node.root = directory / "root";
    node.backup_directory = directory / "root/var/lib/kfab/backups";
    node.proc_sys = directory / "proc-sys";
    node.sysctl_file = directory / "sysctl.d/60-kfab.conf";
    node.systemd_marker = directory / "systemd";
    std::filesystem::create_directories(directory / "fake");
    std::filesystem::create_directories(directory / "sysctl.d");
  }

  // The messages about resources, in their order. `status` keeps how the task itself ended.
  std::vector<json::Value> run(const std::string& mode, const std::string& resources) {
    const auto request = json::parse("{\"mode\":\"" + mode + "\",\"resources\":" + resources + "}");
    RecordingContext context;
    context.stop = stop;
    status = request ? run_provision_task(*request, context, node) : Status(request.error());
    std::vector<json::Value> records;
    for (auto& message : context.messages)
      if (message.string_or("type") == "resource") records.push_back(std::move(message));
    return records;
  }

  // A program on this node: a shell script. It finds its state in the directory $FAKE.
  void program(const std::string& name, const std::string& script) {
    write(directory_ / ("bin/" + name), "#!/bin/sh\n" + script, 0755);
  }

  NodeEnvironment node;
  Status status = ok();
  bool stop = false;

 private:
  const TemporaryDirectory& directory_;
};

// systemctl over $FAKE/units/NAME.{active,enabled,reload}; a unit without .active is unknown.
inline void install_fake_systemd(Provisioner& node, const TemporaryDirectory& directory) {
  std::filesystem::create_directories(directory / "systemd");
  std::filesystem::create_directories(directory / "fake/units");
  node.program("systemctl", R"sh(
echo "$@" >> "$FAKE/systemctl-log"
verb=$1; for name in "$@"; do :; done
unit="$FAKE/units/$name"
if [ $verb = show ]; then
  [ -f "$unit.active" ] || { printf 'LoadState=not-found\nActiveState=inactive\nUnitFileState=\nNeedDaemonReload=no\n'; exit 0; }
  printf 'LoadState=loaded\nActiveState=%s\nUnitFileState=%s\nNeedDaemonReload=no\nActiveEnterTimestampMonotonic=%s\n' "$(cat $unit.active)" "$(cat $unit.enabled)" "$(cat $unit.since 2>/dev/null)"
  exit 0
fi
if [ -f "$FAKE/systemctl-fails" ]; then cat "$FAKE/systemctl-fails" >&2; exit 1; fi
case $verb in
  start|restart) echo active > "$unit.active"
    if [ -f "$unit.since" ]; then awk '{printf "%.0f", $1*1000000}' /proc/uptime > "$unit.since"; fi;;
  stop) echo inactive > "$unit.active";;
  enable) echo enabled > "$unit.enabled";;
  disable) echo disabled > "$unit.enabled";;
esac)sh");
}

// A request with one resource of the id "r".
inline std::string resource(const std::string& type, const std::string& attributes, const std::string& more = "") {
  return R"([{"id":"r","type":")" + type + R"(","attributes":)" + attributes + more + "}]";
}

// What the only record says: "in_sync", or "failed KF3070".
inline std::string said(const std::vector<json::Value>& records) {
  if (records.size() != 1) return "not one record";
  const auto code = records.front().string_or("code");
  return records.front().string_or("status") + (code.empty() ? "" : " " + code);
}

// The files of the directory in which copies are kept, in order.
inline std::vector<std::string> backups(const TemporaryDirectory& directory) {
  std::vector<std::string> names;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(directory / "root/var/lib/kfab/backups", none))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// No temporary of an unfinished write is left anywhere below.
inline bool nothing_left_over(const TemporaryDirectory& directory) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory.string()))
    if (entry.path().filename().string().find("kfab-new") != std::string::npos) return false;
  return true;
}

inline std::string changes_of(const json::Value& record) {
  std::string text;
  for (const auto& change : record.array_at("changes"))
    text += (text.empty() ? "" : "; ") + change.string_or("what") + ": " + change.string_or("before") + " -> " +
            change.string_or("after");
  return text;
}

}  // namespace kfab::agent::test
