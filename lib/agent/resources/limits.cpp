#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "base/codes/agent.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

// The words of a line of limits.conf: domain, kind, item, value. A comment has none.
std::vector<std::string> words_of(std::string_view line) {
  line = line.substr(0, line.find('#'));
  std::vector<std::string> words;
  for (auto& word : split(one_line(line, 4096), ' '))
    if (!word.empty()) words.push_back(std::move(word));
  return words;
}

bool is_word(std::string_view text) {
  return !text.empty() && text.find_first_of(" \t\n#\"") == std::string_view::npos;
}

// What a login may use of a resource, in a file of kfab's own that pam_limits reads. It holds for sessions that begin
// afterwards; systemd's units have their own limits.
class LimitsResource final : public Resource {
 public:
  LimitsResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context),
        item_(attributes.string_or("item")),
        value_(scalar_text(attributes["value"])),
        domains_(string_list(attributes["domains"])),
        kind_(attributes.string_or("kind", "both")),
        absent_(attributes.string_or("state") == "absent"),
        file_(context.node.at("/etc/security/limits.d/60-kfab.conf"), "file") {
    if (domains_.empty()) domains_ = {"*", "root"};   // pam_limits does not count root to everybody
  }

  Result<Difference> check() override {
    bool good = is_word(item_) && (absent_ || is_word(value_));
    for (const auto& domain : domains_) good = good && is_word(domain);
    if (!good) return error(code::agent_bad_request, "a limit's item, value and domains are words without blanks");
    KFAB_TRY(found, read_disk_file(file_.path()));
    Difference difference;
    auto lines = lines_of(found.bytes);
    if (lines.empty()) lines.emplace_back(written_by_kfab);
    for (const auto& domain : domains_) bring_in(domain, lines, difference);
    if (difference.in_sync() && !found.exists) return difference;   // nothing to say, and nothing of kfab's own there
    const bool told = !difference.in_sync();
    file_.want(told ? text_of(lines) : found.bytes);
    Difference file;
    KFAB_TRY_VOID(file_.check(file));
    difference.diff = file.diff;
    difference.found = file.found;
    // Of the text the limits themselves tell; what is left is who may read and write it.
    for (auto& change : file.changes)
      if (!told || change.what != "file") difference.changes.push_back(std::move(change));
    return difference;
  }

  Status apply(const Difference&) override { return file_.apply(context_); }

  std::vector<Place> places() const override { return {{.path = file_.path(), .kind = Place::Kind::own_lines}}; }

 private:
  // "-" is both of soft and hard.
  std::vector<std::string> wanted_kinds() const {
    if (kind_ == "both") return {"-"};
    return {kind_};
  }

  void bring_in(const std::string& domain, std::vector<std::string>& lines, Difference& difference) const {
    std::map<std::string, std::string> before;
    std::size_t place = lines.size();
    for (std::size_t i = 0; i < lines.size();) {
      const auto words = words_of(lines[i]);
      const bool ours = words.size() == 4 && words[0] == domain && words[2] == item_ &&
                        (kind_ == "both" || words[1] == kind_ || words[1] == "-");
      if (!ours) {
        ++i;
        continue;
      }
      before[words[1]] = words[3];
      place = std::min(place, i);
      lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(i));
    }
    place = std::min(place, lines.size());
    std::map<std::string, std::string> after;
    if (!absent_)
      for (const auto& kind : wanted_kinds()) after[kind] = value_;
    for (const auto& [kind, value] : after)
      lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(place++),
                   fmt::format("{} {} {} {}", domain, kind, item_, value));
    if (before == after) return;
    difference.changes.push_back({domain + " " + item_, words(before), words(after)});
  }

  static std::string words(const std::map<std::string, std::string>& limits) {
    std::string text;
    for (const auto& [kind, value] : limits)
      text += (text.empty() ? "" : ", ") + (kind == "-" ? value : kind + " " + value);
    return text.empty() ? "absent" : text;
  }

  ResourceContext context_;
  std::string item_, value_;
  std::vector<std::string> domains_;
  std::string kind_;
  bool absent_;
  OwnFile file_;
};

}  // namespace

std::unique_ptr<Resource> make_limits(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<LimitsResource>(attributes, context);
}

}  // namespace kfab::agent
