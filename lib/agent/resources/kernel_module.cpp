#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr double modprobe_timeout_s = 120;
constexpr double ramdisk_timeout_s = 900;

bool is_module_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

// The kernel writes '_' where file names may have '-'.
std::string kernel_name(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

bool is_there(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// A kernel module: loaded now and at boot, with options; or kept from being loaded. What a running kernel has loaded is
// never taken out of it: that is what the reboot is for.
class KernelModuleResource final : public Resource {
 public:
  KernelModuleResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context),
        name_(attributes.string_or("name")),
        options_(one_line(attributes.string_or("options"), 1024)),
        absent_(attributes.string_or("state") == "absent"),
        blacklist_(attributes.bool_or("blacklist", false)),
        ramdisk_(attributes.bool_or("ramdisk", false)),
        load_file_(context.node.at(fmt::format("/etc/modules-load.d/kfab-{}.conf", name_)), "at boot"),
        conf_file_(context.node.at(fmt::format("/etc/modprobe.d/kfab-{}.conf", name_)),
                   blacklist_ ? "blacklist" : "options") {
    const std::string head = std::string(written_by_kfab) + "\n";
    if (absent_ || blacklist_) load_file_.want_absent();
    else load_file_.want(head + name_ + "\n");
    // `blacklist` stops only what loads by a device's id; `install` also what asks for it by name.
    if (blacklist_ && !absent_) conf_file_.want(fmt::format("{}blacklist {}\ninstall {} /bin/false\n", head, name_, name_));
    else if (!options_.empty() && !absent_) conf_file_.want(fmt::format("{}options {} {}\n", head, name_, options_));
    else conf_file_.want_absent();
  }

  Result<Difference> check() override {
    if (!is_module_name(name_))
      return error(code::agent_bad_request, fmt::format("'{}' is no name of a kernel module", one_line(name_, 80)));
    Difference difference;
    loaded_ = is_there(sys_path());
    KFAB_TRY_VOID(conf_file_.check(difference));
    KFAB_TRY_VOID(load_file_.check(difference));
    load_ = !absent_ && !blacklist_ && !loaded_ && !built_in();
    if (load_) difference.changes.push_back({"live", "not loaded", "loaded"});
    rebuild_ = ramdisk_is_older();
    if (rebuild_) difference.changes.push_back({"initial ramdisk", "older than the file", "made anew"});
    stale_options_ = !absent_ && !blacklist_ && loaded_ ? options_not_live() : std::string();
    return difference;
  }

  Status apply(const Difference&) override {
    if (conf_file_.differs()) KFAB_TRY_VOID(conf_file_.apply(context_));
    if (load_file_.differs()) KFAB_TRY_VOID(load_file_.apply(context_));
    if (load_) {
      const auto result = context_.run({"modprobe", "--", name_}, modprobe_timeout_s);
      if (!result.success()) {
        Diagnostic problem = process_failure(code::module_failed, "modprobe " + name_, result);
        if (problem.code == code::module_failed && result.err.find("not found in directory") != std::string::npos)
          problem.code = code::module_unknown;
        return problem;
      }
    }
    return rebuild_ || (ramdisk_ && conf_file_.differs()) ? rebuild_ramdisk() : ok();
  }

  std::vector<Place> places() const override { return {{.path = conf_file_.path()}, {.path = load_file_.path()}}; }
  Status settle(const json::Value&) override { return ramdisk_ ? rebuild_ramdisk() : ok(); }
  Result<json::Value> snapshot() override { return json::Value(json::Object{{"~loaded", is_there(sys_path()) ? "yes" : "no"}}); }
  std::string reboot_after_undo(const json::Value& before) const override {
    return is_there(sys_path()) && before.string_or("~loaded") == "no" ? fmt::format("{} stays loaded until the next boot", name_) : "";
  }

  std::string reboot_reason() const override {
    if (absent_) return {};
    if (blacklist_ && loaded_) return fmt::format("the kernel still has {} loaded", name_);
    if (!stale_options_.empty()) return fmt::format("{} is loaded with {}", name_, stale_options_);
    return {};
  }

 private:
  std::string sys_path() const { return context_.node.at("/sys/module/" + kernel_name(name_)); }

  static std::string release() {
    utsname kernel{};
    return ::uname(&kernel) == 0 ? kernel.release : "";
  }

  bool built_in() const {
    const auto list = read_file(context_.node.at("/lib/modules/" + release() + "/modules.builtin"), std::size_t{4} << 20);
    if (!list) return false;
    for (const auto line : split_lines(*list)) {   // kernel/drivers/block/loop.ko
      auto file = line.substr(line.rfind('/') + 1);
      if (kernel_name(std::string(file.substr(0, file.find('.')))) == kernel_name(name_)) return true;
    }
    return false;
  }

  // The declared options that the loaded module has otherwise, as far as it shows them.
  std::string options_not_live() const {
    std::string different;
    for (const auto& option : split(options_, ' ')) {
      const auto equals = option.find('=');
      if (equals == std::string::npos) continue;
      const auto live = read_file(sys_path() + "/parameters/" + kernel_name(option.substr(0, equals)), 4096);
      if (!live) continue;
      std::string now(trim(*live)), wanted = option.substr(equals + 1);
      for (auto* text : {&now, &wanted}) {   // truth is 1, y or Y to whoever writes it, and Y to whoever reads
        if (*text == "1" || *text == "y") *text = "Y";
        if (*text == "0" || *text == "n") *text = "N";
      }
      if (now != wanted)
        different += fmt::format("{}{}={}", different.empty() ? "" : " ", option.substr(0, equals), one_line(trim(*live), 40));
    }
    return different;
  }

  // The image of the running kernel, by the names of Debian and of Red Hat.
  std::string ramdisk_image() const {
    for (const auto& name : {"/boot/initrd.img-" + release(), "/boot/initramfs-" + release() + ".img"})
      if (is_there(context_.node.at(name))) return context_.node.at(name);
    return {};
  }

  bool ramdisk_is_older() const {
    if (!ramdisk_ || absent_) return false;
    const auto image = ramdisk_image();
    struct stat image_found {}, file_found {};
    if (image.empty() || ::stat(image.c_str(), &image_found) != 0) return false;
    if (::stat(conf_file_.path().c_str(), &file_found) != 0) return false;   // it will be older once the file is there
    const auto &a = image_found.st_mtim, &b = file_found.st_mtim;
    return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
  }

  Status rebuild_ramdisk() const {
    const auto image = ramdisk_image();
    if (image.empty()) return ok();   // nothing that could load the module before the root file system does
    const bool debian = image.find("/initrd.img-") != std::string::npos;
    const auto result = debian ? context_.run({"update-initramfs", "-u", "-k", release()}, ramdisk_timeout_s)
                               : context_.run({"dracut", "-f", image, release()}, ramdisk_timeout_s);
    if (result.success()) return ok();
    return process_failure(code::module_failed, debian ? "update-initramfs" : "dracut", result);
  }

  ResourceContext context_;
  std::string name_, options_;
  bool absent_, blacklist_, ramdisk_;
  OwnFile load_file_, conf_file_;
  bool loaded_ = false, load_ = false, rebuild_ = false;
  std::string stale_options_;
};

}  // namespace

std::unique_ptr<Resource> make_kernel_module(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<KernelModuleResource>(attributes, context);
}

}  // namespace kfab::agent
