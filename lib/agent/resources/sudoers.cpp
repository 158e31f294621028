#include <unistd.h>

#include <algorithm>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

// sudo leaves out names with a dot or a tilde at their end, and a rule that is left out is worse than none: it looks
// as if it were there.
bool is_sudoers_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

// A file of rules in /etc/sudoers.d. One with a mistake in it would shut sudo for everybody, kfab included, so visudo
// reads it before sudo can see it.
class SudoersResource final : public Resource {
 public:
  SudoersResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context),
        name_(attributes.string_or("name")),
        content_(attributes.string_or("content")),
        absent_(attributes.string_or("state") == "absent"),
        backup_(attributes.bool_or("backup", true)),
        path_(context.node.at("/etc/sudoers.d/") + name_) {
    if (!content_.empty() && !content_.ends_with('\n')) content_ += '\n';
    declared_.mode = 0440;
    if (::geteuid() == 0) declared_.owner = 0, declared_.group = 0;
  }

  Result<Difference> check() override {
    if (!is_sudoers_name(name_))
      return error(code::agent_bad_request, fmt::format("sudo would not read a file named '{}'", one_line(name_, 60)));
    KFAB_TRY(found, read_disk_file(path_));
    Difference difference;
    if (absent_) {
      if (found.exists) difference.changes.push_back({"state", "file", "absent"});
      return difference;
    }
    compare_text(found, content_, path_, false, difference);
    if (found.exists)
      for (auto& change : ownership_changes(declared_, found.status)) difference.changes.push_back(std::move(change));
    return difference;
  }

  Status apply(const Difference&) override {
    if (absent_) return remove_disk_file(path_, backup_, context_);
    NewFile file;
    file.path = path_;
    file.bytes = content_;
    file.ownership = declared_;
    file.validate = {"visudo", "-c", "-q", "-f", "%s"};
    file.backup = backup_;
    return replace_disk_file(file, context_);
  }

  std::vector<Place> places() const override { return {{.path = path_, .copies = backup_}}; }

 private:
  ResourceContext context_;
  std::string name_, content_;
  bool absent_, backup_;
  std::string path_;
  Ownership declared_;
};

}  // namespace

std::unique_ptr<Resource> make_sudoers(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<SudoersResource>(attributes, context);
}

}  // namespace kfab::agent
