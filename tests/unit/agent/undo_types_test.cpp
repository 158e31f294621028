#include "agent/resources/undo_store.hpp"
#include "unit/agent/undo_support.hpp"

using namespace kfab;
using namespace kfab::agent::test;

// Each type there and back, over programs that stand in for those of a node.
namespace {

const std::string head = "# Written by kfab from the site's roles; changes here are undone.\n";

// dpkg and apt over $FAKE/packages: lines of "name<TAB>status<TAB>version". $FAKE/needs: what goes along. Only 1.0 and 2.0 are to be had.
void install_fake_apt(Provisioner& node) {
  node.program("dpkg-query", R"(status=0
for name in "$@"; do case $name in -*) continue;; esac; grep "^$name	" "$FAKE/packages" || status=1; done
exit $status)");
  node.program("apt-get", R"(
echo "$@" >> "$FAKE/apt-log"
verb=""; names=""; dry=""
while [ $# -gt 0 ]; do case $1 in -o) shift;; -s) dry=1;; -*) ;; install|remove|update) verb=$1;; *) names="$names $1";; esac; shift; done
if [ -n "$dry" ]; then for name in $names $(cat "$FAKE/needs" 2>/dev/null); do echo "Remv $name [1.0]"; done; exit 0; fi
for name in $names; do
  version=1.0; case $name in *=*) version=${name#*=}; name=${name%%=*};; esac
  case $version in 1.0|2.0) ;; *) echo "E: Version '$version' for '$name' was not found" >&2; exit 100;; esac
  grep "^$name	hi" "$FAKE/packages" && { echo "E: Held packages were changed" >&2; exit 100; }
  grep -v "^$name	" "$FAKE/packages" > "$FAKE/packages.new"
  [ $verb = install ] && printf '%s\tii \t%s\n' "$name" "$version" >> "$FAKE/packages.new"
  sort "$FAKE/packages.new" > "$FAKE/packages"; rm "$FAKE/packages.new"
done
exit 0)");
  node.program("apt-mark", R"(verb=$1; shift; [ $verb = hold ] && mark=hi || mark=ii
for name in "$@"; do sed -i "s/^$name	../$name	$mark/" "$FAKE/packages"; done)");
}

}  // namespace

TEST_CASE("undo: packages, by presence, version, hold and pin") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_apt(node);
  Undo undo(node);
  SUBCASE("there and back") {
    write(directory / "fake/packages", "curl\tii \t1.0\ndriver\tii \t1.0\ntelnet\tii \t2.0\n");
    round_trip(directory, node,
               one("r/new", "package", R"({"names":["chrony","curl"],"hold":true,"pin":"1.*"})") + "," +
                   one("r/up", "package", R"({"names":["driver"],"version":"2.0"})") + "," + one("r/off", "package", R"({"names":["telnet"],"state":"absent"})"));
  }
  SUBCASE("others need it by now") {
    write(directory / "fake/packages", "");
    CHECK(said(node.run("apply", "[" + one("r/p", "package", R"({"names":["lib"]})") + "]")) == "changed");
    write(directory / "fake/needs", "tool");
    const auto undone = undo.run("apply");
    CHECK(all_said(undone) == "failed KF3303");
    CHECK(undone.front().string_or("message").find("tool") != std::string::npos);
    CHECK(read(directory / "fake/packages").find("lib") != std::string::npos);
  }
  SUBCASE("the old version is gone from the repositories") {
    write(directory / "fake/packages", "driver\tii \t0.9\n");
    CHECK(said(node.run("apply", "[" + one("r/p", "package", R"({"names":["driver"],"version":"2.0"})") + "]")) == "changed");
    CHECK(all_said(undo.run("apply")) == "failed KF3304");
    CHECK(read(directory / "fake/packages") == "driver\tii \t2.0\n");
    CHECK(undo.run("plan").size() == 1);   // it stays to be undone
  }
}

