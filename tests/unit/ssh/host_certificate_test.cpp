#include "ssh/host_certificate.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>

#include "base/codes/internal.hpp"
#include "base/codes/ssh.hpp"
#include "base/file.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"
#include "ssh/codec.hpp"
#include "ssh/host_keys.hpp"
#include "ssh/public_key.hpp"

using namespace kfab;
using namespace kfab::ssh;

namespace {

const std::vector<std::string> checkable{"ssh-ed25519", "ecdsa-sha2-nistp256"};
constexpr std::uint64_t now = 1'800'000'000;   // 2027-01-15

// Keys and certificates as ssh-keygen makes them, in a directory of their own. Made once: RSA keys take their time.
struct Keys {
  std::string dir = std::filesystem::temp_directory_path() / ("kfab-certificates-" + random_hex(6));
  bool there = std::system("command -v ssh-keygen >/dev/null") == 0;
  Keys() {
    std::filesystem::create_directories(dir);
    if (!there) return;
    for (const std::string type : {"ed25519", "ecdsa", "rsa"}) make("host_" + type, "-t " + type), make("ca_" + type, "-t " + type);
    make("ca_ecdsa384", "-t ecdsa -b 384");
    make("ca_ecdsa521", "-t ecdsa -b 521");
    make("host_ecdsa384", "-t ecdsa -b 384");
    make("host_ecdsa521", "-t ecdsa -b 521");
    make("ca_weak", "-t rsa -b 1024");
  }
  ~Keys() { std::filesystem::remove_all(dir); }
  void shell(const std::string& line) const { CHECK_MESSAGE(std::system(("cd " + dir + " && { " + line + "; } >/dev/null 2>&1").c_str()) == 0, line); }
  void make(const std::string& name, const std::string& options) const { shell("ssh-keygen -q -N '' -C '' " + options + " -f " + name); }
  std::string blob(const std::string& name) const {
    auto text = read_file(dir + "/" + name + ".pub");
    REQUIRE(text);
    auto decoded = base64_decode(split(std::string(trim(*text)), ' ').at(1));
    REQUIRE(decoded);
    return *decoded;
  }
  // The certificate of a host key; `options` are ssh-keygen's.
  std::string sign(const std::string& host, const std::string& ca, const std::string& options) const {
    shell("ssh-keygen -q -s " + ca + " -I 'the id' " + options + " " + host + ".pub");
    return blob(host + "-cert");
  }
};
const Keys& keys() {
  static const Keys made;
  return made;
}
const std::string good = "-h -n gpu1,10.0.0.1 -V 20260101000000:20300101000000";

bool no_ssh_keygen() {
  if (!keys().there) MESSAGE("skipped: no ssh-keygen");
  return !keys().there;
}

}  // namespace

TEST_CASE("a certificate of every kind of key by every kind of authority is read and verified") {
  if (no_ssh_keygen()) return;
  for (const std::string host : {"host_ed25519", "host_ecdsa", "host_ecdsa384", "host_ecdsa521", "host_rsa"}) {
    for (const std::string ca : {"ca_ed25519", "ca_ecdsa", "ca_ecdsa384", "ca_ecdsa521", "ca_rsa"}) {
      const std::string blob = keys().sign(host, ca, good + " -z 42");
      CHECK(is_certificate(blob));
      const auto read = read_certificate(blob);
      REQUIRE(read);
      CHECK(read->plain_blob == keys().blob(host));
      CHECK(read->authority_blob == keys().blob(ca));
      CHECK(read->type == certificate_type(key_type(read->plain_blob)));
      CHECK(plain_type(read->type) == key_type(read->plain_blob));
      CHECK(read->serial == 42);
      CHECK(read->for_host);
      CHECK(read->key_id == "the id");
      CHECK(read->principals == std::vector<std::string>{"gpu1", "10.0.0.1"});
      CHECK_MESSAGE(read->signature_good, host << " by " << ca);
      CHECK_FALSE(objection(*read, {"10.0.0.1"}, now));
    }
  }
  CHECK(read_certificate(keys().sign("host_ed25519", "ca_rsa", good + " -t rsa-sha2-256"))->signature_good);
}

