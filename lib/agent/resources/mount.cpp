#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "agent/resources/mount_table.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr double mount_timeout_s = 120;

// Options that every file system shows among those it is mounted with, so that a difference can be told.
constexpr std::array told_options{"ro", "rw", "noatime", "relatime", "nosuid", "nodev", "noexec"};

bool has_option(const std::string& options, std::string_view name) {
  const auto list = split(options, ',');
  return std::find(list.begin(), list.end(), name) != list.end();
}

// A file system at its place: now, and in /etc/fstab for the next boot. Nothing that others mounted is taken away, no
// device that is in use elsewhere is touched, and no file system is made.
class MountResource final : public Resource {
 public:
  MountResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context),
        state_(attributes.string_or("state", "mounted")),
        backup_(attributes.bool_or("backup", true)),
        fstab_path_(context.node.at("/etc/fstab")) {
    wanted_.device = attributes.string_or("device");
    wanted_.path = attributes.string_or("path");
    while (wanted_.path.size() > 1 && wanted_.path.ends_with('/')) wanted_.path.pop_back();
    wanted_.type = attributes.string_or("fstype");
    wanted_.options = attributes.string_or("options", "defaults");
    wanted_.pass = fmt::format("{}", attributes.int_or("pass", 0));
  }

  Result<Difference> check() override {
    if (state_ != "absent" && (wanted_.device.empty() || wanted_.type.empty()))
      return error(code::agent_bad_request, "a mount without device or fstype");
    Difference difference;
    KFAB_TRY_VOID(check_fstab(difference));
    KFAB_TRY(mounts, mounts_of(context_.node));
    const auto here = std::find_if(mounts.rbegin(), mounts.rend(), [&](const Mounted& mount) { return mount.path == wanted_.path; });
    mounted_ = here != mounts.rend();
    remount_ = false;
    if (state_ == "absent") {
      if (mounted_) difference.changes.push_back({"mounted", one_line(here->device, 80), "absent"});
      return difference;
    }
    const std::string device = real_device(wanted_.device, context_.node);
    if (mounted_) {
      const bool pseudo = wanted_.type == "tmpfs" || wanted_.type == "none";
      if (!pseudo && real_device(here->device, context_.node) != device)
        return error(code::mount_refused, fmt::format("{} is mounted on {} already", one_line(here->device, 80), one_line(wanted_.path)));
      compare_options(here->options, difference);
      return difference;
    }
    KFAB_TRY_VOID(may_mount(device, mounts));
    difference.changes.push_back({"mounted", "absent", one_line(wanted_.device, 80)});
    return difference;
  }

  Status apply(const Difference&) override {
    if (state_ == "absent") {
      if (mounted_) KFAB_TRY_VOID(run({"umount", "--", wanted_.path}));
      return fstab_text_ ? write_fstab() : ok();
    }
    if (!mounted_) KFAB_TRY_VOID(make_directories(context_.node.at(wanted_.path)));
    if (fstab_text_) KFAB_TRY_VOID(write_fstab());
    if (remount_) return run({"mount", "-o", "remount," + wanted_.options, "--", wanted_.path});
    if (mounted_) return ok();
    return run({"mount", "-t", wanted_.type, "-o", wanted_.options, "--", wanted_.device, wanted_.path});
  }

  std::vector<Place> places() const override {
    return {{.path = context_.node.at(wanted_.path), .kind = Place::Kind::mount_point}, {.path = fstab_path_, .kind = Place::Kind::lines, .copies = backup_}};
  }
  Result<json::Value> snapshot() override {
    KFAB_TRY(mounts, mounts_of(context_.node));
    const auto here = std::find_if(mounts.rbegin(), mounts.rend(), [&](const Mounted& mount) { return mount.path == wanted_.path; });
    if (here == mounts.rend()) return json::Value(json::Object{{"mounted", "no"}, {"options", ""}});
    std::string told;
    for (const std::string_view option : told_options)
      if (has_option(here->options, option)) told += (told.empty() ? "" : ",") + std::string(option);
    return json::Value(json::Object{{"mounted", fmt::format("{} {}", here->type, here->device)}, {"options", told}});
  }
  Status restore(const json::Value& before) override {
    const auto mounted = before.string_or("mounted");
    if (mounted == "no") return run({"umount", "--", wanted_.path});
    const auto options = before.string_or("options");
    if (!mounted.empty()) {
      const auto blank = mounted.find(' ');
      return run({"mount", "-t", mounted.substr(0, blank), "-o", options.empty() ? "defaults" : options, "--", mounted.substr(blank + 1), wanted_.path});
    }
    // Each that was not there has a word that takes it back.
    std::string all = "remount," + options;
    for (const auto& [option, opposite] : {std::pair{"nosuid", "suid"}, {"nodev", "dev"}, {"noexec", "exec"}, {"noatime", "atime"}})
      if (!has_option(options, option) && !(std::string_view(option) == "noatime" && has_option(options, "relatime"))) all += std::string(",") + opposite;
    return run({"mount", "-o", all, "--", wanted_.path});
  }

 private:
  Status check_fstab(Difference& difference) {
    fstab_text_.reset();
    KFAB_TRY(found, read_disk_file(fstab_path_));
    auto lines = lines_of(found.bytes);
    std::vector<std::string> kept;
    bool there = false, differs = false;
    for (auto& line : lines) {
      FstabEntry entry;
      if (!parse_fstab_line(line, entry) || entry.path != wanted_.path) {
        kept.push_back(std::move(line));
        continue;
      }
      if (state_ == "absent" || there) {   // of two at one place the later would cover the first
        difference.changes.push_back({"at boot", one_line(line, 120), "absent"});
        differs = true;
        continue;
      }
      there = true;
      wanted_.dump = entry.dump;
      const bool same = entry.device == wanted_.device && entry.type == wanted_.type && entry.options == wanted_.options && entry.pass == wanted_.pass;
      kept.push_back(same ? line : fstab_line(wanted_));
      if (same) continue;
      difference.changes.push_back({"at boot", one_line(line, 120), one_line(fstab_line(wanted_), 120)});
      differs = true;
    }
    if (!there && state_ != "absent") {
      difference.changes.push_back({"at boot", "absent", one_line(fstab_line(wanted_), 120)});
      kept.push_back(fstab_line(wanted_));
      differs = true;
    }
    if (differs) fstab_text_ = text_of(kept);
    return ok();
  }

  void compare_options(const std::string& live, Difference& difference) {
    std::string missing;
    for (const std::string_view option : told_options)
      if (has_option(wanted_.options, option) && !has_option(live, option)) missing += (missing.empty() ? "" : ",") + std::string(option);
    if (missing.empty()) return;
    remount_ = true;
    difference.changes.push_back({"options", "without " + missing, "with " + missing});
  }

  Status may_mount(const std::string& device, const std::vector<Mounted>& mounts) const {
    const auto refuse = [](std::string message) { return Status(error(code::mount_refused, std::move(message))); };
    if (device.starts_with("/dev/")) {
      for (const auto& mount : mounts)
        if (real_device(mount.device, context_.node) == device)
          return refuse(fmt::format("{} is mounted on {}", one_line(device, 80), one_line(mount.path, 120)));
      KFAB_TRY(swaps, swaps_of(context_.node));
      for (const auto& swap : swaps)
        if (real_device(swap, context_.node) == device) return refuse(fmt::format("{} is used as swap", one_line(device, 80)));
    }
    std::error_code problem;
    const auto place = context_.node.at(wanted_.path);
    if (std::filesystem::is_directory(place, problem) && !std::filesystem::is_empty(place, problem) && !problem)
      return refuse(fmt::format("{} holds files, which the mount would hide", one_line(wanted_.path)));
    return ok();
  }

  Status write_fstab() const {
    NewFile file;
    file.path = fstab_path_;
    file.bytes = *fstab_text_;
    file.backup = backup_;
    return replace_disk_file(file, context_);
  }

  Status run(std::vector<std::string> argv) const {
    const auto result = context_.run(argv, mount_timeout_s);
    if (result.success()) return ok();
    return process_failure(code::mount_failed, fmt::format("{} {}", argv.front(), one_line(wanted_.path, 120)), result);
  }

  ResourceContext context_;
  std::string state_;
  bool backup_;
  std::string fstab_path_;
  FstabEntry wanted_;
  bool mounted_ = false, remount_ = false;
  std::optional<std::string> fstab_text_;   // what /etc/fstab is to be; none: as it is
};

