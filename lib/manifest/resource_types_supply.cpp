#include <algorithm>
#include <array>

#include "base/text.hpp"
#include "manifest/resource_tables.hpp"

// Resources from elsewhere and around the node: repositories, archives, arrays of disks, the packet filter; and
// assertions about all of it.
namespace kfab::manifest {
namespace {

using enum AttributeType;

constexpr AttributeSpec backup{"backup", boolean, false, "", "true", "keep a copy of what is replaced or removed"};
constexpr AttributeSpec state{"state", string, false, "present|absent", "present", "there, or removed"};

constexpr std::array repository_attributes{
    AttributeSpec{"name", string, true, "", "", "what it is called on the node: letters, digits, '-' and '_'"},
    AttributeSpec{"uris", string_list, false, "", "", "where it is: https://mirror.example/debian, file:/srv/mirror"},
    AttributeSpec{"suites", string_list, false, "", "", "for apt: bookworm; \"./\" for a flat one"},
    AttributeSpec{"components", string_list, false, "", "none", "for apt: main contrib"},
    AttributeSpec{"architectures", string_list, false, "", "the node's", "for apt: amd64"},
    AttributeSpec{"key", string, false, "", "", "the public key that signs it, in ASCII armour"},
    AttributeSpec{"key_file", path, false, "", "", "the file on the node that holds the key, instead of key"},
    AttributeSpec{"fingerprints", string_list, false, "", "", "the fingerprints of the keys that may be in it, and of no others"},
    AttributeSpec{"timeout_s", integer, false, "", "600", "how long reading the lists may take"},
    state,
    backup,
};

constexpr std::array archive_attributes{
    AttributeSpec{"path", path, true, "", "", "the directory that holds what is in it, and nothing else"},
    AttributeSpec{"from", path, true, "", "", "the archive on the node: .tar, .tar.gz, .tar.xz, .tar.zst"},
    AttributeSpec{"sha256", string, true, "", "", "its SHA-256; unpacked once for each"},
    AttributeSpec{"strip", integer, false, "", "0", "how many leading directories of the names inside to leave out"},
    AttributeSpec{"owner", string, false, "", "root", "of the directory"},
    AttributeSpec{"group", string, false, "", "root", "of the directory"},
    AttributeSpec{"mode", mode, false, "", "0755", "of the directory"},
    AttributeSpec{"timeout_s", integer, false, "", "600", "how long unpacking may take"},
};

constexpr std::array firewall_attributes{
    AttributeSpec{"rules", string, false, "", "", "what stands inside kfab's own table: chains and sets in nft's language"},
    AttributeSpec{"allow_lockout", boolean, false, "", "false", "take rules that seem to shut out SSH"},
    state,
    backup,
};

constexpr std::array raid0_attributes{
    AttributeSpec{"name", string, true, "", "", "the array: /dev/md/<name>"},
    AttributeSpec{"serials", string_list, true, "", "", "the serial numbers of its disks, and of no others"},
    AttributeSpec{"fstype", string, false, "xfs|ext4", "xfs", "the file system that a new array gets"},
};

constexpr std::array assertion_attributes{
    AttributeSpec{"message", string, true, "", "", "what is wrong and what to do, where it does not hold"},
    AttributeSpec{"run", words, false, "", "", "a command and its arguments, which must succeed and only reads"},
    AttributeSpec{"shell", string, false, "", "", "text given to /bin/sh -c, instead of run"},
    AttributeSpec{"fact", string, false, "", "", "a fact of `kfab inventory` by its dotted name, instead of a command: os.id"},
    AttributeSpec{"equal", scalar, false, "", "", "what it must be, or the command must print"},
    AttributeSpec{"one_of", string_list, false, "", "", "the same, of several"},
    AttributeSpec{"at_least", integer, false, "", "", "the least that the number may be"},
    AttributeSpec{"timeout_s", integer, false, "", "60", "how long the command may take"},
};

bool is_hex(const std::string& text, std::size_t digits) {
  return text.size() == digits && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  });
}

