#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "agent/resources/mount_table.hpp"
#include "agent/resources/resource.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr double query_timeout_s = 60;
constexpr double make_timeout_s = 600;
constexpr std::string_view raid_member = "linux_raid_member";

struct Disk {
  std::string path, serial;
  bool mounted = false, has_parts = false;
  std::vector<std::string> arrays;   // names of arrays that lie on it
};

bool is_array_name(std::string_view name) {
  return !name.empty() && name.size() <= 32 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

// Striped scratch space over disks that the role names by their serial numbers. It is made once, over disks on which
// nothing is: no partition, no file system, no signature of anything, no mount. Nothing is ever wiped, and no force is
// used; what is found on a disk is for a person to judge.
class Raid0Resource final : public Resource {
 public:
  Raid0Resource(const json::Value& attributes, const ResourceContext& context)
      : context_(context),
        name_(attributes.string_or("name")),
        serials_(string_list(attributes["serials"])),
        fstype_(attributes.string_or("fstype", "xfs")),
        device_("/dev/md/" + name_) {}

  Result<Difference> check() override {
    if (!is_array_name(name_) || serials_.empty() || (fstype_ != "xfs" && fstype_ != "ext4"))
      return error(code::agent_bad_request, "an array needs a plain name, serials, and xfs or ext4");
    KFAB_TRY(disks, listed_disks());
    KFAB_TRY(chosen, choose(disks));
    members_ = chosen;
    Difference difference;
    make_ = assemble_ = format_ = false;
    std::size_t in_array = 0, ours = 0, blank = 0;
    for (const auto& disk : members_) {
      if (std::find(disk.arrays.begin(), disk.arrays.end(), name_) != disk.arrays.end()) {
        ++in_array;
        continue;
      }
      KFAB_TRY(state, judge(disk));
      ++(state == State::blank ? blank : ours);
    }
    if (in_array == members_.size()) {
      KFAB_TRY(signatures, signatures_of(device_));
      if (signatures.empty()) {
        format_ = true;
        difference.changes.push_back({"file system", "none", fstype_});
      } else if (signatures != std::vector<std::string>{fstype_}) {
        return error(code::disk_refused, fmt::format("{} holds {}, not {}", device_, one_line(join(signatures, ", "), 80), fstype_));
      }
      return difference;
    }
    if (blank != members_.size() && ours != members_.size())
      return error(code::disk_refused, fmt::format("of the {} disks {} run in the array, {} belong to it and {} are empty: not all the same",
                                                   members_.size(), in_array, ours, blank));
    assemble_ = ours > 0;
    make_ = !assemble_;
    difference.changes.push_back({"array", assemble_ ? "not running" : "absent", fmt::format("RAID 0 of {} disks", members_.size())});
    if (make_) difference.changes.push_back({"file system", "none", fstype_});
    return difference;
  }

  Status apply(const Difference&) override {
    std::vector<std::string> paths;
    for (const auto& disk : members_) paths.push_back(disk.path);
    if (assemble_) {
      std::vector<std::string> argv{"mdadm", "--assemble", device_};
      argv.insert(argv.end(), paths.begin(), paths.end());
      return run(argv);
    }
    if (make_) {
      // --run answers the questions that mdadm asks of a terminal; what they ask about was looked at just now.
      std::vector<std::string> argv{"mdadm", "--create", device_, "--run", "--level=0", "--homehost=any", "--name=" + name_,
                                    fmt::format("--raid-devices={}", paths.size())};
      argv.insert(argv.end(), paths.begin(), paths.end());
      KFAB_TRY_VOID(run(argv));
      KFAB_TRY(signatures, signatures_of(device_));
      format_ = signatures.empty();
    }
    // mkfs without -f refuses by itself where it finds something.
    if (format_) KFAB_TRY_VOID(run({"mkfs." + fstype_, device_}));
    return ok();
  }

 private:
  enum class State { blank, ours };

  Result<json::Value> json_of(std::vector<std::string> argv) const {
    const std::string program = argv.front();
    const auto result = context_.run(std::move(argv), query_timeout_s);
    if (!result.success()) return process_failure(code::raid_failed, program, result);
    if (trim(result.out).empty()) return json::Value();   // wipefs of a disk without anything prints nothing
    auto parsed = json::parse(result.out);
    if (parsed) return parsed;
    return error(code::raid_failed, program + " gives no readable JSON");
  }

  Result<std::vector<Disk>> listed_disks() const {
    KFAB_TRY(listing, json_of({"lsblk", "-J", "-o", "NAME,PATH,SERIAL,TYPE,MOUNTPOINTS"}));
    std::vector<Disk> disks;
    for (const auto& device : listing.array_at("blockdevices")) {
      if (device.string_or("type") != "disk") continue;
      Disk disk{device.string_or("path"), std::string(trim(device.string_or("serial"))), is_mounted(device), false, {}};
      for (const auto& child : device.array_at("children")) {
        if (!child.string_or("type").starts_with("raid")) disk.has_parts = true;
        else if (const auto name = array_name(child); !name.empty()) disk.arrays.push_back(name);
        else disk.has_parts = true;
      }
      disks.push_back(std::move(disk));
    }
    return disks;
  }

  // The array is known by the name that was given to it; the kernel calls it md127.
  std::string array_name(const json::Value& child) const {
    std::error_code problem;
    const auto real = [&](const std::string& path) { return std::filesystem::canonical(context_.node.at(path), problem).string(); };
    const auto mine = real(device_);
    return !mine.empty() && mine == real(child.string_or("path")) ? name_ : "";
  }

  static bool is_mounted(const json::Value& device) {
    for (const auto& place : device.array_at("mountpoints"))
      if (place.is_string()) return true;
    return false;
  }

  // Exactly one disk for each serial, and none twice.
  Result<std::vector<Disk>> choose(const std::vector<Disk>& disks) const {
    std::vector<Disk> chosen;
    std::set<std::string> seen;
    for (const auto& serial : serials_) {
      std::vector<Disk> found;
      std::copy_if(disks.begin(), disks.end(), std::back_inserter(found), [&](const Disk& disk) { return !serial.empty() && disk.serial == serial; });
      if (found.size() != 1 || !seen.insert(serial).second)
        return error(code::disk_refused, found.empty()     ? fmt::format("the node has no disk with the serial {}", one_line(serial, 60))
                                         : found.size() > 1 ? fmt::format("{} disks have the serial {}", found.size(), one_line(serial, 60))
                                                            : fmt::format("the serial {} is declared twice", one_line(serial, 60)));
      chosen.push_back(std::move(found.front()));
    }
    return chosen;
  }

  // Empty, or a part of this very array that does not run; anything else is refused.
  Result<State> judge(const Disk& disk) const {
    const auto refuse = [&](const std::string& why) { return error(code::disk_refused, fmt::format("the disk {} ({}) {}", one_line(disk.serial, 60), one_line(disk.path, 60), why)); };
    if (!disk.path.starts_with("/dev/")) return refuse("has no device");
    if (disk.mounted) return refuse("is mounted");
    if (disk.has_parts || !disk.arrays.empty()) return refuse("has partitions, or something else lies on it");
    KFAB_TRY(swaps, swaps_of(context_.node));
    for (const auto& swap : swaps)
      if (real_device(swap, context_.node) == disk.path) return refuse("is used as swap");
    KFAB_TRY(signatures, signatures_of(disk.path));
    if (signatures.empty()) return State::blank;
    if (signatures != std::vector<std::string>{std::string(raid_member)})
      return refuse("holds " + one_line(join(signatures, ", "), 80));
    const auto result = context_.run({"mdadm", "--examine", "--export", disk.path}, query_timeout_s);
    if (!result.success()) return process_failure(code::raid_failed, "mdadm --examine", result);
    std::string level, name;
    for (const auto line : split_lines(result.out)) {
      if (line.starts_with("MD_LEVEL=")) level = line.substr(9);
      if (line.starts_with("MD_NAME=")) name = line.substr(8);
    }
    name = name.substr(name.rfind(':') + 1);   // "any:scratch"
    if (level != "raid0" || name != name_) return refuse(fmt::format("belongs to the array '{}' ({})", one_line(name, 40), one_line(level, 20)));
    return State::ours;
  }

  Result<std::vector<std::string>> signatures_of(const std::string& device) const {
    KFAB_TRY(listing, json_of({"wipefs", "-n", "--json", device}));
    std::vector<std::string> types;
    for (const auto& signature : listing.array_at("signatures")) {
      const auto type = signature.string_or("type", "something");
      if (std::find(types.begin(), types.end(), type) == types.end()) types.push_back(type);
    }
    return types;
  }

  Status run(const std::vector<std::string>& argv) const {
    const auto result = context_.run(argv, make_timeout_s);
    if (result.success()) return ok();
    return process_failure(code::raid_failed, fmt::format("{} {}", argv[0], argv[1]), result);
  }

  ResourceContext context_;
  std::string name_;
  std::vector<std::string> serials_;
  std::string fstype_, device_;
  std::vector<Disk> members_;
  bool make_ = false, assemble_ = false, format_ = false;
};

}  // namespace

std::unique_ptr<Resource> make_raid0(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<Raid0Resource>(attributes, context);
}

}  // namespace kfab::agent
