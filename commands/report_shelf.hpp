#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "commands/validate.hpp"

// Where the reports of a run's nodes wait until they are held beside each other and shown: packed, and beyond some tens of megabytes in
// a file. As structs those of 13,000 accelerators take three gigabytes.
namespace kfab::commands {

// Bytes that are put away and read again, each under its number.
class Shelf {
 public:
  static constexpr std::size_t held = std::size_t{64} << 20;

  // What is more than `most_held` bytes goes to a file in `directory` that has no name: nobody else reads it, and it is gone with the
  // process. Where there can be no file, or the disk is full, it stays in memory.
  explicit Shelf(std::filesystem::path directory, std::size_t most_held = held);
  ~Shelf();
  Shelf(const Shelf&) = delete;
  Shelf& operator=(const Shelf&) = delete;

  std::size_t put(std::string bytes);
  // Throws std::runtime_error where the file cannot be read.
  std::string get(std::size_t number) const;
  std::size_t bytes_in_file() const { return end_; }

 private:
  struct Item {
    std::string bytes{};                  // where it is held
    std::optional<std::size_t> at{};      // where it is in the file
    std::size_t size = 0;
  };
  bool write(const std::string& bytes);
  std::filesystem::path directory_;
  std::size_t most_held_, held_ = 0, end_ = 0;
  int file_ = -1;
  std::vector<Item> items_;
};

// Puts the figures, statuses and mismatches of the node's report away, and all of its judgement but the verdicts with their first
// reasons: WithReport has them again. Of a node that was put away before only the judgement is put away anew.
void put_away(ValidatedNode&, const std::shared_ptr<Shelf>&);

// The node with all that belongs to it, for as long as this lives; the node itself where it was not put away.
class WithReport {
 public:
  explicit WithReport(const ValidatedNode&);
  const ValidatedNode& operator*() const { return own_ ? *own_ : node_; }
  const ValidatedNode* operator->() const { return &**this; }

 private:
  const ValidatedNode& node_;
  std::optional<ValidatedNode> own_;
};

// Brings back the report alone, to judge it anew, and lets go of it again. Nothing happens to a node that was not put away.
void take_report(ValidatedNode&);
void drop_report(ValidatedNode&);

}  // namespace kfab::commands