void check_repository(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  const std::string name = attributes.string_or("name");
  if (is_known(name) && !name.empty() && !made_of(name, "-_"))
    problems.push_back({"name", "the name holds other characters than letters, digits, '-' and '_'"});
  if (attributes.string_or("state") == "absent") return;
  if (!present(attributes, "uris")) problems.push_back({"", "say where it is: uris"});
  if (present(attributes, "key") == present(attributes, "key_file"))
    problems.push_back({"", "say the key that signs it: key or key_file; packages that nobody signed are not taken"});
  if (!present(attributes, "fingerprints"))
    problems.push_back({"", "say the fingerprints of its keys, so that no other key is trusted by mistake"});
  for (const auto& uri : attributes.array_at("uris")) {
    const auto* text = uri.as_string();
    if (!text || !is_known(*text)) continue;
    const bool good = text->starts_with("https://") || text->starts_with("http://") || text->starts_with("file:/");
    if (!good || text->find_first_of(" \t\n") != std::string::npos)
      problems.push_back({"uris", "expected https://, http:// or file:/ and no blanks, found '" + one_line(*text, 60) + "'"});
  }
  for (const auto& fingerprint : attributes.array_at("fingerprints")) {
    const auto* text = fingerprint.as_string();
    if (!text || !is_known(*text)) continue;
    std::string plain;
    for (const char c : *text)
      if (c != ' ' && c != ':') plain += c;
    if (!is_hex(plain, 40)) problems.push_back({"fingerprints", "a fingerprint has 40 hexadecimal digits; short ones are forged easily"});
  }
}

void check_archive(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  const std::string digest = attributes.string_or("sha256");
  if (is_known(digest) && !digest.empty() && !is_hex(digest, 64)) problems.push_back({"sha256", "a SHA-256 has 64 hexadecimal digits"});
  if (const auto strip = attributes["strip"].as_int(); strip && (*strip < 0 || *strip > 20))
    problems.push_back({"strip", "expected 0 to 20"});
  if (split(attributes.string_or("path"), '/').size() < 3)
    problems.push_back({"path", "an archive takes over a whole directory; name one of its own below another"});
}

// No proof that SSH gets through, but whoever forgot it is told before the node is out of reach.
void check_firewall(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  const std::string rules = attributes.string_or("rules");
  const bool absent = attributes.string_or("state") == "absent";
  if (absent == !rules.empty()) problems.push_back({absent ? "rules" : "", absent ? "a firewall that shall be absent has no rules" : "say the rules: rules"});
  if (!is_known(rules) || attributes.bool_or("allow_lockout", false)) return;
  const bool drops = rules.find("hook input") != std::string::npos && rules.find("policy drop") != std::string::npos;
  const bool lets_in = rules.find("established") != std::string::npos && rules.find("dport") != std::string::npos;
  if (drops && !lets_in)
    problems.push_back({"rules", "input is dropped without accepting established connections and a port for SSH, which would shut kfab out; say allow_lockout: true if it does not"});
}

void check_raid0(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  const std::string name = attributes.string_or("name");
  if (is_known(name) && !name.empty() && !made_of(name, "-_"))
    problems.push_back({"name", "the name holds other characters than letters, digits, '-' and '_'"});
  if (const auto* serials = attributes["serials"].as_array(); serials && serials->empty())
    problems.push_back({"serials", "no disk is named"});
}

void check_assertion(const json::Value& attributes, std::vector<ResourceProblem>& problems) {
  const int asks = present(attributes, "run") + present(attributes, "shell") + present(attributes, "fact");
  if (asks != 1) problems.push_back({"", "say what is asked, in one way: run, shell or fact"});
  const int wants = present(attributes, "equal") + present(attributes, "one_of") + present(attributes, "at_least");
  if (wants > 1) problems.push_back({"", "say what it must be in one way: equal, one_of or at_least"});
  if (present(attributes, "fact") && wants == 0) problems.push_back({"fact", "say what the fact must be: equal, one_of or at_least"});
}

constexpr std::array supply_rows{
    ResourceRow{{"repository", "a repository of packages, and the key that signs it", "name", repository_attributes}, check_repository},
    ResourceRow{{"archive", "the content of an archive, in a directory of its own", "path", archive_attributes}, check_archive},
    ResourceRow{{"firewall", "kfab's own table of the packet filter, by nft", "state", firewall_attributes}, check_firewall},
    ResourceRow{{"raid0", "striped scratch space over empty disks that are named by their serials", "name", raid0_attributes}, check_raid0},
    ResourceRow{{"assertion", "something that must hold; it changes nothing", "message", assertion_attributes}, check_assertion},
};

}  // namespace

std::span<const ResourceRow> supply_resource_rows() { return supply_rows; }

}  // namespace kfab::manifest
