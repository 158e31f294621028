#include <sys/stat.h>

#include "unit/agent/converge.hpp"

#include "agent/resources/openpgp.hpp"

using namespace kfab;
using namespace kfab::agent::test;

namespace {

// Made for these tests; its secret part is gone.
constexpr const char* key = R"(-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawJKcRYJKwYBBAHaRw8BAQdA7tFXXBuccPJMBSEvEVy3OAMuJov40DvVN+1F
C8P37bW0IGtmYWIgdGVzdCA8dGVzdEBleGFtcGxlLmludmFsaWQ+iJAEExYIADgW
IQTv6qtu0TMC1QO+bmT2gYLYoNETcgUCawJKcQIbAwULCQgHAgYVCgkICwIEFgID
AQIeAQIXgAAKCRD2gYLYoNETcuTkAQDtTvEM8CfcYxo9F8P70gnysbOSf54dBtb3
JryMxuaDtAD/Ulk/s3ju+xLI5VKpk8mT2D3Pui3hU1oTxMCy/KcqXwk=
=badq
-----END PGP PUBLIC KEY BLOCK-----
)";
constexpr const char* fingerprint = "EFEAAB6ED13302D503BE6E64F68182D8A0D11372";

std::string quoted(const std::string& text) { return json::dump(json::Value(text)); }

// rpm and dnf over $FAKE/rpms: lines of "name<TAB>epoch<TAB>version<TAB>release".
void install_fake_dnf(Provisioner& node) {
  node.program("rpm", R"sh(
for file in "$@"; do [ "$file" = -p ] && { printf 'driver\t570.1-1'; exit 0; }; done
missing=0; names=""; while [ $# -gt 0 ]; do case $1 in --qf) shift;; -*) ;; *) names="$names $1";; esac; shift; done
for name in $names; do grep "^$name	" "$FAKE/rpms" || { echo "package $name is not installed"; missing=$((missing+1)); }; done
exit $missing)sh");
  node.program("dnf", R"sh(
echo "$@" >> "$FAKE/dnf-log"
[ -f "$FAKE/dnf-says" ] && { cat "$FAKE/dnf-says" >&2; exit 1; }
verb=""; names=""
while [ $# -gt 0 ]; do case $1 in -*) ;; install|remove|versionlock|add|delete|list) verb="$verb$1";; *) names="$names $1";; esac; shift; done
touch "$FAKE/locks"
for name in $names; do
  version=1.0; case $name in *-[0-9]*) version=${name#*-}; name=${name%%-*};; /*) name=driver version=570.1;; esac
  case $verb in
    versionlockadd) echo "$name-0:1-1.*" >> "$FAKE/locks";;
    *) grep -v "^$name	" "$FAKE/rpms" > "$FAKE/rpms.new"; mv "$FAKE/rpms.new" "$FAKE/rpms"
       [ "$verb" = install ] && printf '%s\t0\t%s\t1\n' "$name" "${version%-1}" >> "$FAKE/rpms";;
  esac
done
[ "$verb" = versionlocklist ] && cat "$FAKE/locks"
exit 0)sh");
}

// The programs of the node's own shell, without its package managers.
void use_only(Provisioner& node, const TemporaryDirectory& directory, std::initializer_list<const char*> programs) {
  for (const auto* program : programs)
    for (const auto* folder : {"/usr/bin/", "/bin/", "/usr/sbin/"})
      if (std::filesystem::exists(std::string(folder) + program) && !std::filesystem::exists(directory / (std::string("bin/") + program)))
        std::filesystem::create_symlink(std::string(folder) + program, directory / (std::string("bin/") + program));
  node.node.process_environment[0] = "PATH=" + (directory / "bin");
}

}  // namespace