TEST_CASE("undo: services") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_systemd(node, directory);
  Undo undo(node);
  const auto unit = [&](const std::string& name, const std::string& active, const std::string& enabled) {
    write(directory / ("fake/units/" + name + ".active"), active + "\n");
    write(directory / ("fake/units/" + name + ".enabled"), enabled + "\n");
  };
  unit("on", "inactive", "disabled");
  unit("off", "active", "enabled");
  unit("half", "active", "disabled");
  round_trip(directory, node,
             one("r/on", "service", R"({"name":"on","state":"running","enabled":true})") + "," + one("r/off", "service", R"({"name":"off","state":"stopped","enabled":false})") + "," +
                 one("r/half", "service", R"({"name":"half","enabled":true})"));
  CHECK(said(node.run("apply", "[" + one("r/on", "service", R"({"name":"on","state":"running"})") + "]")) == "changed");
  unit("on", "inactive", "disabled");   // stopped by somebody: as it was before kfab
  CHECK(all_said(undo.run("apply")) == "in_sync");
  CHECK(said(node.run("apply", "[" + one("r/half", "service", R"({"name":"half","state":"stopped"})") + "]")) == "changed");
  unit("half", "inactive", "enabled");   // what kfab did not touch does not matter
  CHECK(all_said(undo.run("apply")) == "changed");
  CHECK(read(directory / "fake/units/half.active") == "active\n");
  CHECK(read(directory / "fake/units/half.enabled") == "enabled\n");
}

TEST_CASE("undo: kernel parameters, limits, pages, name and zone") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  write(directory / "proc-sys/vm/swappiness", "60\n");
  write(directory / "proc-sys/net/ipv4/tcp_rmem", "4096 131072 6291456\n");
  write(directory / "proc-sys/kernel/hostname", "debian");
  write(directory / "root/etc/hostname", "# set at installation\ndebian\n");
  write(directory / "root/usr/share/zoneinfo/Asia/Seoul", "TZif");
  write(directory / "root/etc/timezone", "Etc/UTC\n");
  std::filesystem::create_symlink("/usr/share/zoneinfo/Etc/UTC", directory / "root/etc/localtime");
  write(directory / "root/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "16\n");
  const auto sysctls = one("r/s1", "sysctl", R"({"name":"vm.swappiness","value":1})") + "," + one("r/s2", "sysctl", R"({"name":"net.ipv4.tcp_rmem","value":"4096 1 2"})");
  const auto limits = one("r/l1", "limits", R"({"item":"memlock","value":"unlimited"})") + "," + one("r/l2", "limits", R"({"item":"nofile","value":1048576,"domains":["ops"]})");
  round_trip(directory, node,
             sysctls + "," + limits + "," + one("r/h", "hostname", R"({"name":"gpu001"})") + "," + one("r/t", "timezone", R"({"name":"Asia/Seoul"})") + "," +
                 one("r/p", "hugepages", R"({"count":64})"));
  // Of one file of kfab's own the lines of one role, and then those of the other.
  Undo undo(node);
  CHECK(all_said(node.run("apply", "[" + one("r/s1", "sysctl", R"({"name":"vm.swappiness","value":1})") + "," + one("s/s2", "sysctl", R"({"name":"net.ipv4.tcp_rmem","value":"4096 1 2"})") + "]")) == "changed changed");
  CHECK(all_said(undo.run("apply")) == "changed");
  CHECK(read(directory / "sysctl.d/60-kfab.conf") == head + "net.ipv4.tcp_rmem = 4096 1 2\n");
  CHECK(read(directory / "proc-sys/vm/swappiness") == "60\n");
  write(directory / "proc-sys/net/ipv4/tcp_rmem", "1 2 3\n");
  const auto refused = undo.run("apply", "\"s\"");
  CHECK(all_said(refused) == "failed KF3300");
  CHECK(refused.front().string_or("message") == "live is not as kfab left it: it is 1 2 3, kfab left 4096 1 2");
  CHECK(std::filesystem::exists(directory / "sysctl.d/60-kfab.conf"));
  write(directory / "proc-sys/net/ipv4/tcp_rmem", "4096 1 2\n");
  CHECK(all_said(undo.run("apply", "\"s\"")) == "changed");
  CHECK(!std::filesystem::exists(directory / "sysctl.d/60-kfab.conf"));
}

