#include <array>

#include "base/text.hpp"
#include "manifest/resource_tables.hpp"

// Resources of the kernel, of booting, of memory and of file systems.
namespace kfab::manifest {
namespace {

using enum AttributeType;

constexpr AttributeSpec backup{"backup", boolean, false, "", "true", "keep a copy of what is replaced or removed"};

constexpr std::array kernel_module_attributes{
    AttributeSpec{"name", string, true, "", "", "the module: ib_umad, nvidia_peermem"},
    AttributeSpec{"options", string, false, "", "none", "its parameters: \"NVreg_RestrictProfilingToAdminUsers=0\""},
    AttributeSpec{"blacklist", boolean, false, "", "false",
                  "keep it from being loaded, by whatever asks; a node that has it loaded needs a reboot, and says so"},
    AttributeSpec{"ramdisk", boolean, false, "", "false", "make the initial ramdisk anew, for modules that are loaded from there"},
    AttributeSpec{"state", string, false, "present|absent", "present", "as declared, or left to the distribution"},
};

constexpr std::array kernel_argument_attributes{
    AttributeSpec{"name", string, true, "", "", "the argument's name: iommu, default_hugepagesz"},
    AttributeSpec{"value", scalar, false, "", "none", "what stands behind the '='"},
    AttributeSpec{"state", string, false, "present|absent", "present", "on the command line, or not"},
};

constexpr std::array hugepages_attributes{
    AttributeSpec{"count", integer, true, "", "", "how many pages; 0 for none"},
    AttributeSpec{"size_kib", integer, false, "", "2048", "the size of one: 2048, or 1048576 for a gibibyte"},
};

constexpr std::array drop_in_attributes{
    AttributeSpec{"unit", string, true, "", "", "the systemd unit; a name without a kind is a service's"},
    AttributeSpec{"name", string, false, "", "60-kfab", "the file's name, without .conf"},
    AttributeSpec{"content", string, false, "", "", "the settings, with their [Section]"},
    AttributeSpec{"state", string, false, "present|absent", "present", "there, or removed"},
    backup,
};

constexpr std::array mount_attributes{
    AttributeSpec{"path", path, true, "", "", "where it is mounted; the directory is made"},
    AttributeSpec{"device", string, false, "", "", "what is mounted: UUID=..., /dev/md/scratch, server:/export, tmpfs"},
    AttributeSpec{"fstype", string, false, "", "", "xfs, ext4, nfs, tmpfs"},
    AttributeSpec{"options", string, false, "", "defaults", "as in /etc/fstab"},
    AttributeSpec{"pass", integer, false, "", "0", "when fsck looks at it; 0 is never"},
    AttributeSpec{"state", string, false, "mounted|absent", "mounted", "now and at boot, or neither"},
    backup,
};

constexpr std::array swap_attributes{
    AttributeSpec{"state", string, true, "on|off", "", "whether the kernel swaps, now and after the next boot"},
    AttributeSpec{"device", path, false, "", "all, to switch off", "a device or file prepared by mkswap"},
    backup,
};

constexpr std::array reboot_attributes{
    AttributeSpec{"when", string, false, "needed|changed", "needed",
                  "needed: something before it runs only after a reboot, or the system's packages wait for one; changed: one that `after` names was changed since the last boot"},
    AttributeSpec{"unless", command, false, "", "", "in place of when: due where this fails; it only reads"},
    AttributeSpec{"reason", string, false, "", "what was found", "why, in words for whoever has to agree to it"},
};

void check_name(const json::Value& attributes, std::string_view more, std::vector<ResourceProblem>& problems) {
  const std::string name = attributes.string_or("name");
  if (is_known(name) && !name.empty() && !made_of(name, more))
    problems.push_back({"name", "the name holds other characters than letters, digits and " + std::string(more)});
}

void check_kernel_module(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  check_name(attributes, "-_", problems);
  const std::string options = attributes.string_or("options");
  if (options.find('\n') != std::string::npos) problems.push_back({"options", "options are one line"});
  if (!options.empty() && attributes.bool_or("blacklist", false))
    problems.push_back({"options", "a module that shall not be loaded has no options"});
}

void check_kernel_argument(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  check_name(attributes, "._-", problems);
  const std::string value = attributes.string_or("value");
  if (is_known(value) && !value.empty() && !made_of(value, "._-,:=@/+"))
    problems.push_back({"value", "a kernel argument holds letters, digits and . _ - , : = @ / + only"});
}

void check_hugepages(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  if (const auto count = attributes["count"].as_int(); count && (*count < 0 || *count > 1'000'000'000))
    problems.push_back({"count", "expected 0 to 1000000000 pages"});
  if (const auto size = attributes["size_kib"].as_int(); size && (*size < 64 || *size > 16'777'216 || (*size & (*size - 1)) != 0))
    problems.push_back({"size_kib", "a page's size is a power of two: 2048 or 1048576 on x86"});
}

void check_drop_in(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  for (const auto* key : {"unit", "name"})
    if (attributes.string_or(key).find_first_of("/ ") != std::string::npos && is_known(attributes.string_or(key)))
      problems.push_back({key, "the names of units and of their drop-ins hold no '/' and no blank"});
  const bool absent = attributes.string_or("state") == "absent";
  if (absent == present(attributes, "content"))
    problems.push_back({absent ? "content" : "", absent ? "a drop-in that shall be absent has no content" : "say the settings: content"});
}

void check_mount(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  if (attributes.string_or("path") == "/") problems.push_back({"path", "the root file system is not kfab's to mount"});
  const bool absent = attributes.string_or("state") == "absent";
  for (const auto* key : {"device", "fstype"}) {
    if (!absent && !present(attributes, key)) problems.push_back({"", std::string("say what is mounted: ") + key});
    const std::string text = attributes.string_or(key);
    if (text.starts_with('-') || text.find('\n') != std::string::npos) problems.push_back({key, "this cannot be mounted"});
  }
  const std::string options = attributes.string_or("options");
  if (is_known(options) && options.find_first_of(" \t\n") != std::string::npos)
    problems.push_back({"options", "options are separated by commas, without blanks"});
  if (const auto pass = attributes["pass"].as_int(); pass && (*pass < 0 || *pass > 2))
    problems.push_back({"pass", "expected 0, 1 or 2"});
}

void check_swap(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  if (attributes.string_or("state") == "on" && !present(attributes, "device"))
    problems.push_back({"", "say what to swap to: device"});
}

void check_reboot(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  if (present(attributes, "when") && present(attributes, "unless"))
    problems.push_back({"unless", "say in one way when it is due: when or unless"});
}

constexpr std::array system_rows{
    ResourceRow{{"kernel_module", "a kernel module, loaded with its options, or kept from being loaded", "name", kernel_module_attributes}, check_kernel_module},
    ResourceRow{{"kernel_argument", "an argument of the kernel's command line, by grub", "name", kernel_argument_attributes}, check_kernel_argument},
    ResourceRow{{"hugepages", "large pages set aside, now and at boot", "size_kib", hugepages_attributes}, check_hugepages},
    ResourceRow{{"drop_in", "settings added to a systemd unit", "unit", drop_in_attributes}, check_drop_in},
    ResourceRow{{"mount", "a file system at its place, now and at boot", "path", mount_attributes}, check_mount},
    ResourceRow{{"swap", "swap, on or off", "state", swap_attributes}, check_swap},
    ResourceRow{{"reboot", "the boot that must come before the rest: what stands behind it is applied only afterwards", "when", reboot_attributes}, check_reboot},
};

}  // namespace

std::span<const ResourceRow> system_resource_rows() { return system_rows; }

}  // namespace kfab::manifest
