#include "commands/report_shelf.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>

#include "validation/packed.hpp"

namespace kfab::commands {
namespace {

// Without a name from the start where the file system can do that, else it loses it at once.
int open_nameless(const std::filesystem::path& directory) {
  const int file = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0) return file;
  std::string name = (directory / "reports.XXXXXX").string();
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(name.c_str());
  return named;
}

// Empties it and gives its memory back, which `items = {}` does not.
template <class T>
void release(std::vector<T>& items) {
  std::vector<T>().swap(items);
}

// What is said of it in a table: whose reasons are all there says the same.
void shorten(validation::NodeJudgement& judgement) {
  const auto first = [](std::vector<std::string>& reasons, std::string said) {
    if (!reasons.empty()) reasons = {std::move(said)};
    reasons.shrink_to_fit();
  };
  first(judgement.reasons, judgement.reason());
  if (judgement.of_node.size() > 1) judgement.of_node = {fmt::format("{} (and {} more)", judgement.of_node.front(), judgement.of_node.size() - 1)};
  for (auto& accelerator : judgement.accelerators) first(accelerator.reasons, accelerator.reason());
  release(judgement.criteria);
}

}  // namespace

Shelf::Shelf(std::filesystem::path directory, std::size_t most_held) : directory_(std::move(directory)), most_held_(most_held) {}

Shelf::~Shelf() {
  if (file_ >= 0) ::close(file_);
}

bool Shelf::write(const std::string& bytes) {
  if (file_ < 0) file_ = open_nameless(directory_);
  if (file_ < 0) return false;
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t wrote = ::pwrite(file_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(end_ + done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;   // what was written of it is written over by the next
    done += static_cast<std::size_t>(wrote);
  }
  return true;
}

std::size_t Shelf::put(std::string bytes) {
  Item item;
  item.size = bytes.size();
  if (held_ + item.size > most_held_ && write(bytes)) {
    item.at = end_;
    end_ += item.size;
  } else {
    held_ += item.size;
    item.bytes = std::move(bytes);
  }
  items_.push_back(std::move(item));
  return items_.size() - 1;
}

std::string Shelf::get(std::size_t number) const {
  const Item& item = items_.at(number);
  if (!item.at) return item.bytes;
  std::string bytes(item.size, '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::pread(file_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(*item.at + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw std::runtime_error(fmt::format("what the nodes told cannot be read again from {}: {}", directory_.string(), got < 0 ? std::strerror(errno) : "it is shorter than it was"));
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

void put_away(ValidatedNode& node, const std::shared_ptr<Shelf>& shelf) {
  if (!node.shelved) node.shelved = {shelf, shelf->put(validation::packed(node.report)), 0};
  drop_report(node);
  node.shelved->judgement = node.shelved->shelf->put(validation::packed(node.judgement));
  shorten(node.judgement);
}

void take_report(ValidatedNode& node) {
  if (node.shelved) validation::unpack(node.shelved->shelf->get(node.shelved->report), node.report);
}

void drop_report(ValidatedNode& node) {
  if (!node.shelved) return;
  release(node.report.measurements);
  release(node.report.statuses);
  release(node.report.mismatches);
}

WithReport::WithReport(const ValidatedNode& node) : node_(node) {
  if (!node.shelved) return;
  own_ = node;
  take_report(*own_);
  validation::unpack(node.shelved->shelf->get(node.shelved->judgement), own_->judgement);
}

}  // namespace kfab::commands