// Swap: none at all, or a device or file that was prepared for it. Lines of /etc/fstab that are taken out of use stay
// there as comments.
class SwapResource final : public Resource {
 public:
  SwapResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context),
        off_(attributes.string_or("state", "off") == "off"),
        device_(attributes.string_or("device")),
        backup_(attributes.bool_or("backup", true)),
        fstab_path_(context.node.at("/etc/fstab")) {}

  Result<Difference> check() override {
    if (!off_ && device_.empty()) return error(code::agent_bad_request, "swap that is on needs a device");
    KFAB_TRY(swaps, swaps_of(context_.node));
    Difference difference;
    const auto wanted = real_device(device_, context_.node);
    live_.clear();
    bool there = false;
    for (const auto& swap : swaps) {
      const bool it = device_.empty() || real_device(swap, context_.node) == wanted;
      there = there || it;
      if (it && off_) live_.push_back(swap);
    }
    for (const auto& swap : live_) difference.changes.push_back({"live", one_line(swap, 80), "off"});
    switch_on_ = !off_ && !there;
    if (switch_on_) difference.changes.push_back({"live", "off", one_line(device_, 80)});
    KFAB_TRY_VOID(check_fstab(wanted, difference));
    return difference;
  }

  Status apply(const Difference&) override {
    if (fstab_text_) {
      NewFile file;
      file.path = fstab_path_;
      file.bytes = *fstab_text_;
      file.backup = backup_;
      KFAB_TRY_VOID(replace_disk_file(file, context_));
    }
    for (const auto& swap : live_) KFAB_TRY_VOID(run({"swapoff", "--", swap}));
    return switch_on_ ? run({"swapon", "--", device_}) : ok();
  }

  std::vector<Place> places() const override { return {{.path = fstab_path_, .kind = Place::Kind::lines, .copies = backup_}}; }
  // The devices that are swapped to, of those that the role means.
  Result<json::Value> snapshot() override {
    KFAB_TRY(swaps, swaps_of(context_.node));
    std::vector<std::string> on;
    for (const auto& swap : swaps)
      if (device_.empty() || real_device(swap, context_.node) == real_device(device_, context_.node)) on.push_back(swap);
    std::sort(on.begin(), on.end());
    return json::Value(json::Object{{"swap", on.empty() ? "off" : join(on, "\n")}});
  }
  Status restore(const json::Value& before) override {
    const auto was = before.string_or("swap");
    KFAB_TRY(swaps, swaps_of(context_.node));
    const auto wanted = was == "off" ? std::vector<std::string>{} : split(was, '\n');
    for (const auto& swap : wanted)
      if (std::find(swaps.begin(), swaps.end(), swap) == swaps.end()) KFAB_TRY_VOID(run({"swapon", "--", swap}));
    if (wanted.empty() && !device_.empty()) return run({"swapoff", "--", device_});
    return ok();
  }

 private:
  Status check_fstab(const std::string& wanted, Difference& difference) {
    fstab_text_.reset();
    KFAB_TRY(found, read_disk_file(fstab_path_));
    auto lines = lines_of(found.bytes);
    bool there = false, differs = false;
    for (auto& line : lines) {
      FstabEntry entry;
      if (!parse_fstab_line(line, entry) || entry.type != "swap") continue;
      if (!device_.empty() && real_device(entry.device, context_.node) != wanted) continue;
      there = true;
      if (!off_) continue;
      difference.changes.push_back({"at boot", one_line(line, 120), "off"});
      line = "# kfab: swap is off: " + line;
      differs = true;
    }
    if (!off_ && !there) {
      FstabEntry entry{device_, "none", "swap", "sw"};
      difference.changes.push_back({"at boot", "absent", one_line(fstab_line(entry), 120)});
      lines.push_back(fstab_line(entry));
      differs = true;
    }
    if (differs) fstab_text_ = text_of(lines);
    return ok();
  }

  // Taking pages back into memory may take long.
  Status run(const std::vector<std::string>& argv) const {
    const auto result = context_.run(argv, 600);
    if (result.success()) return ok();
    return process_failure(code::swap_failed, fmt::format("{} {}", argv.front(), one_line(argv.back(), 120)), result);
  }

  ResourceContext context_;
  bool off_;
  std::string device_;
  bool backup_;
  std::string fstab_path_;
  std::vector<std::string> live_;
  bool switch_on_ = false;
  std::optional<std::string> fstab_text_;
};

}  // namespace

std::unique_ptr<Resource> make_mount(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<MountResource>(attributes, context);
}

std::unique_ptr<Resource> make_swap(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<SwapResource>(attributes, context);
}

}  // namespace kfab::agent