TEST_CASE("undo: modules and arguments of the kernel, and the reboot that they need") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  write(directory / "root/proc/cmdline", "root=UUID=1 quiet\n");
  write(directory / "root/etc/default/grub", "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet splash\"\nGRUB_CMDLINE_LINUX=\"\"\n");
  node.program("update-grub", R"sh(
. "$ROOT/etc/default/grub"
for file in "$ROOT"/etc/default/grub.d/*.cfg; do [ -f "$file" ] && . "$file"; done
printf 'menuentry {\n\tlinux\t/vmlinuz root=UUID=1 %s %s\n}\n' "$GRUB_CMDLINE_LINUX" "$GRUB_CMDLINE_LINUX_DEFAULT" > "$ROOT/boot/grub/grub.cfg")sh");
  write(directory / "root/boot/grub/grub.cfg", "menuentry {\n\tlinux\t/vmlinuz root=UUID=1  quiet splash\n}\n");
  node.program("modprobe", "exit 0");
  std::filesystem::create_directories(directory / "root/sys/module/nouveau");
  round_trip(directory, node,
             one("r/a", "kernel_argument", R"({"name":"iommu","value":"pt"})") + "," + one("r/b", "kernel_argument", R"({"name":"splash","state":"absent"})") + "," +
                 one("r/n", "kernel_module", R"({"name":"nouveau","blacklist":true})"));
  Undo undo(node);
  CHECK(all_said(node.run("apply", "[" + one("r/a", "kernel_argument", R"({"name":"iommu","value":"pt"})") + "]")) == "changed");
  write(directory / "root/proc/cmdline", "root=UUID=1 iommu=pt quiet\n");   // rebooted
  CHECK(undo.run("apply").at(0).string_or("reboot_reason") == "the running kernel was started with iommu=pt");
}

TEST_CASE("undo: an argument that grubby set, of each kernel") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  write(directory / "root/proc/cmdline", "ro\n");
  write(directory / "fake/k1", "ro iommu=off");
  write(directory / "fake/k2", "ro");
  node.program("grubby", R"sh(
edit() { sed -i -e 's/ iommu=[a-z]*//' "$FAKE/$1"; case $2 in --args=*) printf '%s %s' "$(cat "$FAKE/$1")" "${2#--args=}" > "$FAKE/$1";; esac; }
case $1 in
  --info=ALL) for k in k1 k2; do printf 'kernel="/boot/%s"\nargs="%s"\n' $k "$(cat "$FAKE/$k")"; done;;
  --update-kernel=ALL) edit k1 "$2"; edit k2 "$2";;
  --update-kernel=/boot/*) edit "${1#--update-kernel=/boot/}" "$2";;
esac)sh");
  round_trip(directory, node, one("r/a", "kernel_argument", R"({"name":"iommu","value":"pt"})"));
}

TEST_CASE("undo: mounts and swap") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  write(directory / "root/proc/self/mountinfo", "20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n40 20 0:5 / /data rw,relatime - nfs server:/data rw\n");
  write(directory / "root/proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n");
  write(directory / "root/etc/fstab", "UUID=1 / ext4 defaults 0 1\nserver:/data /data nfs defaults 0 0\n/dev/sda2 none swap sw 0 0\n");
  for (const auto* device : {"sda1", "sda2", "sdb1"}) write(directory / (std::string("root/dev/") + device), "");
  node.program("mount", R"sh(
table=$ROOT/proc/self/mountinfo
if [ "$1" = -o ]; then for path in "$@"; do :; done
  awk -v p="$path" -v o="${2#remount,}" '$5 == p {sub(/,suid.*/, "", o); $6 = o} {print}' "$table" > "$table.new" && cat "$table.new" > "$table"; rm "$table.new"; exit 0; fi
