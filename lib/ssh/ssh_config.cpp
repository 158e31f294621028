#include "ssh/ssh_config.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/codes/ssh.hpp"
#include "base/text.hpp"
#include "ssh/ssh_config_reader.hpp"

namespace kfab::ssh {
namespace {

constexpr std::size_t max_expanded_bytes = 4096;

std::optional<std::uint16_t> parse_port(std::string_view text) {
  unsigned value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size() || value == 0 || value > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(value);
}

// A time of sshd_config(5): "10", "1m30s", "2h".
std::optional<double> parse_time_s(std::string_view text) {
  double total = 0;
  while (!text.empty()) {
    double amount = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), amount, std::chars_format::fixed);
    if (failed != std::errc() || amount < 0 || amount > 1e9) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    double unit = 1;
    if (!text.empty()) {
      constexpr std::array<std::pair<char, double>, 5> units{{{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}}};
      const auto found = std::find_if(units.begin(), units.end(), [&](const auto& row) { return row.first == (text.front() | 0x20); });
      if (found == units.end()) return std::nullopt;
      unit = found->second;
      text.remove_prefix(1);
    }
    total += amount * unit;
  }
  return total;
}

// A list of patterns of which none that is negated and at least one other must match.
bool matches_list(std::string_view text, const std::vector<std::string>& patterns) {
  bool found = false;
  for (std::string_view pattern : patterns) {
    const bool negated = pattern.starts_with('!');
    if (negated) pattern.remove_prefix(1);
    if (!matches_pattern(text, pattern)) continue;
    if (negated) return false;
    found = true;
  }
  return found;
}

bool is_host_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' || c == '_' ||
         c == ':' || c == '%';
}

bool is_user_character(char c) { return is_host_character(c) || c == '+' || c == '@' || c == '\\' || c == '$'; }

}  // namespace

bool matches_pattern(std::string_view text, std::string_view pattern) {
  std::size_t t = 0, p = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || (pattern[p] != '*' && pattern[p] == text[t]))) {
      ++t;
      ++p;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (star != std::string_view::npos) {   // let the last * take one more
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

Result<HostSpec> parse_host_spec(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return error(code::jump_host_malformed, fmt::format("'{}' names no jump host: {}", one_line(text, 100), why));
  };
  HostSpec spec;
  spec.text = std::string(text);
  std::string_view rest = text;
  if (rest.starts_with("ssh://")) {
    rest.remove_prefix(6);
    if (rest.ends_with('/')) rest.remove_suffix(1);
  }
  if (const std::size_t at = rest.rfind('@'); at != std::string_view::npos) {
    spec.user = std::string(rest.substr(0, at));
    rest.remove_prefix(at + 1);
    if (spec.user.empty() || spec.user.front() == '-' || !std::all_of(spec.user.begin(), spec.user.end(), is_user_character))
      return bad("the user name before @ is empty or has characters that no user name has");
  }
  std::string_view port;
  bool has_port = false;
  if (rest.starts_with('[')) {
    const std::size_t close = rest.find(']');
    if (close == std::string_view::npos) return bad("the bracket is not closed");
    spec.host = std::string(rest.substr(1, close - 1));
    rest.remove_prefix(close + 1);
    has_port = rest.starts_with(':');
    if (!has_port && !rest.empty()) return bad("only :PORT may stand after the bracket");
    if (has_port) port = rest.substr(1);
  } else {
    const std::size_t colon = rest.find(':');
    has_port = colon != std::string_view::npos && rest.find(':', colon + 1) == std::string_view::npos;   // more: an IPv6 address
    if (has_port) port = rest.substr(colon + 1);
    spec.host = std::string(has_port ? rest.substr(0, colon) : rest);
  }
  if (spec.host.empty() || spec.host.size() > 255 || spec.host.front() == '-' || !std::all_of(spec.host.begin(), spec.host.end(), is_host_character))
    return bad("write [user@]host[:port], an IPv6 address in brackets");
  if (has_port) {
    const auto number = parse_port(port);
    if (!number) return bad("the port is none");
    spec.port = *number;
  }
  return spec;
}

LocalFacts local_facts(std::string home, std::string user) {
  LocalFacts facts;
  facts.home = std::move(home);
  facts.user = std::move(user);
  facts.uid = ::getuid();
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) == 0) facts.host_name = name.data();
  return facts;
}

namespace {

// What one pass over the files finds for one machine.
class Resolver {
 public:
  Resolver(const LocalFacts& local, std::string_view name, std::string_view user, std::optional<std::uint16_t> port)
      : local_(local), settled_user_(user), settled_port_(port) {
    out_.name = std::string(name);
    target_ = out_.name;
  }

