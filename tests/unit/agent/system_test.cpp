#include <sys/stat.h>
#include <sys/utsname.h>

#include "unit/agent/converge.hpp"

#include "agent/resources/mount_table.hpp"

using namespace kfab;
using namespace kfab::agent::test;

namespace {

std::string release() {
  utsname kernel{};
  return ::uname(&kernel) == 0 ? kernel.release : "";
}

std::string reboot_of(const std::vector<json::Value>& records) {
  if (records.size() != 1) return "not one record";
  const auto reason = records[0].string_or("reboot_reason");
  return records[0].bool_or("reboot_required", false) == !reason.empty() ? reason : "contradicts itself";
}

constexpr const char* head = "# Written by kfab from the site's roles; changes here are undone.\n";

// grub over files: update-grub puts the words of /etc/default/grub and of grub.d onto the line of each kernel.
void install_fake_grub(Provisioner& node, const TemporaryDirectory& directory) {
  write(directory / "root/proc/cmdline", "BOOT_IMAGE=/vmlinuz root=UUID=1 quiet\n");
  write(directory / "root/etc/default/grub", "GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"\"\n");
  node.program("update-grub", R"sh(
echo update-grub >> "$FAKE/log"
[ -f "$FAKE/grub-fails" ] && { echo "cannot find a device for /" >&2; exit 1; }
root=$ROOT
. "$root/etc/default/grub"
for file in "$root"/etc/default/grub.d/*.cfg; do [ -f "$file" ] && . "$file"; done
printf 'menuentry {\n\tlinux\t/vmlinuz root=UUID=1 %s %s\n}\n' "$GRUB_CMDLINE_LINUX" "$GRUB_CMDLINE_LINUX_DEFAULT" > "$root/boot/grub/grub.cfg")sh");
  write(directory / "root/boot/grub/grub.cfg", "menuentry {\n\tlinux\t/vmlinuz root=UUID=1 quiet\n}\n");
}

}  // namespace

TEST_CASE("kernel_module: loaded now and at boot, with its options") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  node.program("modprobe", R"sh(
echo "$@" >> "$FAKE/log"
[ "$2" = no_such ] && { echo "modprobe: FATAL: Module no_such not found in directory /lib/modules/6.1" >&2; exit 1; }
mkdir -p "$ROOT/sys/module/ib_umad")sh");
  const auto umad = resource("kernel_module", R"({"name":"ib-umad"})");
  CHECK(converge(directory, node, umad) == "at boot: absent -> file of 74 bytes; live: not loaded -> loaded");
  CHECK(read(directory / "root/etc/modules-load.d/kfab-ib-umad.conf") == std::string(head) + "ib-umad\n");
  CHECK(read(directory / "fake/log") == "-- ib-umad\n");
  // Loaded already and declared with options that it does not have: right at boot, and not yet.
  write(directory / "root/sys/module/ib_umad/parameters/debug", "N\n");
  const auto with_options = resource("kernel_module", R"({"name":"ib-umad","options":"debug=1 depth=4"})");
  converge(directory, node, with_options);
  CHECK(read(directory / "root/etc/modprobe.d/kfab-ib-umad.conf") == std::string(head) + "options ib-umad debug=1 depth=4\n");
  CHECK(reboot_of(node.run("plan", with_options)) == "ib-umad is loaded with debug=N");
  write(directory / "root/sys/module/ib_umad/parameters/debug", "Y\n");
  CHECK(reboot_of(node.run("plan", with_options)).empty());
  CHECK(said(node.run("apply", resource("kernel_module", R"({"name":"no_such"})"))) == "failed KF3080");
  for (const auto* bad : {"../x", "a b", "a;b", ""})
    CHECK(said(node.run("apply", resource("kernel_module", std::string(R"({"name":")") + bad + "\"}"))).starts_with("failed"));
  write(directory / "root/lib/modules/" + release() + "/modules.builtin", "kernel/drivers/block/loop.ko\nkernel/fs/ext4/ext4.ko\n");
  CHECK(said(node.run("apply", resource("kernel_module", R"({"name":"loop"})"))) == "changed");   // the file only
  CHECK(said(node.run("apply", resource("kernel_module", R"({"name":"loop"})"))) == "in_sync");
  converge(directory, node, resource("kernel_module", R"({"name":"ib-umad","state":"absent"})"));
  CHECK_FALSE(std::filesystem::exists(directory / "root/etc/modules-load.d/kfab-ib-umad.conf"));
  CHECK_FALSE(std::filesystem::exists(directory / "root/etc/modprobe.d/kfab-ib-umad.conf"));
}

TEST_CASE("kernel_module: kept from being loaded, also from the initial ramdisk; loaded still, it says so") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto image = directory / ("root/boot/initrd.img-" + release());
  node.program("update-initramfs", "echo \"$@\" >> \"$FAKE/log\"; [ -f \"$FAKE/fails\" ] && exit 1; touch " + image);
  write(image, "old");
  std::filesystem::last_write_time(image, std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  std::filesystem::create_directories(directory / "root/sys/module/nouveau");
  const auto nouveau = resource("kernel_module", R"({"name":"nouveau","blacklist":true,"ramdisk":true})");
  // A run that is cut, or fails, between the file and the ramdisk leaves the rest to the next one.
  write(directory / "fake/fails", "");
  CHECK(said(node.run("apply", nouveau)) == "failed KF3081");
  std::filesystem::remove(directory / "fake/fails");
  CHECK(converge(directory, node, nouveau) == "initial ramdisk: older than the file -> made anew");
  CHECK(read(directory / "root/etc/modprobe.d/kfab-nouveau.conf") ==
        std::string(head) + "blacklist nouveau\ninstall nouveau /bin/false\n");
  CHECK(reboot_of(node.run("plan", nouveau)) == "the kernel still has nouveau loaded");
  CHECK(reboot_of(node.run("apply", nouveau)) == "the kernel still has nouveau loaded");
  std::filesystem::remove(directory / "root/sys/module/nouveau");   // as a reboot does it
  CHECK(reboot_of(node.run("plan", nouveau)).empty());
}

TEST_CASE("kernel_argument: in grub's configuration, and a reboot is asked for until the kernel has it") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_grub(node, directory);
  const auto iommu = resource("kernel_argument", R"({"name":"iommu","value":"pt"})");
  CHECK(reboot_of(node.run("plan", iommu)) == "the running kernel was started without iommu=pt");
  CHECK(converge(directory, node, iommu) == "boot loader: absent -> iommu=pt; next boot: absent -> iommu=pt");
  CHECK(reboot_of(node.run("apply", iommu)) == "the running kernel was started without iommu=pt");
  const auto hugepages = resource("kernel_argument", R"({"name":"transparent_hugepage","value":"never"})");
  converge(directory, node, hugepages);
  CHECK(read(directory / "root/etc/default/grub.d/60-kfab.cfg") ==
        std::string(head) + "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX iommu=pt\"\n"
                            "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX transparent_hugepage=never\"\n");
  CHECK(read(directory / "root/boot/grub/grub.cfg").find("iommu=pt transparent_hugepage=never quiet") != std::string::npos);
  REQUIRE(::chmod((directory / "root/etc/default/grub.d/60-kfab.cfg").c_str(), 0666) == 0);
  CHECK(converge(directory, node, iommu) == "boot loader file mode: 0666 -> 0644");
  write(directory / "root/proc/cmdline", "root=UUID=1 iommu=off iommu=pt transparent_hugepage=never quiet\n");
  CHECK(reboot_of(node.run("plan", iommu)).empty());   // of several the last counts
  CHECK(converge(directory, node, resource("kernel_argument", R"({"name":"iommu","value":"on"})")) ==
        "boot loader: iommu=pt -> iommu=on; next boot: iommu=pt -> iommu=on");
  CHECK(reboot_of(node.run("plan", resource("kernel_argument", R"({"name":"iommu","value":"on"})"))) ==
        "the running kernel was started with iommu=pt and not iommu=on");
  // A flag has no value; what somebody set in /etc/default/grub is taken out where it shall be absent.
  CHECK(converge(directory, node, resource("kernel_argument", R"({"name":"quiet","state":"absent"})")).find("without quiet") != std::string::npos);
  CHECK(read(directory / "root/etc/default/grub").find("GRUB_CMDLINE_LINUX_DEFAULT=\"\"\n") != std::string::npos);
  CHECK(backups(directory).size() == 1);
}

TEST_CASE("kernel_argument: what a cut run left is finished, what a shell would read is refused") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_grub(node, directory);
  const auto iommu = resource("kernel_argument", R"({"name":"iommu","value":"pt"})");
  write(directory / "fake/grub-fails", "");
  CHECK(said(node.run("apply", iommu)) == "failed KF3083");
  std::filesystem::remove(directory / "fake/grub-fails");
  CHECK(converge(directory, node, iommu) == "next boot: absent -> iommu=pt");
  for (const auto* bad : {"$(id)", "a b", "\\\"", "`id`", "a;b", "a\\nb"})
    CHECK(said(node.run("apply", resource("kernel_argument", std::string(R"({"name":"x","value":")") + bad + "\"}"))).starts_with("failed"));
  CHECK(said(node.run("apply", resource("kernel_argument", R"({"name":"x=1 y"})"))).starts_with("failed"));
  CHECK(read(directory / "root/etc/default/grub.d/60-kfab.cfg").find("x") == std::string::npos);
}

TEST_CASE("kernel_argument: by grubby, and without a boot loader that is known") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  write(directory / "root/proc/cmdline", "ro\n");
  write(directory / "fake/args", "");
  node.program("grubby", R"sh(
case $1 in
  --info=ALL) printf 'index=0\nargs="ro %s"\nindex=1\nargs="ro"\n' "$(cat "$FAKE/args")" | { [ -s "$FAKE/args" ] && sed "s/^args=\"ro\"/args=\"ro $(cat "$FAKE/args")\"/" || cat; };;
  --update-kernel=ALL) case $2 in --args=*) echo "${2#--args=}" > "$FAKE/args";; --remove-args=*) : > "$FAKE/args";; esac;;
esac)sh");
  CHECK(converge(directory, node, resource("kernel_argument", R"({"name":"iommu","value":"pt"})")) == "next boot: absent -> iommu=pt");
  std::filesystem::remove(directory / "bin/grubby");
  node.node.process_environment[0] = "PATH=" + (directory / "bin");
  CHECK(said(node.run("apply", resource("kernel_argument", R"({"name":"iommu","value":"pt"})"))) == "failed KF3082");
}

TEST_CASE("hugepages: now and at boot; fewer than asked for is not enough") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto live = directory / "root/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
  write(live, "0\n");
  CHECK(converge(directory, node, resource("hugepages", R"({"count":65536})")) ==
        "live: 0 of 2048 KiB -> 65536 of 2048 KiB; at boot: absent -> file of 137 bytes");
  CHECK(read(live) == "65536\n");
  CHECK(read(directory / "root/etc/tmpfiles.d/kfab-hugepages-2048kB.conf") ==
        std::string(head) + "w /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages - - - - 65536\n");
  converge(directory, node, resource("hugepages", R"({"count":0})"));
  CHECK_FALSE(std::filesystem::exists(directory / "root/etc/tmpfiles.d/kfab-hugepages-2048kB.conf"));
  CHECK(said(node.run("apply", resource("hugepages", R"({"count":8,"size_kib":1048576})"))) == "failed KF3084");
  std::filesystem::remove(live);   // a device that takes what is written and gives what it has
  std::filesystem::create_symlink("/dev/null", live);
  const auto record = node.run("apply", resource("hugepages", R"({"count":7})"));
  CHECK(said(record) == "failed KF3085");
  CHECK(std::filesystem::exists(directory / "root/etc/tmpfiles.d/kfab-hugepages-2048kB.conf"));   // the next boot has it
}

TEST_CASE("drop_in: written, read by systemd, and what restarts on it does") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_systemd(node, directory);
  write(directory / "fake/units/sshd.service.active", "active");
  write(directory / "fake/units/sshd.service.enabled", "enabled");
  const auto path = directory / "root/etc/systemd/system/sshd.service.d/60-kfab.conf";
  const auto drop_in = resource("drop_in", R"({"unit":"sshd","content":"[Service]\nLimitMEMLOCK=infinity"})");
  CHECK(converge(directory, node, drop_in) == "state: absent -> file of 32 bytes");
  CHECK(read(path) == "[Service]\nLimitMEMLOCK=infinity\n");
  CHECK(read(directory / "fake/systemctl-log").find("daemon-reload") != std::string::npos);
  const auto both = R"([{"id":"d","type":"drop_in","attributes":{"unit":"sshd","content":"[Service]\nNice=1"}},)"
                    R"({"id":"s","type":"service","attributes":{"name":"sshd.service","state":"running"},"restart_on":["d"]}])";
  CHECK(changes_of(node.run("apply", both).at(1)) == "restart: running with what was before -> restarted");
  CHECK(node.run("apply", both).at(1).string_or("status") == "in_sync");
  CHECK(said(node.run("apply", resource("drop_in", R"({"unit":"../sshd","content":"x"})"))).starts_with("failed"));
  converge(directory, node, resource("drop_in", R"({"unit":"sshd","state":"absent"})"));
  std::filesystem::remove_all(directory / "systemd");
  CHECK(said(node.run("apply", drop_in)) == "failed KF3031");
}

TEST_CASE("mount table: blanks in names, options and comments") {
  agent::FstabEntry entry;
  CHECK_FALSE(agent::parse_fstab_line("# UUID=1 / ext4 defaults 0 1", entry));
  CHECK_FALSE(agent::parse_fstab_line("", entry));
  REQUIRE(agent::parse_fstab_line("server:/a\\040b\t/mnt/a\\040b  nfs rw,hard", entry));
  CHECK(entry.device == "server:/a b");
  CHECK(entry.path == "/mnt/a b");
  CHECK(agent::fstab_line(entry) == "server:/a\\040b /mnt/a\\040b nfs rw,hard 0 0");
}

namespace {

// mount and umount over the two tables of /proc and /etc.
void install_fake_mount(Provisioner& node, const TemporaryDirectory& directory) {
  write(directory / "root/proc/self/mountinfo", "20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n");
  write(directory / "root/proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n");
  write(directory / "root/etc/fstab", "# made at installation\nUUID=1 / ext4 defaults 0 1\nUUID=2 none swap sw 0 0\n");
  for (const auto* device : {"sda1", "sda2", "sdb1"}) write(directory / (std::string("root/dev/") + device), "");
  std::filesystem::create_directories(directory / "root/dev/disk/by-uuid");
  std::filesystem::create_symlink("../../sda2", directory / "root/dev/disk/by-uuid/2");
  std::filesystem::create_symlink("../../sdb1", directory / "root/dev/disk/by-uuid/3");
  node.program("mount", R"sh(
echo "mount $@" >> "$FAKE/log"
table=$ROOT/proc/self/mountinfo
[ -f "$FAKE/mount-fails" ] && { echo "mount: wrong fs type, bad option, bad superblock" >&2; exit 32; }
if [ "$1" = -o ]; then for path in "$@"; do :; done; awk -v p="$path" -v o="${2#remount,}" '$5 == p {$6 = o} {print}' "$table" > "$table.new" && mv "$table.new" "$table"; exit 0; fi
device=$6; [ "$device" = UUID=3 ] && device=/dev/sdb1
echo "30 20 8:17 / $7 rw,$4 - $2 $device rw" >> "$table")sh");
  node.program("umount", R"sh(
echo "umount $@" >> "$FAKE/log"; sed -i "\\| $2 |d" "$ROOT/proc/self/mountinfo")sh");
  node.program("swapoff", R"sh(
echo "swapoff $@" >> "$FAKE/log"; sed -i "\\|^$2 |d" "$ROOT/proc/swaps")sh");
  node.program("swapon", R"sh(
echo "swapon $@" >> "$FAKE/log"; echo "$2 partition 1 0 -2" >> "$ROOT/proc/swaps")sh");
}

}  // namespace

TEST_CASE("mount: now and at boot, options corrected, taken away") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_mount(node, directory);
  const auto scratch = [](const std::string& options) {
    return resource("mount", R"({"path":"/scratch","device":"UUID=3","fstype":"xfs","options":")" + options + "\"}");
  };
  CHECK(converge(directory, node, scratch("defaults")) ==
        "at boot: absent -> UUID=3 /scratch xfs defaults 0 0; mounted: absent -> UUID=3");
  CHECK(read(directory / "root/etc/fstab").ends_with("UUID=2 none swap sw 0 0\nUUID=3 /scratch xfs defaults 0 0\n"));
  CHECK(std::filesystem::is_directory(directory / "root/scratch"));
  CHECK(converge(directory, node, scratch("noatime,nofail")) ==
        "at boot: UUID=3 /scratch xfs defaults 0 0 -> UUID=3 /scratch xfs noatime,nofail 0 0; options: without noatime -> with noatime");
  CHECK(backups(directory).size() == 2);
  // Unmounted by hand: mounted again, fstab left alone.
  write(directory / "root/proc/self/mountinfo", "20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n");
  CHECK(converge(directory, node, scratch("noatime,nofail")) == "mounted: absent -> UUID=3");
  converge(directory, node, resource("mount", R"({"path":"/scratch","state":"absent"})"));
  CHECK(read(directory / "root/etc/fstab").find("/scratch") == std::string::npos);
}

TEST_CASE("mount: what is in use elsewhere is left alone, and nothing is written") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_mount(node, directory);
  const auto mount = [](const std::string& device, const std::string& path = "/scratch") {
    return resource("mount", R"({"path":")" + path + R"(","device":")" + device + R"(","fstype":"xfs"})");
  };
  const auto before = tree_hash(directory / "root");
  CHECK(said(node.run("apply", mount("/dev/sda1"))) == "failed KF3086");   // mounted on /
  CHECK(said(node.run("apply", mount("UUID=2"))) == "failed KF3086");      // swap
  CHECK(said(node.run("apply", mount("UUID=3", "/etc"))) == "failed KF3086");   // would hide files
  CHECK(tree_hash(directory / "root") == before);
  write(directory / "root/proc/self/mountinfo", "30 20 8:17 / /scratch rw,relatime - xfs /dev/sda1 rw\n");
  CHECK(said(node.run("apply", mount("UUID=3"))) == "failed KF3086");      // another one is there
  write(directory / "root/proc/self/mountinfo", "20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n");
  write(directory / "fake/mount-fails", "");
  const auto record = node.run("apply", mount("UUID=3"));
  CHECK(said(record) == "failed KF3087");
  CHECK(record[0].string_or("message").find("bad superblock") != std::string::npos);
}

TEST_CASE("swap: off and on, now and at boot") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_mount(node, directory);
  CHECK(converge(directory, node, resource("swap", R"({"state":"off"})")) ==
        "live: /dev/sda2 -> off; at boot: UUID=2 none swap sw 0 0 -> off");
  CHECK(read(directory / "root/etc/fstab") ==
        "# made at installation\nUUID=1 / ext4 defaults 0 1\n# kfab: swap is off: UUID=2 none swap sw 0 0\n");
  CHECK(converge(directory, node, resource("swap", R"({"state":"on","device":"/dev/sdb1"})")) ==
        "live: off -> /dev/sdb1; at boot: absent -> /dev/sdb1 none swap sw 0 0");
  CHECK(said(node.run("apply", resource("swap", R"({"state":"on"})"))).starts_with("failed"));
  node.program("swapoff", "echo 'swapoff: /dev/sdb1: swapoff failed: Cannot allocate memory' >&2; exit 1");
  CHECK(said(node.run("apply", resource("swap", R"({"state":"off"})"))) == "failed KF3088");
}
