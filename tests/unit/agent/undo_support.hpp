#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <memory>

#include "agent/undo_task.hpp"
#include "unit/agent/support.hpp"

// What tests of undoing share.
namespace kfab::agent::test {

// Names, kinds, modes, owners and contents below a directory: what undoing must bring back. Without what kfab keeps.
inline std::string shape(const std::string& root) {
  std::vector<std::string> lines;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    const auto path = entry.path().string();
    if (path.find("/var/lib/kfab") != std::string::npos || path.find("-log") != std::string::npos) continue;
    struct stat found {};
    ::lstat(path.c_str(), &found);
    std::ostringstream line;
    line << path.substr(root.size()) << ' ' << std::oct << found.st_mode << std::dec << ' ' << found.st_uid << ' ' << found.st_gid;
    if (S_ISREG(found.st_mode)) line << ' ' << read(path);
    if (S_ISLNK(found.st_mode)) line << " -> " << std::filesystem::read_symlink(entry.path()).string();
    lines.push_back(line.str());
  }
  std::sort(lines.begin(), lines.end());
  std::string all;
  for (const auto& line : lines) all += line + "\n";
  return all;
}

struct Undo {
  explicit Undo(Provisioner& provisioner) : node(provisioner) {}
  std::vector<json::Value> run(const std::string& mode, const std::string& roles = "\"r\"") {
    const auto request = json::parse("{\"mode\":\"" + mode + "\",\"owner\":\".\",\"roles\":[" + roles + "]}");
    RecordingContext context;
    context.stop = node.stop;
    status = kfab::agent::run_undo_task(*request, context, node.node);
    std::vector<json::Value> records;
    listed = 0;
    for (auto& message : context.messages) {
      if (message.string_or("type") == "undo") listed = message.array_at("resources").size();
      if (message.string_or("type") == "resource") records.push_back(std::move(message));
    }
    return records;
  }
  Provisioner& node;
  Status status = ok();
  std::size_t listed = 0;
};

// "changed changed" of several.
inline std::string all_said(const std::vector<json::Value>& records) {
  std::string text;
  for (const auto& record : records) {
    if (!text.empty()) text += ' ';
    text += record.string_or("status");
    if (const auto code = record.string_or("code"); !code.empty()) text += " " + code;
  }
  return text;
}

inline std::string one(const std::string& id, const std::string& type, const std::string& attributes) {
  return R"({"id":")" + id + R"(","type":")" + type + R"(","attributes":)" + attributes + "}";
}

// Applies, plans the undo (which writes nothing), undoes, and undoes again: all is as before, and nothing is kept.
inline void round_trip(const TemporaryDirectory& directory, Provisioner& node, const std::string& resources, const std::string& roles = "\"r\"") {
  std::filesystem::create_directories(directory / "root/var/lib");   // where kfab keeps its own
  const auto before = shape(directory.string());
  const auto applied = node.run("apply", "[" + resources + "]");
  for (const auto& record : applied) CAPTURE(json::dump(record));
  for (const auto& record : applied) REQUIRE(record.string_or("status") == "changed");
  CHECK(shape(directory.string()) != before);
  Undo undo(node);
  const auto tree = tree_hash(directory / "root"), applied_shape = shape(directory.string());
  const auto planned = undo.run("plan", roles);
  CHECK(tree_hash(directory / "root") == tree);
  CHECK(shape(directory.string()) == applied_shape);
  REQUIRE(planned.size() == applied.size());
  for (const auto& record : planned) {
    CAPTURE(json::dump(record));
    CHECK(record.string_or("status") == "would_change");
  }
  const auto undone = undo.run("apply", roles);
  REQUIRE(undone.size() == applied.size());
  for (const auto& record : undone) {
    CAPTURE(json::dump(record));
    CHECK(record.string_or("status") == "changed");
  }
  CHECK(shape(directory.string()) == before);
  CHECK(undo.run("apply", roles).empty());
  CHECK(std::filesystem::is_empty(directory / "root/var/lib/kfab/undo/records"));
  CHECK(std::filesystem::is_empty(directory / "root/var/lib/kfab/undo/copies"));
  CHECK(nothing_left_over(directory));
}

}  // namespace kfab::agent::test