  Result<HostSettings> run(const std::vector<std::shared_ptr<const SshConfig::Block>>& files) {
    for (const auto& file : files) KFAB_TRY_VOID(read_top(*file));
    KFAB_TRY(host_name, expanded_host_name());
    if (wants_final_) {   // once more, with the name that was found, as ssh does for `Match final`
      final_ = true;
      target_ = host_name;
      for (const auto& file : files) KFAB_TRY_VOID(read_top(*file));
    }
    out_.host_name = std::move(host_name);
    KFAB_TRY_VOID(interpret());
    return std::move(out_);
  }

 private:
  using Line = SshConfig::Block::Line;

  Status read_top(const SshConfig::Block& block) {
    bool active = true;
    return read(block, active, true);
  }

  // `reachable`: an include in a block that does not apply may not switch itself on again.
  Status read(const SshConfig::Block& block, bool active, bool reachable) {
    for (const Line& line : block.lines) {
      if (line.keyword == "host") {
        active = reachable && matches_list(target_, line.words);
      } else if (line.keyword == "match") {
        KFAB_TRY(matched, match(line, block.file));
        active = reachable && matched;
      } else if (line.keyword == "include") {
        for (const auto& included : line.included) KFAB_TRY_VOID(read(*included, active, active));
      } else if (active) {
        take(line, block.file);
      }
    }
    return ok();
  }

  Result<bool> match(const Line& line, const std::string& file) {
    bool result = true;
    std::size_t criteria = 0;
    for (std::size_t i = 0; i < line.words.size(); ++i) {
      std::string word = line.words[i];
      std::optional<std::string> value;
      if (const std::size_t equals = word.find('='); equals != std::string::npos) {
        value = word.substr(equals + 1);
        word.resize(equals);
      }
      const bool negated = word.starts_with('!');
      const std::string criterion = to_lower(std::string_view(word).substr(negated ? 1 : 0));
      if (criterion == "all") {
        if (criteria > 1 || i + 1 < line.words.size() || value) return config_error(file, line.number, "'all' stands alone");
        return result && !negated;
      }
      ++criteria;
      if (criterion == "canonical" || criterion == "final") {
        if (criterion == "final") wants_final_ = true;
        if (final_ == negated) result = false;
        continue;
      }
      if (!value || value->empty()) {
        if (++i >= line.words.size()) return config_error(file, line.number, "Match " + one_line(criterion, 40) + " has no value");
        value = line.words[i];
      }
      KFAB_TRY(holds, criterion_holds(criterion, *value, line, file, result));
      if (holds == negated || undecided_) result = false;
      undecided_ = false;
    }
    return result;
  }

  Result<bool> criterion_holds(const std::string& criterion, const std::string& value, const Line& line, const std::string& file, bool so_far) {
    const auto list = split(value, ',');
    const std::string& user = !settled_user_.empty() ? settled_user_ : first("user") != nullptr ? first("user")->value : local_.user;
    if (criterion == "host") {
      KFAB_TRY(host, final_ ? Result<std::string>(target_) : expanded_host_name());
      std::vector<std::string> lower;
      for (const std::string& pattern : list) lower.push_back(to_lower(pattern));
      return matches_list(to_lower(host), lower);
    }
    if (criterion == "originalhost") {
      std::vector<std::string> lower;
      for (const std::string& pattern : list) lower.push_back(to_lower(pattern));
      return matches_list(to_lower(out_.name), lower);
    }
    if (criterion == "user") return matches_list(user, list);
    if (criterion == "localuser") return matches_list(local_.user, list);
    if (criterion != "exec" && criterion != "localnetwork" && criterion != "tagged" && criterion != "command" && criterion != "sessiontype" &&
        criterion != "version")
      return config_error(file, line.number, "Match does not know '" + one_line(criterion, 40) + "'");
    if (so_far) {   // it might have applied
      Diagnostic why = error(code::ssh_config_not_followed,
                             fmt::format("{}:{}: `Match {}` is not judged, so its block does not apply", one_line(file), line.number, criterion));
      add_finding(std::move(why));
    }
    undecided_ = true;   // with or without "!", it does not apply
    return false;
  }

  void add_finding(Diagnostic why) {
    const auto same = [&](const Diagnostic& other) { return other.message == why.message; };
    if (std::none_of(out_.findings.begin(), out_.findings.end(), same)) out_.findings.push_back(std::move(why));
  }

  const StatedValue* first(std::string_view keyword) const {
    const auto found = std::find_if(out_.stated.begin(), out_.stated.end(), [&](const StatedValue& one) { return one.keyword == keyword; });
    return found == out_.stated.end() ? nullptr : &*found;
  }

