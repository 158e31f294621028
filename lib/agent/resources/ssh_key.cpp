#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "base/codes/provision.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr double lookup_timeout_s = 20;

constexpr std::array key_types{"ssh-ed25519",
                               "ssh-rsa",
                               "ecdsa-sha2-nistp256",
                               "ecdsa-sha2-nistp384",
                               "ecdsa-sha2-nistp521",
                               "sk-ssh-ed25519@openssh.com",
                               "sk-ecdsa-sha2-nistp256@openssh.com"};

// A line of authorized_keys: [options] type base64 [comment]. `type base64` is what a key is known by.
struct KeyLine {
  std::string options, key, comment;
};

bool is_base64(std::string_view text) {
  return text.size() >= 32 && text.size() % 4 == 0 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '/' || c == '=';
  });
}

// The end of the first word; blanks inside double quotes belong to it, as in options.
std::size_t word_end(std::string_view text) {
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"' && (i == 0 || text[i - 1] != '\\')) quoted = !quoted;
    if (!quoted && (text[i] == ' ' || text[i] == '\t')) return i;
  }
  return quoted ? std::string_view::npos : text.size();
}

std::optional<KeyLine> parse_key(std::string_view text) {
  text = trim(text);
  KeyLine line;
  for (int words = 0; words < 2; ++words) {
    const auto end = word_end(text);
    if (end == std::string_view::npos) return std::nullopt;
    const auto word = text.substr(0, end);
    if (std::find(key_types.begin(), key_types.end(), word) != key_types.end()) {
      const auto rest = trim(text.substr(end));
      const auto blob = rest.substr(0, rest.find_first_of(" \t"));
      if (!is_base64(blob)) return std::nullopt;
      line.key = std::string(word) + " " + std::string(blob);
      line.comment = std::string(trim(rest.substr(blob.size())));
      return line;
    }
    if (words == 1) return std::nullopt;
    line.options = std::string(word);
    text = trim(text.substr(end));
  }
  return std::nullopt;
}

std::string text_of_key(const KeyLine& line) {
  return (line.options.empty() ? "" : line.options + " ") + line.key + (line.comment.empty() ? "" : " " + line.comment);
}

// What of a key may be shown: its type and the end of it, which people compare by.
std::string shown(const KeyLine& line) {
  const auto blank = line.key.find(' ');
  return one_line(line.key.substr(0, blank) + " ..." + line.key.substr(line.key.size() - 8) +
                      (line.comment.empty() ? "" : " " + line.comment) +
                      (line.options.empty() ? "" : " with " + line.options),
                  160);
}

