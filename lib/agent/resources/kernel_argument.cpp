#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr double grub_timeout_s = 300;
constexpr std::string_view own_prefix = "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX ";

// What goes into a file that a shell reads, and onto a command line that the kernel splits at blanks.
bool is_argument_text(std::string_view text, bool name) {
  const std::string_view more = name ? "._-" : "._-,:=@/+";
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           more.find(c) != std::string_view::npos;
  });
}

std::string_view name_of(std::string_view token) { return token.substr(0, token.find('=')); }

std::vector<std::string> tokens_of(std::string_view text) {
  std::vector<std::string> tokens;
  for (auto& token : split(one_line(text, 16384), ' '))
    if (!token.empty()) tokens.push_back(std::move(token));
  return tokens;
}

// An argument of the kernel's command line. Kept in a file of kfab's own that grub's configuration is made from
// (Debian, Ubuntu), or by grubby (Red Hat); what counts is the configuration that grub reads at boot, and until then what
// the running kernel was started with.
class KernelArgumentResource final : public Resource {
 public:
  KernelArgumentResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context),
        name_(attributes.string_or("name")),
        value_(scalar_text(attributes["value"])),
        absent_(attributes.string_or("state") == "absent"),
        own_path_(context.node.at("/etc/default/grub.d/60-kfab.cfg")),
        default_path_(context.node.at("/etc/default/grub")),
        config_path_(context.node.at("/boot/grub/grub.cfg")) {
    token_ = value_.empty() ? name_ : name_ + "=" + value_;
  }

  Result<Difference> check() override {
    if (name_.empty() || !is_argument_text(name_, true) || !is_argument_text(value_, false))
      return error(code::agent_bad_request, "a kernel argument holds letters, digits and . _ - , : = @ / + only");
    KFAB_TRY(live, read_file(context_.node.at("/proc/cmdline"), 65536));
    live_ = last_of(tokens_of(live));
    Difference difference;
    if (::access(config_path_.c_str(), F_OK) == 0) {
      grubby_ = false;
      KFAB_TRY_VOID(check_files(difference));
      KFAB_TRY_VOID(check_config(difference));
      return difference;
    }
    grubby_ = true;
    KFAB_TRY_VOID(check_grubby(difference));
    return difference;
  }

  Status apply(const Difference&) override {
    if (grubby_) {
      const auto result = context_.run({"grubby", "--update-kernel=ALL", (absent_ ? "--remove-args=" : "--args=") + token_},
                                       grub_timeout_s);
      return result.success() ? ok() : Status(process_failure(code::boot_loader_failed, "grubby", result));
    }
    for (const auto& [path, text] : {std::pair{&own_path_, &own_text_}, std::pair{&default_path_, &default_text_}}) {
      if (!*text) continue;
      if (path == &own_path_) KFAB_TRY_VOID(make_directories(directory_of(*path)));
      NewFile file;
      file.path = *path;
      file.bytes = **text;
      if (path == &own_path_) file.ownership = own_file_ownership(0644);
      file.backup = path == &default_path_;   // the other one is kfab's
      file.validate = {"sh", "-n", "%s"};
      KFAB_TRY_VOID(replace_disk_file(file, context_));
    }
    const auto result = context_.run({"update-grub"}, grub_timeout_s);
    return result.success() ? ok() : Status(process_failure(code::boot_loader_failed, "update-grub", result));
  }

  // Of grub its files, from which the configuration is made; of grubby what each kernel is started with.
  std::vector<Place> places() const override {
    if (grubby_) return {};
    return {{.path = own_path_, .kind = Place::Kind::own_lines}, {.path = default_path_, .kind = Place::Kind::lines}};
  }
  Result<json::Value> snapshot() override {
    json::Object now;
    if (::access(config_path_.c_str(), F_OK) == 0) return json::Value(std::move(now));
    const auto result = context_.run({"grubby", "--info=ALL"}, 60);
    if (!result.success()) return process_failure(code::boot_loader_failed, "grubby --info", result);
    std::string kernel;
    for (const auto line : split_lines(result.out)) {
      if (line.starts_with("kernel=")) kernel = unquoted(line.substr(7));
      if (line.starts_with("args=") && !kernel.empty()) now.set(kernel, last_of(tokens_of(unquoted(line.substr(5)))).value_or("absent"));
    }
    return json::Value(std::move(now));
  }
  Status restore(const json::Value& before) override {
    for (const auto& [kernel, was] : before.as_object()->members()) {
      const auto token = scalar_text(was);
      std::vector<std::string> argv{"grubby", "--update-kernel=" + kernel, "--remove-args=" + name_};
      if (token != "absent") argv.back() = "--args=" + token;
      const auto result = context_.run(argv, grub_timeout_s);
      if (!result.success()) return process_failure(code::boot_loader_failed, "grubby", result);
    }
    return ok();
  }
  Status settle(const json::Value&) override {
    if (::access(config_path_.c_str(), F_OK) != 0) return ok();
    const auto result = context_.run({"update-grub"}, grub_timeout_s);
    return result.success() ? ok() : Status(process_failure(code::boot_loader_failed, "update-grub", result));
  }
  std::string reboot_after_undo(const json::Value& before) const override {
    const auto live = read_file(context_.node.at("/proc/cmdline"), 65536);
    std::optional<std::string> next;
    if (const auto config = read_file(config_path_, std::size_t{4} << 20)) {
      for (const auto line : split_lines(*config))
        if (const auto tokens = tokens_of(line); tokens.size() > 1 && (tokens[0] == "linux" || tokens[0] == "linuxefi")) {
          next = last_of(tokens);
          break;
        }
    } else if (const auto& kernels = before.as_object()->members(); !kernels.empty() && scalar_text(kernels.front().second) != "absent") {
      next = scalar_text(kernels.front().second);
    }
    const auto now = live ? last_of(tokens_of(*live)) : std::nullopt;
    return now == next ? "" : fmt::format("the running kernel was started {}", now ? "with " + one_line(*now, 80) : "without " + one_line(name_, 80));
  }

  std::string reboot_reason() const override {
    if (is_right(live_)) return {};
    return absent_ ? fmt::format("the running kernel was started with {}", one_line(*live_, 80))
                   : fmt::format("the running kernel was started {}", live_ ? fmt::format("with {} and not {}", one_line(*live_, 80), token_)
                                                                            : fmt::format("without {}", token_));
  }

 private:
  // The one that counts: the last.
  std::optional<std::string> last_of(const std::vector<std::string>& tokens) const {
    const auto it = std::find_if(tokens.rbegin(), tokens.rend(), [&](const std::string& token) { return name_of(token) == name_; });
    return it == tokens.rend() ? std::nullopt : std::optional(*it);
  }
  static std::string_view unquoted(std::string_view text) {
    return text.size() >= 2 && text.front() == '"' && text.back() == '"' ? text.substr(1, text.size() - 2) : text;
  }
  bool is_right(const std::optional<std::string>& token) const { return absent_ ? !token : token == token_; }
  void compare(std::string_view what, const std::optional<std::string>& now, Difference& difference) const {
    if (!is_right(now))
      difference.changes.push_back({std::string(what), one_line(now.value_or("absent"), 80), absent_ ? "absent" : token_});
  }

  Status check_files(Difference& difference) {
    own_text_.reset();
    default_text_.reset();
    KFAB_TRY(own, read_disk_file(own_path_));
    auto lines = lines_of(own.bytes);
    std::optional<std::string> kept;
    const auto ours = [&](const std::string& line) {
      return line.starts_with(own_prefix) && line.ends_with("\"") &&
             name_of(std::string_view(line).substr(own_prefix.size(), line.size() - own_prefix.size() - 1)) == name_;
    };
    for (const auto& line : lines)
      if (ours(line)) kept = line.substr(own_prefix.size(), line.size() - own_prefix.size() - 1);
    compare("boot loader", kept, difference);
    if (own.exists && !absent_)
      for (auto& change : ownership_changes(own_file_ownership(0644), own.status)) {
        change.what = "boot loader file " + change.what;
        difference.changes.push_back(std::move(change));
        own_text_ = own.bytes;
      }
    if (!is_right(kept)) {
      lines.erase(std::remove_if(lines.begin(), lines.end(), ours), lines.end());
      if (lines.empty()) lines.emplace_back(written_by_kfab);
      if (!absent_) lines.push_back(std::string(own_prefix) + token_ + "\"");
      own_text_ = text_of(lines);
    }
    return absent_ ? check_default(difference) : ok();
  }

  // What shall be absent may have been set where everybody sets it.
  Status check_default(Difference& difference) {
    KFAB_TRY(found, read_disk_file(default_path_));
    auto lines = lines_of(found.bytes);
    for (auto& line : lines) {
      const auto quote = line.find('"');
      if (!line.starts_with("GRUB_CMDLINE_LINUX") || quote == std::string::npos || !line.ends_with("\"") || line.size() < quote + 2) continue;
      std::vector<std::string> kept;
      const auto tokens = tokens_of(std::string_view(line).substr(quote + 1, line.size() - quote - 2));
      for (const auto& token : tokens)
        if (name_of(token) != name_) kept.push_back(token);
      if (kept.size() == tokens.size()) continue;
      difference.changes.push_back({default_path_, one_line(line, 120), "without " + name_});
      line = line.substr(0, quote + 1) + join(kept, " ") + "\"";
      default_text_ = "";
    }
    if (default_text_) default_text_ = text_of(lines);
    return ok();
  }

  // Every entry that boots Linux must have it: a run that was cut after the files leaves this to the next.
  Status check_config(Difference& difference) const {
    KFAB_TRY(config, read_file(config_path_, std::size_t{4} << 20));
    for (const auto line : split_lines(config)) {
      const auto tokens = tokens_of(line);
      if (tokens.size() < 2 || (tokens[0] != "linux" && tokens[0] != "linuxefi")) continue;
      const auto now = last_of(tokens);
      if (is_right(now)) continue;
      compare("next boot", now, difference);
      return ok();
    }
    return ok();
  }

  Status check_grubby(Difference& difference) const {
    const auto result = context_.run({"grubby", "--info=ALL"}, 60);
    if (result.end == ProcessResult::End::not_found)
      return error(code::boot_loader_unknown, "the node has neither /boot/grub/grub.cfg nor grubby");
    if (!result.success()) return process_failure(code::boot_loader_failed, "grubby --info", result);
    for (const auto line : split_lines(result.out)) {
      if (!line.starts_with("args=")) continue;
      auto text = line.substr(5);
      if (text.size() >= 2 && text.front() == '"') text = text.substr(1, text.size() - 2);
      const auto now = last_of(tokens_of(text));
      if (is_right(now)) continue;
      compare("next boot", now, difference);
      return ok();
    }
    return ok();
  }

  ResourceContext context_;
  std::string name_, value_;
  bool absent_;
  std::string own_path_, default_path_, config_path_, token_;
  bool grubby_ = false;
  std::optional<std::string> live_, own_text_, default_text_;   // a text: what the file is to be
};

}  // namespace

std::unique_ptr<Resource> make_kernel_argument(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<KernelArgumentResource>(attributes, context);
}

}  // namespace kfab::agent