  void take(const Line& line, const std::string& file) {
    constexpr std::array<std::string_view, 14> followed{
        "hostname", "user", "port", "identityfile", "identitiesonly", "identityagent", "proxyjump", "proxycommand",
        "userknownhostsfile", "globalknownhostsfile", "stricthostkeychecking", "hostkeyalias", "connecttimeout", "canonicalizehostname"};
    if (std::find(followed.begin(), followed.end(), line.keyword) == followed.end()) return;
    const std::string value = join(line.words, " ");
    // Whichever of ProxyJump and ProxyCommand comes first leaves no room for the other.
    if (line.keyword == "proxyjump" && first("proxycommand") != nullptr) return;
    if (line.keyword == "proxycommand" && first("proxyjump") != nullptr) return;
    if (line.keyword == "identityfile") {
      const bool there = std::any_of(out_.stated.begin(), out_.stated.end(),
                                     [&](const StatedValue& one) { return one.keyword == line.keyword && one.value == value; });
      if (there) return;
    } else if (first(line.keyword) != nullptr) {
      return;
    }
    words_.push_back(line.words);
    out_.stated.push_back({line.keyword, value, file, line.number});
  }

  Result<std::string> expanded_host_name() const {
    const StatedValue* stated = first("hostname");
    if (stated == nullptr) return to_lower(out_.name);   // as ssh does; what HostName says stays as it is
    return expand(*stated, stated->value, "h", out_.name);
  }

  // The token characters that `allowed` names, from what is settled by now. %% is always one.
  Result<std::string> expand(const StatedValue& stated, std::string_view text, std::string_view allowed, const std::string& host) const {
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '$' && i + 1 < text.size() && text[i + 1] == '{' && allowed.size() > 5) {
        return config_error(stated.file, stated.line, "kfab does not put environment variables into ssh_config values");
      }
      if (text[i] != '%') {
        result += text[i];
        continue;
      }
      const char token = ++i < text.size() ? text[i] : '\0';
      if (token == '%') {
        result += '%';
        continue;
      }
      if (token == '\0' || allowed.find(token) == std::string_view::npos)
        return config_error(stated.file, stated.line, fmt::format("{} does not know the token %{}", stated.keyword, one_line(std::string(1, token), 1)));
      result += token_value(token, host);
      if (result.size() > max_expanded_bytes) break;
    }
    if (result.size() > max_expanded_bytes) return config_error(stated.file, stated.line, "the value becomes too long");
    return result;
  }

  std::string token_value(char token, const std::string& host) const {
    switch (token) {
      case 'd': return local_.home;
      case 'h': return host;
      case 'i': return std::to_string(local_.uid);
      case 'k': return out_.host_key_alias.empty() ? out_.name : out_.host_key_alias;
      case 'L': return local_.host_name.substr(0, local_.host_name.find('.'));
      case 'l': return local_.host_name;
      case 'n': return out_.name;
      case 'p': return std::to_string(out_.port.value_or(22));
      case 'r': return out_.user.empty() ? local_.user : out_.user;
      default: return local_.user;   // %u
    }
  }

  Status interpret() {
    for (std::size_t i = 0; i < out_.stated.size(); ++i) {   // what the tokens of the others need
      const StatedValue& one = out_.stated[i];
      if (one.keyword == "user") out_.user = one.value;
      if (one.keyword == "hostkeyalias") out_.host_key_alias = one.value;
      if (one.keyword == "port") {
        out_.port = parse_port(one.value);
        if (!out_.port) return config_error(one.file, one.line, "'" + one_line(one.value, 40) + "' is no port");
      }
    }
    if (!settled_user_.empty()) out_.user = settled_user_;
    if (settled_port_) out_.port = settled_port_;
    for (std::size_t i = 0; i < out_.stated.size(); ++i) KFAB_TRY_VOID(interpret(out_.stated[i], words_[i]));
    return ok();
  }

  Result<std::string> path(const StatedValue& stated, const std::string& word) const {
    return expand(stated, expand_tilde(word, local_.home), "dhikLlnpru", out_.host_name);
  }

  Result<std::optional<std::vector<std::string>>> paths(const StatedValue& stated, const std::vector<std::string>& words, bool tokens) const {
    std::vector<std::string> all;
    for (const std::string& word : words) {
      if (to_lower(word) == "none") continue;
      KFAB_TRY(one, tokens ? path(stated, word) : Result<std::string>(expand_tilde(word, local_.home)));
      all.push_back(std::move(one));
    }
    return std::optional<std::vector<std::string>>(std::move(all));
  }

  Status interpret(const StatedValue& one, const std::vector<std::string>& words) {
    const std::string lower = to_lower(one.value);
    if (one.keyword == "identityfile") {
      if (lower == "none") return ok();
      KFAB_TRY(file, path(one, one.value));
      out_.identity_files.push_back(std::move(file));
    } else if (one.keyword == "identitiesonly") {
      if (lower != "yes" && lower != "true" && lower != "no" && lower != "false") return config_error(one.file, one.line, "IdentitiesOnly is yes or no");
      out_.identities_only = lower == "yes" || lower == "true";
    } else if (one.keyword == "identityagent") {
      if (lower == "none" || one.value == "SSH_AUTH_SOCK") out_.identity_agent = one.value == "SSH_AUTH_SOCK" ? one.value : lower;
      else if (one.value.starts_with('$')) return config_error(one.file, one.line, "kfab does not put environment variables into ssh_config values");
      else {
        KFAB_TRY(socket, path(one, one.value));
        out_.identity_agent = std::move(socket);
      }
    } else if (one.keyword == "proxyjump") {
      return jumps(one, lower);
    } else if (one.keyword == "proxycommand") {
      if (lower != "none") out_.proxy_command = one.value;
    } else if (one.keyword == "userknownhostsfile") {
      KFAB_TRY(files, paths(one, words, true));
      out_.user_known_hosts = std::move(files);
    } else if (one.keyword == "globalknownhostsfile") {
      KFAB_TRY(files, paths(one, words, false));
      out_.global_known_hosts = std::move(files);
    } else if (one.keyword == "stricthostkeychecking") {
      out_.strict_host_key_checking = lower;
      if (lower == "no" || lower == "off" || lower == "false")
        add_finding(error(code::ssh_config_not_followed,
                          fmt::format("{}:{}: StrictHostKeyChecking {} is not honoured: host keys are verified", one_line(one.file), one.line, lower)));
    } else if (one.keyword == "canonicalizehostname") {
      if (lower != "no" && lower != "false")
        add_finding(error(code::ssh_config_not_followed,
                          fmt::format("{}:{}: CanonicalizeHostname is not followed: names are used as they are written", one_line(one.file), one.line)));
    } else if (one.keyword == "connecttimeout" && lower != "none") {
      out_.connect_timeout_s = parse_time_s(lower);
      if (!out_.connect_timeout_s) return config_error(one.file, one.line, "'" + one_line(one.value, 40) + "' is no time");
    }
    return ok();
  }

  Status jumps(const StatedValue& one, const std::string& lower) {
    if (lower == "none") return ok();
    KFAB_TRY(text, expand(one, one.value, "hnpr", out_.host_name));
    for (const std::string& part : split(text, ',')) {
      auto spec = parse_host_spec(trim(part));
      if (!spec) return config_error(one.file, one.line, spec.error().message);
      out_.proxy_jump.push_back(std::move(*spec));
    }
    return ok();
  }

  const LocalFacts& local_;
  const std::string settled_user_;
  const std::optional<std::uint16_t> settled_port_;
  HostSettings out_;
  std::vector<std::vector<std::string>> words_;   // of out_.stated
  std::string target_;                            // what Host lines are held against
  bool final_ = false, wants_final_ = false, undecided_ = false;
};