echo "30 20 8:17 / $7 rw,$4 - $2 $6 rw" >> "$table")sh");
  node.program("umount", R"sh(sed -i "\\| $2 |d" "$ROOT/proc/self/mountinfo")sh");
  node.program("swapoff", R"sh(sed -i "\\|^$2 |d" "$ROOT/proc/swaps")sh");
  node.program("swapon", R"sh(echo "$2 partition 1 0 -2" >> "$ROOT/proc/swaps")sh");
  round_trip(directory, node,
             one("r/m", "mount", R"({"path":"/scratch/fast","device":"/dev/sdb1","fstype":"xfs"})") + "," +
                 one("r/d", "mount", R"({"path":"/data","device":"server:/data","fstype":"nfs","options":"rw,noatime"})") + "," + one("r/s", "swap", R"({"state":"off"})"));
}

TEST_CASE("undo: users and groups, only what kfab made of them") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  Undo undo(node);
  node.program("getent", R"(grep "^$2:" "$FAKE/$1" 2>/dev/null || exit 2)");
  node.program("id", R"(case $1 in -nG) grep ":.*\b$2\b" "$FAKE/members" | cut -d: -f1 | tr '\n' ' ';; -gn) echo users;; esac)");
  node.program("useradd", R"(for n in "$@"; do :; done; echo "$n:x:2000:2000::/home/$n:/bin/bash" >> "$FAKE/passwd")");
  node.program("usermod", R"(for n in "$@"; do :; done
while [ $# -gt 1 ]; do case $1 in -s) sed -i "s|^\($n:.*\):[^:]*$|\1:$2|" "$FAKE/passwd";; -G) sed -i "s|^$2:.*|$2:$n|" "$FAKE/members";; esac; shift; done; true)");
  node.program("gpasswd", R"([ "$1" = -d ] && sed -i "s|^$3:.*|$3:|" "$FAKE/members"; true)");
  node.program("userdel", R"(sed -i "/^$2:/d" "$FAKE/passwd")");
  node.program("groupadd", R"(for n in "$@"; do :; done; echo "$n:x:3000:" >> "$FAKE/group")");
  node.program("groupmod", R"(sed -i "s/^$4:.*/$4:x:$2:/" "$FAKE/group")");
  node.program("groupdel", R"(sed -i "/^$2:/d" "$FAKE/group")");
  write(directory / "fake/passwd", "ana:x:1000:100::/home/ana:/bin/sh\n");
  write(directory / "fake/members", "adm:\n");
  write(directory / "fake/group", "ml:x:4000:\n");
  round_trip(directory, node,
             one("r/g", "group", R"({"name":"hpc","gid":3000})") + "," + one("r/ml", "group", R"({"name":"ml","gid":4001})") + "," + one("r/u", "user", R"({"name":"ops","uid":2000})") + "," +
                 one("r/a", "user", R"({"name":"ana","shell":"/bin/bash","groups":["adm"]})"));
  CHECK(said(node.run("apply", "[" + one("r/a", "user", R"({"name":"ana","state":"absent"})") + "]")) == "changed");
  const auto told = undo.run("apply");
  CHECK(all_said(told) == "skipped KF3302");
  CHECK(told.front().string_or("message").find("ana was removed") != std::string::npos);
}

TEST_CASE("undo: keys of users, sudo rules and drop-ins") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_systemd(node, directory);
  write(directory / "fake/units/sshd.service.active", "active");
  write(directory / "fake/units/sshd.service.enabled", "enabled");
  const auto uid = std::to_string(::geteuid()), gid = std::to_string(::getegid());
  node.program("getent", "echo \"$2:x:" + uid + ":" + gid + "::/home/$2:/bin/sh\"");
  node.program("visudo", "exit 0");
  std::filesystem::create_directories(directory / "root/home/ops");
  write(directory / "root/home/ana/.ssh/authorized_keys", "# mine\n", 0600);
  ::chmod((directory / "root/home/ana/.ssh").c_str(), 0700);
  std::filesystem::create_directories(directory / "root/etc/sudoers.d");
  const std::string key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0mI8c1m5Y2N0cQ1gk0x2bq2o3XkqkqkqkqkqkqYVJT a@one";
  round_trip(directory, node,
             one("r/k", "ssh_key", R"({"user":"ops","keys":[")" + key + "\"]}") + "," + one("r/l", "ssh_key", R"({"user":"ana","keys":[")" + key + "\"]}") + "," +
                 one("r/s", "sudoers", R"({"name":"ops","content":"ops ALL=(ALL) ALL"})") + "," + one("r/d", "drop_in", R"({"unit":"sshd","content":"[Service]\nNice=1"})"));
}