TEST_CASE("what does not vouch is told by its reason") {
  if (no_ssh_keygen()) return;
  const auto reason = [](const std::string& options, const std::string& ca = "ca_ed25519", std::uint64_t when = now) {
    const auto read = read_certificate(keys().sign("host_ed25519", ca, options));
    REQUIRE(read);
    return objection(*read, {"10.0.0.1", "gpu1"}, when).value_or("");
  };
  CHECK(reason(good) == "");
  CHECK(reason("-h -n GPU1") == "");
  CHECK(reason(good, "ca_ed25519", 1'700'000'000).find("not valid before 2026-01-01T") != std::string::npos);
  CHECK(reason(good, "ca_ed25519", 1'900'000'000).find("valid until 2030-01-01T") != std::string::npos);
  CHECK(reason("-n gpu1,10.0.0.1").find("for a user") != std::string::npos);
  CHECK(reason("-h -n gpu2,10.0.0.2").find("it is for gpu2, 10.0.0.2, not for 10.0.0.1 or gpu1") != std::string::npos);
  CHECK(reason("-h").find("no principals") != std::string::npos);
  CHECK(reason("-h -n 'gpu*'").find("it is for gpu*") != std::string::npos);
  CHECK(reason(good + " -O critical:force-command=true").find("critical option force-command") != std::string::npos);
  CHECK(reason(good, "ca_weak").find("signature") != std::string::npos);
  CHECK(reason(good + " -t ssh-rsa", "ca_rsa").find("signature") != std::string::npos);   // SHA-1
}

TEST_CASE("a certificate with any byte changed is none, or does not vouch") {
  if (no_ssh_keygen()) return;
  for (const std::string host : {"host_ed25519", "host_ecdsa", "host_rsa"}) {
    const std::string whole = keys().sign(host, host == "host_rsa" ? "ca_ecdsa" : "ca_ed25519", good);
    for (std::size_t i = 0; i < whole.size(); i += 3) {
      for (const int bit : {1, 128}) {
        std::string changed = whole;
        changed[i] = static_cast<char>(changed[i] ^ bit);
        const auto read = read_certificate(changed);
        if (read) CHECK_MESSAGE(objection(*read, {"gpu1"}, now), host << " byte " << i);
      }
    }
    for (std::size_t size = 0; size < whole.size(); ++size) CHECK_FALSE(read_certificate(std::string_view(whole).substr(0, size)));
    CHECK_FALSE(read_certificate(whole + "x"));
    CHECK_FALSE(read_certificate(keys().blob(host)));
  }
}

TEST_CASE("signatures of another key, over other data, or by another algorithm are not good") {
  if (no_ssh_keygen()) return;
  const auto read = read_certificate(keys().sign("host_ed25519", "ca_ed25519", good));
  REQUIRE(read);
  std::string signature;
  put_string(signature, "ssh-ed25519");
  put_string(signature, std::string(64, '\0'));
  CHECK_FALSE(verify_signature(read->authority_blob, signature, "data"));
  CHECK_FALSE(verify_signature("", "", ""));
  CHECK_FALSE(verify_signature(read->authority_blob, "", "data"));
  std::string named;
  put_string(named, "ecdsa-sha2-nistp256");
  put_string(named, std::string(64, '\1'));
  CHECK_FALSE(verify_signature(keys().blob("ca_ecdsa"), named, "data"));
  CHECK_FALSE(verify_signature(keys().blob("ca_ecdsa384"), named, "data"));
}

namespace {

struct Site {
  std::string dir = keys().dir + "/" + random_hex(4);
  HostKeys host_keys{""};
  Target target;
  Site() {
    std::filesystem::create_directories(dir);
    target.node = "gpu1";
    target.address = "10.0.0.1";
    target.port = 2222;
    target.known_hosts = {dir + "/known_hosts"};
    target.site_store = dir + "/store";
  }
  void knows(const std::string& text) const { REQUIRE(write_file_atomically(dir + "/known_hosts", text)); }
  static std::string line(const std::string& names, const std::string& key) { return names + " " + std::string(key_type(keys().blob(key))) + " " + base64_encode(keys().blob(key)) + "\n"; }
  // The code with which a machine is refused that has this key and this certificate, to which it may also deny having one.
  std::optional<Code> refusal(const std::string& key, const std::string& certificate) {
    auto inquiry = host_keys.prepare(target);
    REQUIRE(inquiry);
    for (int turn = 0; turn < 6; ++turn) {
      if (inquiry->certificate_wanted) {
        ++looked;
        if (certificate.empty()) HostKeys::no_certificate(*inquiry, "it has none");
        else if (auto done = host_keys.certify(target, *inquiry, certificate, checkable, now); !done) return done.error().code;
      }
      auto answer = host_keys.judge(target, *inquiry, keys().blob(key), checkable);
      if (!answer) return answer.error().code;
      if (*answer == HostKeyAnswer::trusted) return std::nullopt;
    }
    return code::internal;
  }
  int looked = 0;
};

}  // namespace

TEST_CASE("an authority's certificate makes a key trusted, and nothing less does") {
  if (no_ssh_keygen()) return;
  Site site;
  const std::string certificate = keys().sign("host_ed25519", "ca_ed25519", good);
  site.knows("@cert-authority *.lab,10.0.0.* " + Site::line("", "ca_ed25519").substr(1) + "@cert-authority gpu2 " + Site::line("", "ca_ecdsa").substr(1));
  SUBCASE("a good one, looked at once") {
    CHECK_FALSE(site.refusal("host_ed25519", certificate));
    CHECK_FALSE(site.refusal("host_ed25519", ""));
    CHECK(site.looked == 1);
    CHECK(site.refusal("host_ecdsa", "") == code::host_certificate_refused);   // it vouches for another key
  }
  SUBCASE("none") { CHECK(site.refusal("host_ed25519", "") == code::host_certificate_missing); }
  SUBCASE("another authority's, also under trust on first use as if there were none") {
    const std::string foreign = keys().sign("host_ed25519", "ca_ecdsa", good);
    CHECK(site.refusal("host_ed25519", foreign) == code::host_certificate_missing);
    site.target.host_keys = HostKeyPolicy::trust_on_first_use;
    CHECK_FALSE(site.refusal("host_ed25519", foreign));
  }
  SUBCASE("a bad one is not trusted on first use either") {
    site.target.host_keys = HostKeyPolicy::trust_on_first_use;
    CHECK(site.refusal("host_ed25519", keys().sign("host_ed25519", "ca_ed25519", "-h -n gpu9")) == code::host_certificate_refused);
    CHECK(site.refusal("host_ed25519", "nonsense") == code::host_certificate_refused);
  }
  SUBCASE("a key that this libssh2 cannot check") {
    CHECK(site.refusal("host_ed25519", keys().sign("host_rsa", "ca_ed25519", good)) == code::host_certificate_missing);
  }
  SUBCASE("a plain line is enough, and then no certificate is asked for") {
    site.knows("@cert-authority * " + Site::line("", "ca_ed25519").substr(1) + Site::line("[10.0.0.1]:2222", "host_ecdsa"));
    CHECK_FALSE(site.refusal("host_ecdsa", ""));
    CHECK(site.looked == 0);
    CHECK_FALSE(site.refusal("host_ed25519", certificate));   // reinstalled, and certified
    CHECK(site.looked == 1);
  }
  SUBCASE("a changed key without a certificate is a changed key") {
    site.knows("@cert-authority * " + Site::line("", "ca_ed25519").substr(1) + Site::line("[10.0.0.1]:2222", "host_ecdsa"));
    CHECK(site.refusal("host_ed25519", "") == code::host_key_changed);
  }
  SUBCASE("revoked: the authority, or the key") {
    site.knows("@cert-authority * " + Site::line("", "ca_ed25519").substr(1) + "@revoked * " + Site::line("", "ca_ed25519").substr(1));
    CHECK(site.refusal("host_ed25519", certificate) == code::host_key_revoked);
    Site other;
    other.knows("@cert-authority * " + Site::line("", "ca_ed25519").substr(1) + "@revoked * " + Site::line("", "host_ed25519").substr(1));
    CHECK(other.refusal("host_ed25519", certificate) == code::host_key_revoked);
  }
  SUBCASE("a hashed authority line") {
    const std::string salt(20, 's');
    site.knows("@cert-authority |1|" + base64_encode(salt) + "|" + base64_encode(hmac_sha1(salt, "[10.0.0.1]:2222")) + " " + Site::line("", "ca_ed25519").substr(1));
    CHECK_FALSE(site.refusal("host_ed25519", certificate));
  }
}

TEST_CASE("a file of authorities counts for its targets, and one that cannot be read for nothing") {
  if (no_ssh_keygen()) return;
  Site site;
  site.target.host_ca_files = {keys().dir + "/ca_ed25519.pub"};
  CHECK(site.host_keys.authority_trouble(site.target).empty());
  CHECK_FALSE(site.refusal("host_ed25519", keys().sign("host_ed25519", "ca_ed25519", good)));
  Site other;
  other.target.host_ca_files = {other.dir + "/nowhere", keys().dir + "/host_rsa"};
  CHECK(other.host_keys.authority_trouble(other.target).size() == 2);
  CHECK(other.refusal("host_ed25519", "") == code::host_key_unknown);
}

TEST_CASE("what is known of a machine's keys is told without storing any") {
  if (no_ssh_keygen()) return;
  Site site;
  using State = HostKeys::Standing::State;
  site.knows(Site::line("[10.0.0.1]:2222", "host_ed25519") + Site::line("[10.0.0.1]:2222", "host_ecdsa") + "@revoked * " + Site::line("", "host_rsa").substr(1));
  auto told = site.host_keys.standings(site.target, {keys().blob("host_ed25519"), keys().blob("ca_ecdsa"), keys().blob("host_rsa"), keys().blob("ca_rsa")});
  REQUIRE(told);
  CHECK((*told)[0].state == State::known);
  CHECK((*told)[0].where == site.dir + "/known_hosts:1");
  CHECK((*told)[1].state == State::changed);
  CHECK((*told)[1].known_by.size() == 1);
  CHECK((*told)[2].state == State::revoked);
  CHECK((*told)[3].state == State::unknown);
  CHECK((*told)[3].known_by.size() == 2);
  CHECK_FALSE(std::filesystem::exists(site.target.site_store));
  auto lines = site.host_keys.lines_of(site.target);
  REQUIRE(lines);
  CHECK(lines->size() == 3);
}