Status check_owner(const std::string& path) {
  struct stat about {};
  if (::stat(path.c_str(), &about) != 0) return ok();
  if ((about.st_uid != 0 && about.st_uid != ::getuid()) || (about.st_mode & 022) != 0)
    return error(code::ssh_config_unreadable, one_line(path) + ": others may write it, so it is not followed; ssh refuses it as well");
  return ok();
}

}  // namespace

Result<SshConfig> SshConfig::load(const std::vector<std::string>& files, LocalFacts local, bool must_exist) {
  SshConfig config(std::move(local));
  SshConfigReader reader(config.local_);
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (!must_exist && ::access(files[i].c_str(), F_OK) != 0) continue;
    if (files.size() > 1 && i == 0) KFAB_TRY_VOID(check_owner(files[i]));
    KFAB_TRY(block, reader.file(files[i]));
    config.files_.push_back(std::move(block));
  }
  return config;
}

Result<SshConfig> SshConfig::parse(std::string_view text, const std::string& file, LocalFacts local) {
  SshConfig config(std::move(local));
  SshConfigReader reader(config.local_);
  KFAB_TRY(block, reader.text(text, file));
  config.files_.push_back(std::move(block));
  return config;
}

Result<HostSettings> SshConfig::resolve(std::string_view name, std::string_view user, std::optional<std::uint16_t> port) const {
  return Resolver(local_, name, user, port).run(files_);
}

bool SshConfig::empty() const {
  return std::all_of(files_.begin(), files_.end(), [](const auto& file) { return file->lines.empty(); });
}

}  // namespace kfab::ssh