TEST_CASE("undo: the packet filter") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto wants = directory / "root/etc/systemd/system/multi-user.target.wants";
  std::filesystem::create_directories(wants);
  node.program("systemctl", "link=" + wants + R"sh(/kfab-firewall.service
case $1 in is-enabled) [ -L $link ] && echo enabled || { echo disabled; exit 1; };; enable) ln -s /etc/systemd/system/kfab-firewall.service $link;; esac; exit 0)sh");
  node.program("nft", R"sh(
case "$*" in
  "-s list table inet kfab") cat "$FAKE/live" 2>/dev/null || { echo "Error: No such file or directory" >&2; exit 1; };;
  "-c -f "*) exit 0;;
  "-f "*) sed -n '/^table inet kfab {/,$p' "$2" > "$FAKE/live";;
  "delete table inet kfab") rm "$FAKE/live";;
esac)sh");
  round_trip(directory, node, one("r/f", "firewall", R"({"rules":"chain input {\n}\n"})"));
  // What another role had loaded comes again, live too.
  CHECK(said(node.run("apply", "[" + one("s/f", "firewall", R"({"rules":"chain old {\n}\n"})") + "]")) == "changed");
  const auto live = read(directory / "fake/live");
  std::filesystem::remove_all(directory / "root/var/lib/kfab/undo");   // of a kfab that kept no records
  CHECK(said(node.run("apply", "[" + one("r/f", "firewall", R"({"rules":"chain new {\n}\n"})") + "]")) == "changed");
  CHECK(read(directory / "fake/live") != live);
  Undo undo(node);
  CHECK(all_said(undo.run("apply")) == "changed");
  CHECK(read(directory / "fake/live") == live);
}

TEST_CASE("undo: what was unpacked goes as long as nobody put anything to it") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  Undo undo(node);
  write(directory / "in/tool-1/bin/tool", "one", 0755);
  REQUIRE(std::system(("cd " + (directory / "in") + " && tar -czf ../tool.tar.gz tool-1").c_str()) == 0);
  const auto archive = one("r/a", "archive", R"({"path":")" + (directory / "opt/tools/tool") + R"(","from":")" + (directory / "tool.tar.gz") + R"(","strip":1,"sha256":")" +
                                                 sha256_hex(read(directory / "tool.tar.gz")) + "\"}");
  round_trip(directory, node, archive);
  CHECK(said(node.run("apply", "[" + archive + "]")) == "changed");
  write(directory / "opt/tools/tool/bin/mine", "somebody's");
  CHECK(all_said(undo.run("apply")) == "failed KF3300");
  CHECK(read(directory / "opt/tools/tool/bin/mine") == "somebody's");
  std::filesystem::remove(directory / "opt/tools/tool/bin/mine");
  CHECK(all_said(undo.run("apply")) == "failed KF3300");   // the directory was written to: it is not told what else was
}