// The keys by which one may log in as a user.
class SshKeyResource final : public Resource {
 public:
  SshKeyResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context),
        user_(attributes.string_or("user")),
        keys_(string_list(attributes["keys"])),
        options_(attributes.string_or("options")),
        exclusive_(attributes.bool_or("exclusive", false)),
        absent_(attributes.string_or("state") == "absent"),
        backup_(attributes.bool_or("backup", true)) {}

  Result<Difference> check() override {
    KFAB_TRY_VOID(read_keys());
    KFAB_TRY_VOID(read_user());
    KFAB_TRY(found, read_disk_file(path_, true));
    Difference difference;
    fix_owner_ = false;
    wanted_text_ = merged(found.bytes, difference);
    if (found.exists) {
      difference.found = sha256_hex(found.bytes);
      for (auto& change : ownership_changes(ownership_, found.status)) difference.changes.push_back(std::move(change));
    } else if (absent_) {
      difference.changes.clear();
    }
    struct stat directory {};
    if (::lstat(directory_.c_str(), &directory) == 0) {
      if (!S_ISDIR(directory.st_mode))
        return error(code::provision_path_blocked,
                     fmt::format("{} is a {} on the node, not a directory", one_line(directory_), kind_of(directory.st_mode)));
      // sshd does not look at keys where others may write.
      const Ownership wanted{ownership_.owner, ownership_.group, 0700};
      if (!absent_)
        for (auto& change : ownership_changes(wanted, directory)) {
          fix_owner_ = true;
          difference.changes.push_back({"directory " + change.what, change.before, change.after});
        }
    }
    return difference;
  }

  Status apply(const Difference&) override {
    if (!absent_) KFAB_TRY_VOID(prepare_directory());
    NewFile file;
    file.path = path_;
    file.bytes = wanted_text_;
    file.ownership = ownership_;
    file.backup = backup_;
    file.own_directory = true;
    return replace_disk_file(file, context_);
  }

  std::vector<Place> places() const override {
    return {{.path = directory_, .kind = Place::Kind::directory, .own_directory = true},
            {.path = path_, .kind = Place::Kind::lines, .copies = backup_, .own_directory = true}};
  }

 private:
  Status read_keys() {
    wanted_.clear();
    for (const auto& text : keys_) {
      auto line = text.find('\n') == std::string::npos ? parse_key(text) : std::nullopt;
      if (!line)
        return error(code::ssh_key_invalid,
                     fmt::format("'{}' is no public key: expected a line such as \"ssh-ed25519 AAAA... name\"",
                                 text.find("PRIVATE") != std::string::npos ? "(a private key, not shown)" : one_line(text, 40)));
      if (line->options.empty()) line->options = options_;
      wanted_.push_back(std::move(*line));
    }
    if (wanted_.empty() && !exclusive_) return error(code::ssh_key_invalid, "no key is given");
    return ok();
  }

  Status read_user() {
    const auto entry = context_.run({"getent", "passwd", user_}, lookup_timeout_s);
    if (entry.end == ProcessResult::End::exited && entry.exit_status == 2)
      return error(code::owner_unknown, fmt::format("the node has no user '{}'", one_line(user_, 60)));
    if (!entry.success()) return process_failure(code::owner_unknown, "getent passwd", entry);
    const auto fields = split(trim(entry.out), ':');
    unsigned uid = 0, gid = 0;
    const auto number = [](const std::string& text, unsigned& value) {
      return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc{};
    };
    if (fields.size() < 7 || !number(fields[2], uid) || !number(fields[3], gid) || !fields[5].starts_with('/'))
      return error(code::owner_unknown, "getent gives no readable entry for " + one_line(user_, 60));
    ownership_ = Ownership{uid, gid, 0600};
    home_ = context_.node.at(fields[5]);
    directory_ = home_ + "/.ssh";
    path_ = directory_ + "/authorized_keys";
    return ok();
  }

  // The file's text with the declared keys in it. A line with the same key and other options is replaced: left where it
  // is it would go on opening what the options were to close.
  std::string merged(const std::string& bytes, Difference& difference) const {
    std::vector<std::string> lines;
    std::vector<bool> placed(wanted_.size(), false);
    for (auto& line : lines_of(bytes)) {
      const auto words = trim(line);
      if (words.empty() || words.starts_with('#')) {
        lines.push_back(std::move(line));
        continue;
      }
      const auto key = parse_key(line);
      const auto it = key ? std::find_if(wanted_.begin(), wanted_.end(),
                                         [&](const KeyLine& wanted) { return wanted.key == key->key; })
                          : wanted_.end();
      if (it == wanted_.end()) {
        if (exclusive_ && !absent_)
          difference.changes.push_back({"key", key ? shown(*key) : "a line that is no key", "absent"});
        else lines.push_back(std::move(line));
        continue;
      }
      const auto index = static_cast<std::size_t>(it - wanted_.begin());
      if (absent_ || placed[index]) {
        difference.changes.push_back({"key", shown(*key), "absent"});
        continue;
      }
      placed[index] = true;
      if (key->options != it->options || key->comment != it->comment)
        difference.changes.push_back({"key", shown(*key), shown(*it)});
      lines.push_back(text_of_key(*it));
    }
    for (std::size_t i = 0; i < wanted_.size() && !absent_; ++i) {
      if (placed[i]) continue;
      difference.changes.push_back({"key", "absent", shown(wanted_[i])});
      lines.push_back(text_of_key(wanted_[i]));
    }
    return difference.in_sync() ? bytes : text_of(lines);
  }

  // Everything below the home directory is the user's, who may put links there: nothing is followed.
  Status prepare_directory() const {
    const Descriptor home(::open(home_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (home.get() < 0) {
      if (errno == ENOENT)
        return error(code::provision_path_blocked, fmt::format("the home directory {} is not on the node", one_line(home_)));
      return system_failure(errno, "open", home_);
    }
    const bool fresh = ::mkdirat(home.get(), ".ssh", 0700) == 0;
    if (!fresh && errno != EEXIST) return system_failure(errno, "make", directory_);
    if (!fresh && !fix_owner_) return ok();
    const Descriptor directory(::openat(home.get(), ".ssh", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (directory.get() < 0) return system_failure(errno, "open", directory_);
    return set_ownership(directory.get(), Ownership{ownership_.owner, ownership_.group, 0700}, directory_);
  }

  ResourceContext context_;
  std::string user_;
  std::vector<std::string> keys_;
  std::string options_;
  bool exclusive_, absent_, backup_;
  std::vector<KeyLine> wanted_;
  Ownership ownership_;
  std::string home_, directory_, path_, wanted_text_;
  bool fix_owner_ = false;
};

}  // namespace

std::unique_ptr<Resource> make_ssh_key(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<SshKeyResource>(attributes, context);
}

}  // namespace kfab::agent
