#include <regex.h>

#include <algorithm>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

// A POSIX extended expression: bounded in what it takes of the stack, unlike std::regex on a long line.
class Pattern {
 public:
  Pattern() = default;
  ~Pattern() {
    if (ready_) ::regfree(&compiled_);
  }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  bool compile(const std::string& text) {
    ready_ = ::regcomp(&compiled_, text.c_str(), REG_EXTENDED | REG_NOSUB) == 0;
    return ready_;
  }
  bool matches(const std::string& line) const { return ready_ && ::regexec(&compiled_, line.c_str(), 0, nullptr, 0) == 0; }

 private:
  regex_t compiled_{};
  bool ready_ = false;
};

// One line of a file that others write too. With `match` the lines that match become this one line, where the first of
// them stood; without a match it comes last. Absent: neither the line nor any that matches is there.
class LineResource final : public Resource {
 public:
  LineResource(const json::Value& attributes, const ResourceContext& context)
      : attributes_(attributes),
        context_(context),
        path_(attributes.string_or("path")),
        line_(attributes.string_or("line")),
        match_(attributes.string_or("match")),
        absent_(attributes.string_or("state") == "absent"),
        create_(attributes.bool_or("create", false)),
        sensitive_(attributes.bool_or("sensitive", false)) {}

  Result<Difference> check() override {
    if (line_.find('\n') != std::string::npos || (line_.empty() && (match_.empty() || !absent_)))
      return error(code::agent_bad_request, "a line without text, or with more than one");
    Pattern pattern;
    if (!match_.empty() && !pattern.compile(match_))
      return error(code::agent_bad_request, fmt::format("match '{}' is no regular expression", one_line(match_, 80)));
    KFAB_TRY(ownership, read_ownership(attributes_, context_));
    declared_ = ownership;
    KFAB_TRY(found, read_disk_file(path_));
    if (found.bytes.size() > max_compared_bytes)
      return error(code::provision_path_blocked, fmt::format("{} is too long to be edited", one_line(path_)));
    Difference difference;
    if (!found.exists) {
      if (absent_) return difference;
      if (!create_)
        return error(code::provision_path_blocked,
                     fmt::format("{} is not on the node; declare the file, or say create: true", one_line(path_)));
    }
    wanted_ = edited(found.bytes, pattern, difference);
    if (!difference.in_sync()) {
      Difference shown;
      compare_text(found, wanted_, path_, sensitive_, shown);
      difference.diff = shown.diff;
      difference.found = shown.found;
    }
    if (found.exists)
      for (auto& change : ownership_changes(declared_, found.status)) difference.changes.push_back(std::move(change));
    return difference;
  }

  Status apply(const Difference&) override {
    NewFile file;
    file.path = path_;
    file.bytes = wanted_;
    file.ownership = declared_;
    file.validate = string_list(attributes_["validate"]);
    file.sensitive = sensitive_;
    file.backup = attributes_.bool_or("backup", true);
    return replace_disk_file(file, context_);
  }

  std::string written_path() const override { return path_; }

  std::vector<Place> places() const override {
    return {{.path = path_, .kind = Place::Kind::lines, .copies = attributes_.bool_or("backup", true), .sensitive = sensitive_}};
  }

 private:
  std::string edited(const std::string& bytes, const Pattern& pattern, Difference& difference) const {
    auto lines = lines_of(bytes);
    std::vector<std::string> kept;
    bool there = false;
    const auto note = [&](const std::string& before, const std::string& after) {
      difference.changes.push_back({"line", shown(before), shown(after)});
    };
    // The line may stand where it is, whatever it does not match is left alone.
    const bool stands = !absent_ && std::find(lines.begin(), lines.end(), line_) != lines.end();
    for (auto& line : lines) {
      const bool same = !line_.empty() && line == line_;
      if (!same && !pattern.matches(line)) {
        kept.push_back(std::move(line));
      } else if (absent_) {
        note(line, "absent");
      } else if (same) {
        there = true;
        kept.push_back(std::move(line));
      } else if (!stands && !there) {
        there = true;
        note(line, line_);
        kept.push_back(line_);
      } else {
        note(line, "absent");   // what says the same thing otherwise would win, or lose, by its place
      }
    }
    if (!absent_ && !there) {
      note("absent", line_);
      kept.push_back(line_);
    }
    return difference.in_sync() ? bytes : text_of(kept);
  }

  std::string shown(const std::string& line) const { return sensitive_ ? "(not shown)" : one_line(line, 160); }

  json::Value attributes_;
  ResourceContext context_;
  std::string path_, line_, match_;
  bool absent_, create_, sensitive_;
  Ownership declared_;
  std::string wanted_;
};

}  // namespace

std::unique_ptr<Resource> make_line(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<LineResource>(attributes, context);
}

}  // namespace kfab::agent