TEST_CASE("package: dnf, with versions and holds, and what it says as codes") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_dnf(node);
  use_only(node, directory, {"sh", "grep", "mv", "cat", "touch"});
  write(directory / "fake/rpms", "curl\t0\t7.76\t1\n");
  write(directory / "fake/locks", "");
  CHECK(converge(directory, node, resource("package", R"({"names":["curl","chrony"]})")) == "chrony: absent -> installed");
  CHECK(read(directory / "fake/dnf-log") == "-y -q --setopt=install_weak_deps=False install -- chrony\n");
  CHECK(converge(directory, node, resource("package", R"({"names":["curl"],"version":"7.80-1"})")) == "curl: 7.76-1 -> 7.80-1");
  CHECK(said(node.run("plan", resource("package", R"({"names":["curl"],"version":"7.80"})"))) == "in_sync");
  CHECK(said(node.run("apply", resource("package", R"({"names":["curl"],"hold":true})"))) == "changed");
  CHECK(said(node.run("apply", resource("package", R"({"names":["curl"],"hold":true})"))) == "in_sync");
  CHECK(said(node.run("apply", resource("package", R"({"names":["curl"],"pin":"7.*"})"))).starts_with("failed"));
  const std::pair<const char*, const char*> cases[] = {{"Error: Unable to find a match: nosuch", "failed KF3027"},
                                                       {"Error: This command has to be run with superuser privileges", "failed KF3020"},
                                                       {"Error: Transaction test error", "failed KF3028"}};
  for (const auto& [words, code] : cases) {
    write(directory / "fake/dnf-says", words);
    CHECK(said(node.run("apply", resource("package", R"({"names":["nosuch"]})"))) == code);
  }
}

TEST_CASE("package: from a file on the node, and pinned") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  node.program("dpkg-query", R"sh(
for name in "$@"; do case $name in -*) continue;; esac; grep "^$name	" "$FAKE/packages"; done; exit 0)sh");
  node.program("dpkg-deb", "printf 'Package: driver\nVersion: %s\n' \"$(cat $2)\"");
  node.program("apt-get", R"sh(
echo "$@" >> "$FAKE/log"
for file in "$@"; do :; done
printf 'driver\tii \t%s\n' "$(cat $file)" > "$FAKE/packages")sh");
  const auto path = directory / "driver.deb";
  const auto from = [&](const std::string& name) {
    return resource("package", R"({"names":[")" + name + R"("],"from":")" + path + "\"}");
  };
  CHECK(said(node.run("apply", from("driver"))) == "failed KF3090");
  write(path, "570.1");
  CHECK(said(node.run("apply", from("other"))) == "failed KF3091");
  CHECK(converge(directory, node, from("driver")) == "driver: absent -> 570.1");
  CHECK(read(directory / "fake/log").ends_with(" -- " + path + "\n"));
  write(path, "570.2");   // a newer file in its place
  CHECK(converge(directory, node, from("driver")) == "driver: 570.1 -> 570.2");
  CHECK(converge(directory, node, resource("package", R"({"names":["driver"],"pin":"570.*"})")) == "pin: absent -> file of 120 bytes");
  CHECK(read(directory / "root/etc/apt/preferences.d/kfab-driver.pref").ends_with("Package: driver\nPin: version 570.*\nPin-Priority: 1001\n"));
}

TEST_CASE("openpgp: the fingerprint of a key, and nothing of what is no key") {
  const auto found = agent::openpgp_fingerprints(key);
  REQUIRE(found);
  CHECK(*found == std::vector<std::string>{fingerprint});
  const auto twice = agent::openpgp_fingerprints(std::string("text before\n") + key + "\n" + key);
  REQUIRE(twice);
  CHECK(twice->size() == 2);
  std::string cut = key;
  cut.erase(200, 40);   // a hole in the middle
  CHECK_FALSE(agent::openpgp_fingerprints(cut));
  for (const auto* bad : {"", "hello", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA", "\x99\xff\xff", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!!\n-----END PGP PUBLIC KEY BLOCK-----"})
    CHECK_FALSE(agent::openpgp_fingerprints(bad));
  CHECK(agent::plain_fingerprint("b6f5 08ad:0c") == "B6F508AD0C");
}

