#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "agent/resources/openpgp.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr std::size_t max_key_bytes = std::size_t{1} << 20;

bool is_repository_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

// One word of a sources file: blanks and newlines would begin another.
bool are_words(const std::vector<std::string>& list) {
  return std::all_of(list.begin(), list.end(), [](const std::string& word) {
    return !word.empty() && std::none_of(word.begin(), word.end(), [](unsigned char c) { return c <= ' ' || c == 0x7F; });
  });
}

// A source of packages, and the key without which none of it is taken. The key's fingerprint is worked out here and
// compared before anything is written: a node trusts exactly the keys that the role names.
class RepositoryResource final : public Resource {
 public:
  RepositoryResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context),
        name_(attributes.string_or("name")),
        uris_(string_list(attributes["uris"])),
        suites_(string_list(attributes["suites"])),
        components_(string_list(attributes["components"])),
        architectures_(string_list(attributes["architectures"])),
        key_(attributes.string_or("key")),
        key_path_(attributes.string_or("key_file")),
        fingerprints_(string_list(attributes["fingerprints"])),
        absent_(attributes.string_or("state") == "absent"),
        backup_(attributes.bool_or("backup", true)),
        timeout_s_(attributes.double_or("timeout_s", 600)),
        apt_(::access(context.node.at("/etc/apt").c_str(), F_OK) == 0),
        list_file_(context.node.at(apt_ ? fmt::format("/etc/apt/sources.list.d/kfab-{}.sources", name_)
                                        : fmt::format("/etc/yum.repos.d/kfab-{}.repo", name_)), "repository"),
        key_file_(context.node.at(own_key_path()), "key") {
    for (auto& fingerprint : fingerprints_) fingerprint = plain_fingerprint(fingerprint);
    if (!key_.empty() && !key_.ends_with('\n')) key_ += '\n';
  }

  Result<Difference> check() override {
    if (!apt_ && ::access(context_.node.at("/etc/yum.repos.d").c_str(), F_OK) != 0)
      return error(code::package_manager_missing, "the node has neither /etc/apt nor /etc/yum.repos.d");
    if (!is_repository_name(name_)) return error(code::agent_bad_request, "a repository's name holds letters, digits, '-' and '_' only");
    Difference difference;
    unread_ = false;
    if (absent_) {
      list_file_.want_absent();
      key_file_.want_absent();
    } else {
      if (uris_.empty() || !are_words(uris_) || !are_words(suites_) || !are_words(components_) || !are_words(architectures_))
        return error(code::agent_bad_request, "uris, suites, components and architectures are words without blanks");
      if (apt_ && suites_.empty()) return error(code::agent_bad_request, "a repository for apt needs suites");
      KFAB_TRY_VOID(check_key());
      list_file_.want(apt_ ? apt_text() : dnf_text());
      if (key_path_.empty()) key_file_.want(key_);
      else key_file_.want_absent();
    }
    KFAB_TRY_VOID(key_file_.check(difference));
    KFAB_TRY_VOID(list_file_.check(difference));
    // A run that was cut, or an update that failed, leaves the lists unread.
    unread_ = !absent_ && apt_ && !lists_are_read();
    if (unread_) difference.changes.push_back({"package lists", "not read", "read"});
    return difference;
  }

  Status apply(const Difference&) override {
    if (absent_) {   // the list first: it names the key
      if (list_file_.differs()) KFAB_TRY_VOID(list_file_.apply(context_, backup_));
      return key_file_.differs() ? key_file_.apply(context_, backup_) : ok();
    }
    if (key_file_.differs() && key_path_.empty()) KFAB_TRY_VOID(key_file_.apply(context_, backup_));
    if (list_file_.differs()) KFAB_TRY_VOID(list_file_.apply(context_, backup_));
    if (key_file_.differs() && !key_path_.empty()) KFAB_TRY_VOID(key_file_.apply(context_, backup_));
    if (!apt_) return ok();
    // Of this repository alone: another that is out of reach is not this resource's failure.
    const auto result = context_.run({"apt-get", "-q", "-o", "Dir::Etc::sourcelist=" + list_file_.path(), "-o", "Dir::Etc::sourceparts=-",
                                      "-o", "APT::Get::List-Cleanup=0", "-o", "APT::Update::Error-Mode=any", "update"}, timeout_s_);
    if (!result.success()) return process_failure(code::repository_failed, "apt-get update of " + name_, result);
    if (lists_are_read()) return ok();
    return error(code::repository_failed, fmt::format("apt-get read no list of {}: {}", name_, result.last_words()));
  }

  // The key is put back before the list that names it.
  std::vector<Place> places() const override { return {{.path = list_file_.path(), .copies = backup_}, {.path = key_file_.path(), .copies = backup_}}; }

 private:
  std::string own_key_path() const {
    return apt_ ? fmt::format("/etc/apt/keyrings/kfab-{}.asc", name_) : fmt::format("/etc/pki/rpm-gpg/kfab-{}.asc", name_);
  }

  Status check_key() const {
    std::string bytes = key_;
    if (!key_path_.empty()) {
      const auto path = context_.node.at(key_path_);
      if (::access(path.c_str(), F_OK) != 0)
        return error(code::repository_key_missing, fmt::format("the key file {} is not on the node", one_line(key_path_)));
      KFAB_TRY(read, read_file(path, max_key_bytes));
      bytes = std::move(read);
    }
    if (bytes.empty()) return error(code::agent_bad_request, "a repository without a key: kfab takes no unsigned packages");
    KFAB_TRY(found, openpgp_fingerprints(bytes));
    for (const auto& fingerprint : found)
      if (std::find(fingerprints_.begin(), fingerprints_.end(), fingerprint) == fingerprints_.end())
        return error(code::repository_key_wrong, fmt::format("the key of {} has the fingerprint {}, which the role does not name", name_, fingerprint));
    return ok();
  }

  std::string signed_by() const { return key_path_.empty() ? own_key_path() : key_path_; }

  std::string apt_text() const {
    std::string text = fmt::format("{}\nTypes: deb\nURIs: {}\nSuites: {}\n", written_by_kfab, join(uris_, " "), join(suites_, " "));
    if (!components_.empty()) text += fmt::format("Components: {}\n", join(components_, " "));
    if (!architectures_.empty()) text += fmt::format("Architectures: {}\n", join(architectures_, " "));
    return text + fmt::format("Signed-By: {}\n", signed_by());
  }

  std::string dnf_text() const {
    return fmt::format("{}\n[kfab-{}]\nname=kfab-{}\nbaseurl={}\nenabled=1\ngpgcheck=1\ngpgkey=file://{}\n", written_by_kfab, name_,
                       name_, join(uris_, "\n  "), signed_by());
  }

  // apt names a list by the address without its scheme, with '/' as '_'.
  bool lists_are_read() const {
    std::error_code problem;
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(context_.node.at("/var/lib/apt/lists"), problem))
      names.push_back(entry.path().filename().string());
    return std::all_of(uris_.begin(), uris_.end(), [&](const std::string& uri) {
      const auto prefix = list_prefix(uri);
      return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
        return name.starts_with(prefix) && name.ends_with("Release");   // Release and InRelease
      });
    });
  }

  static std::string list_prefix(const std::string& uri) {
    const auto scheme = uri.find("://");
    std::string_view rest = uri;
    if (scheme != std::string::npos) rest.remove_prefix(scheme + 3);
    else rest.remove_prefix(std::min(uri.find(':') + 1, uri.size()));
    while (rest.ends_with('/')) rest.remove_suffix(1);
    std::string prefix;
    for (const char c : rest) {
      if (c == '/') prefix += '_';
      else if (c == '_') prefix += "%5f";
      else prefix += c;
    }
    return prefix + "_";
  }

  ResourceContext context_;
  std::string name_;
  std::vector<std::string> uris_, suites_, components_, architectures_;
  std::string key_, key_path_;
  std::vector<std::string> fingerprints_;
  bool absent_, backup_;
  double timeout_s_;
  bool apt_;
  OwnFile list_file_, key_file_;
  bool unread_ = false;
};

}  // namespace

std::unique_ptr<Resource> make_repository(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<RepositoryResource>(attributes, context);
}

}  // namespace kfab::agent