TEST_CASE("repository: apt's list and key, lists read; another key is not taken") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  std::filesystem::create_directories(directory / "root/etc/apt");
  std::filesystem::create_directories(directory / "root/var/lib/apt/lists");
  node.program("apt-get", R"sh(
echo "$@" >> "$FAKE/log"
[ -f "$FAKE/fails" ] && { echo "E: The repository is not signed." >&2; exit 100; }
touch "$ROOT/var/lib/apt/lists/mirror.example_deb%5fian_dists_bookworm_InRelease")sh");
  const auto repository = [](const std::string& more) {
    return resource("repository", R"({"name":"site","uris":["https://mirror.example/deb_ian/"],"suites":["bookworm"],"components":["main"],"key":)" +
                                      quoted(key) + more + "}");
  };
  const auto good = repository(std::string(R"(,"fingerprints":[")") + fingerprint + "\"]");
  const auto wrong = node.run("apply", repository(R"(,"fingerprints":["0123456789012345678901234567890123456789"])"));
  CHECK(said(wrong) == "failed KF3094");
  CHECK(wrong[0].string_or("message").find(fingerprint) != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(directory / "root/etc/apt/keyrings"));
  write(directory / "fake/fails", "");
  CHECK(said(node.run("apply", good)) == "failed KF3095");   // and is not in sync afterwards
  std::filesystem::remove(directory / "fake/fails");
  CHECK(converge(directory, node, good) == "package lists: not read -> read");
  CHECK(read(directory / "root/etc/apt/sources.list.d/kfab-site.sources") ==
        "# Written by kfab from the site's roles; changes here are undone.\nTypes: deb\nURIs: https://mirror.example/deb_ian/\n"
        "Suites: bookworm\nComponents: main\nSigned-By: /etc/apt/keyrings/kfab-site.asc\n");
  CHECK(read(directory / "root/etc/apt/keyrings/kfab-site.asc") == key);
  CHECK(read(directory / "fake/log").find("sourceparts=-") != std::string::npos);
  write(directory / "root/etc/apt/keyrings/kfab-site.asc", "tampered with");
  CHECK(converge(directory, node, good).starts_with("key: "));
  CHECK(said(node.run("apply", resource("repository", R"({"name":"x","uris":["https://a\nSigned-By: b"],"suites":["s"],"key":"k"})"))).starts_with("failed"));
  CHECK(said(node.run("apply", resource("repository", R"({"name":"x","uris":["https://a"],"suites":["s"],"key":"no key"})"))) == "failed KF3092");
  CHECK(said(node.run("apply", resource("repository", R"({"name":"x","uris":["https://a"],"suites":["s"]})"))).starts_with("failed"));
  CHECK(said(node.run("apply", resource("repository", R"({"name":"x","uris":["https://a"],"suites":["s"],"key_file":"/usr/share/none.gpg"})"))) == "failed KF3093");
  CHECK(said(node.run("apply", resource("repository", R"({"name":"site","state":"absent"})"))) == "changed");
  CHECK(said(node.run("apply", resource("repository", R"({"name":"site","state":"absent"})"))) == "in_sync");
  CHECK_FALSE(std::filesystem::exists(directory / "root/etc/apt/keyrings/kfab-site.asc"));
}

TEST_CASE("repository: dnf's list") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  CHECK(said(node.run("plan", resource("repository", R"({"name":"x","uris":["https://a"],"key":"k"})"))) == "failed KF3025");
  std::filesystem::create_directories(directory / "root/etc/yum.repos.d");
  converge(directory, node, resource("repository", R"({"name":"site","uris":["https://mirror.example/el9"],"fingerprints":[")" +
                                                       std::string(fingerprint) + R"("],"key":)" + quoted(key) + "}"));
  CHECK(read(directory / "root/etc/yum.repos.d/kfab-site.repo").ends_with("gpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/kfab-site.asc\n"));
}

TEST_CASE("assertion: holds or fails, and changes nothing") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  write(directory / "state", "drained\n");
  const auto asked = [](const std::string& more) { return resource("assertion", R"({"message":"drain the node first")" + more + "}"); };
  const auto before = tree_hash(directory.string());
  CHECK(said(node.run("apply", asked(",\"run\":[\"cat\",\"" + (directory / "state") + R"("],"equal":"drained")"))) == "in_sync");
  CHECK(said(node.run("apply", asked(",\"run\":[\"cat\",\"" + (directory / "state") + R"("],"one_of":["down","drained"])"))) == "in_sync");
  for (const auto* mode : {"plan", "apply"}) {
    const auto failed = node.run(mode, asked(",\"run\":[\"cat\",\"" + (directory / "state") + R"("],"equal":"idle")"));
    CHECK(said(failed) == "failed KF3096");
    CHECK(failed[0].string_or("message") == "drain the node first (found drained, expected idle)");
  }
  CHECK(said(node.run("apply", asked(R"(,"shell":"exit 1")"))) == "failed KF3096");
  CHECK(said(node.run("apply", asked(R"(,"shell":"echo 12","at_least":12)"))) == "in_sync");
  CHECK(said(node.run("apply", asked(R"(,"shell":"echo 12","at_least":13)"))) == "failed KF3096");
  CHECK(said(node.run("apply", asked(R"(,"shell":"echo","at_least":0)"))) == "failed KF3096");   // nothing is no number
  CHECK(said(node.run("apply", asked(R"(,"run":["/no/such/program"])"))).starts_with("failed"));
  CHECK(tree_hash(directory.string()) == before);
  write(directory / "root/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
  CHECK(said(node.run("plan", asked(R"(,"fact":"os.id","one_of":["debian","ubuntu"])"))) == "in_sync");
  CHECK(said(node.run("plan", asked(R"(,"fact":"os.no_such","equal":"1")"))) == "failed KF3096");
}

TEST_CASE("assertion: in a plan it may wait for what comes before it, and what waits for it is not touched") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto resources = "[{\"id\":\"f\",\"type\":\"file\",\"attributes\":{\"path\":\"" + (directory / "f") + "\",\"content\":\"x\"}}," +
                         "{\"id\":\"a\",\"type\":\"assertion\",\"attributes\":{\"message\":\"no f\",\"run\":[\"test\",\"-e\",\"" + (directory / "f") + "\"]}}," +
                         "{\"id\":\"b\",\"type\":\"assertion\",\"attributes\":{\"message\":\"no g\",\"run\":[\"test\",\"-e\",\"" + (directory / "g") + "\"]}}," +
                         "{\"id\":\"h\",\"type\":\"file\",\"after\":[\"b\"],\"attributes\":{\"path\":\"" + (directory / "h") + "\",\"content\":\"x\"}}]";
  const auto planned = node.run("plan", resources);
  CHECK(planned.at(1).string_or("status") == "would_change");
  CHECK(planned.at(1).string_or("message").find("no f") != std::string::npos);
  const auto applied = node.run("apply", resources);
  CHECK(applied.at(1).string_or("status") == "in_sync");
  CHECK(applied.at(2).string_or("status") == "failed");
  CHECK(applied.at(3).string_or("status") == "skipped");
  CHECK_FALSE(std::filesystem::exists(directory / "h"));
}

TEST_CASE("firewall: checked, loaded in one step, and a rule added by hand is drift") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_systemd(node, directory);
  node.program("systemctl", R"sh(
case $1 in is-enabled) cat "$FAKE/enabled" 2>/dev/null || { echo disabled; exit 1; };; enable) echo enabled > "$FAKE/enabled";; disable) rm -f "$FAKE/enabled";; esac; exit 0)sh");
  node.program("nft", R"sh(
case "$*" in
  "-s list table inet kfab") cat "$FAKE/live" 2>/dev/null || { echo "Error: No such file or directory" >&2; exit 1; };;
  "-c -f "*) grep -q nonsense "$3" && { echo "$3:5:1-8: Error: syntax error, unexpected string" >&2; exit 1; }; exit 0;;
  "-f "*) sed -n '/^table inet kfab {/,$p' "$2" > "$FAKE/live";;
  "delete table inet kfab") rm "$FAKE/live";;
esac)sh");
  const auto rules = [](const std::string& text) { return resource("firewall", R"({"rules":)" + quoted(text) + "}"); };
  const std::string sound = "chain input {\n  type filter hook input priority 0; policy drop;\n  ct state established accept\n  tcp dport 22 accept\n}\n";
  CHECK(converge(directory, node, rules(sound)).find("live: absent -> loaded; at boot: not enabled -> enabled") != std::string::npos);
  CHECK(read(directory / "root/etc/kfab/firewall.nft").find("table inet kfab\ndelete table inet kfab\ntable inet kfab {\nchain input") != std::string::npos);
  write(directory / "fake/live", read(directory / "fake/live") + "tcp dport 23 accept\n");
  CHECK(converge(directory, node, rules(sound)) == "live: not what was loaded -> loaded");
  const auto refused = node.run("apply", rules("nonsense {}"));
  CHECK(said(refused) == "failed KF3070");
  CHECK(read(directory / "root/etc/kfab/firewall.nft").find("nonsense") == std::string::npos);
  CHECK(read(directory / "fake/live").find("dport 22") != std::string::npos);
  for (const auto* outside : {"} table inet other { ", "chain a { ", "", "chain a { comment \"}\" "})
    CHECK(said(node.run("apply", rules(outside))).starts_with("failed"));
  CHECK(said(node.run("apply", rules("chain a {\n# a } in a comment\n counter comment \"}\"\n}"))) == "changed");
  converge(directory, node, resource("firewall", R"({"state":"absent"})"));
  CHECK_FALSE(std::filesystem::exists(directory / "fake/live"));
}

TEST_CASE("archive: unpacked once, replaced as a whole, and nothing of somebody else's") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  const auto pack = [&](const std::string& word) {
    write(directory / "in/tool-1/bin/tool", word, 0755);
    write(directory / "in/tool-1/only-" + word, word);
    REQUIRE(std::system(("cd " + (directory / "in") + " && tar -czf ../tool.tar.gz tool-1 && rm -r tool-1").c_str()) == 0);
    return sha256_hex(read(directory / "tool.tar.gz"));
  };
  const auto archive = [&](const std::string& digest, const std::string& path = "opt/tool") {
    return resource("archive", R"({"path":")" + (directory / path) + R"(","from":")" + (directory / "tool.tar.gz") +
                                   R"(","strip":1,"sha256":")" + digest + "\"}");
  };
  std::filesystem::create_directories(directory / "in");
  CHECK(said(node.run("apply", archive(std::string(64, 'a')))) == "failed KF3098");
  auto digest = pack("one");
  CHECK(said(node.run("apply", archive(std::string(64, 'a')))) == "failed KF3099");
  CHECK_FALSE(std::filesystem::exists(directory / "opt/tool"));
  std::filesystem::create_directories(directory / "opt/.tool.kfab-new/half");   // of a run that was killed
  CHECK(converge(directory, node, archive(digest)) == "content: absent -> tool.tar.gz");
  CHECK(read(directory / "opt/tool/bin/tool") == "one");
  CHECK(mode_of(directory / "opt/tool/bin/tool") == 0755);
  std::filesystem::remove(directory / "tool.tar.gz");
  CHECK(said(node.run("apply", archive(digest))) == "in_sync");   // it is not needed any more
  digest = pack("two");
  CHECK(converge(directory, node, archive(digest)) == "content: another archive -> tool.tar.gz");
  CHECK(std::filesystem::exists(directory / "opt/tool/only-two"));
  CHECK_FALSE(std::filesystem::exists(directory / "opt/tool/only-one"));
  write(directory / "home/somebody", "theirs");
  CHECK(said(node.run("apply", archive(digest, "home"))) == "failed KF3023");
  CHECK(read(directory / "home/somebody") == "theirs");
  write(directory / "tool.tar.gz", "no archive");
  CHECK(said(node.run("apply", archive(sha256_hex("no archive"), "opt/other"))) == "failed KF3099");
  CHECK_FALSE(std::filesystem::exists(directory / "opt/other"));
  CHECK(nothing_left_over(directory));
}

namespace {

// Four disks: $FAKE/on-<disk> names what wipefs finds, $FAKE/parts and $FAKE/mounted the disk that has such.
void install_fake_disks(Provisioner& node, const TemporaryDirectory& directory) {
  write(directory / "root/proc/swaps", "Filename Type Size Used Priority\n");
  for (const auto* disk : {"nvme0n1", "nvme1n1", "nvme2n1", "md127"}) write(directory / (std::string("root/dev/") + disk), "");
  node.program("lsblk", R"sh(
disk() {
  children=""; place=null
  [ "$(cat "$FAKE/mounted" 2>/dev/null)" = $1 ] && place='"/data"'
  [ "$(cat "$FAKE/parts" 2>/dev/null)" = $1 ] && children=',"children":[{"name":"p1","path":"/dev/p1","serial":null,"type":"part","mountpoints":[null]}]'
  [ -e "$ROOT/dev/md/scratch" ] && grep -q /dev/$1 "$FAKE/array" && children=',"children":[{"name":"md127","path":"/dev/md127","serial":null,"type":"raid0","mountpoints":[null]}]'
  printf '{"name":"%s","path":"/dev/%s","serial":"%s","type":"disk","mountpoints":[%s]%s}' $1 $1 $2 $place "$children"
}
printf '{"blockdevices":[%s,%s,%s]}' "$(disk nvme0n1 S0)" "$(disk nvme1n1 S1)" "$(disk nvme2n1 S2)")sh");
  node.program("wipefs", R"sh(
[ "$1 $2" = "-n --json" ] || { echo "a write" >> "$FAKE/wiped"; exit 1; }
what=$(cat "$FAKE/on-$(basename $3)" 2>/dev/null) || exit 0
printf '{"signatures":[{"device":"x","offset":"0x0","type":"%s"}]}' "$what")sh");
  node.program("mdadm", R"sh(
[ $1 = --examine ] || echo "mdadm $@" >> "$FAKE/log"
case $1 in
  --examine) cat "$FAKE/examine";;
  --create|--assemble) for disk in "$@"; do case $disk in /dev/nvme*) echo linux_raid_member > "$FAKE/on-$(basename $disk)"; echo $disk >> "$FAKE/array";; esac; done
    mkdir -p "$ROOT/dev/md"; ln -sf ../md127 "$ROOT/dev/md/scratch";;
esac)sh");
  node.program("mkfs.xfs", R"sh(echo "mkfs.xfs $@" >> "$FAKE/log"; [ -f "$FAKE/mkfs-fails" ] && exit 1; echo xfs > "$FAKE/on-scratch")sh");
}

}  // namespace

TEST_CASE("raid0: made over empty disks by their serials, once") {
  const TemporaryDirectory directory;
  Provisioner node(directory);
  install_fake_disks(node, directory);
  const auto array = resource("raid0", R"({"name":"scratch","serials":["S1","S2"]})");
  write(directory / "fake/mkfs-fails", "");   // cut, or failed, between the array and the file system
  CHECK(said(node.run("apply", array)) == "failed KF3101");
  std::filesystem::remove(directory / "fake/mkfs-fails");
  CHECK(converge(directory, node, array) == "file system: none -> xfs");
  const auto log = read(directory / "fake/log");
  CHECK(log.find("--level=0 --homehost=any --name=scratch --raid-devices=2 /dev/nvme1n1 /dev/nvme2n1") != std::string::npos);
  CHECK(log.find("force") == std::string::npos);
  CHECK(log.find("nvme0n1") == std::string::npos);
  CHECK(log.find("mkfs.xfs /dev/md/scratch") != std::string::npos);
  // After a boot at which it was not assembled.
  std::filesystem::remove(directory / "root/dev/md/scratch");
  write(directory / "fake/examine", "MD_LEVEL=raid0\nMD_NAME=any:scratch\n");
  CHECK(converge(directory, node, array) == "array: not running -> RAID 0 of 2 disks");
  CHECK(read(directory / "fake/log").find("mdadm --assemble /dev/md/scratch /dev/nvme1n1 /dev/nvme2n1") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(directory / "fake/wiped"));
}

TEST_CASE("raid0: a disk on which anything is stays as it is") {
  const auto refused = [](auto&& prepare, const std::string& serials = R"("S1","S2")") {
    const TemporaryDirectory directory;
    Provisioner node(directory);
    install_fake_disks(node, directory);
    prepare(directory);
    const auto records = node.run("apply", resource("raid0", R"({"name":"scratch","serials":[)" + serials + "]}"));
    const auto log = read(directory / "fake/log");
    CHECK(log.find("--create") == std::string::npos);
    CHECK(log.find("--assemble") == std::string::npos);
    CHECK(log.find("mkfs") == std::string::npos);
    return said(records);
  };
  CHECK(refused([](const auto& d) { write(d / "fake/on-nvme2n1", "ext4"); }) == "failed KF3100");
  CHECK(refused([](const auto& d) { write(d / "fake/on-nvme1n1", "LVM2_member"); }) == "failed KF3100");
  CHECK(refused([](const auto& d) { write(d / "fake/parts", "nvme1n1"); }) == "failed KF3100");
  CHECK(refused([](const auto& d) { write(d / "fake/mounted", "nvme1n1"); }) == "failed KF3100");
  CHECK(refused([](const auto& d) { write(d / "root/proc/swaps", "Filename\n/dev/nvme2n1 partition 1 0 -2\n"); }) == "failed KF3100");
  CHECK(refused([](const auto& d) {
          for (const auto* disk : {"nvme1n1", "nvme2n1"}) write(d / (std::string("fake/on-") + disk), "linux_raid_member");
          write(d / "fake/examine", "MD_LEVEL=raid1\nMD_NAME=old:root\n");
        }) == "failed KF3100");
  CHECK(refused([](const auto& d) {   // one of ours, one empty: half an array is no array
          write(d / "fake/on-nvme1n1", "linux_raid_member");
          write(d / "fake/examine", "MD_LEVEL=raid0\nMD_NAME=any:scratch\n");
        }) == "failed KF3100");
  CHECK(refused([](const auto&) {}, R"("S1","S9")") == "failed KF3100");
  CHECK(refused([](const auto&) {}, R"("S1","S1")") == "failed KF3100");
}
