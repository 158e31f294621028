#include <algorithm>

#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/text.hpp"
#include "manifest/decode.hpp"

namespace kfab::manifest {
namespace {

constexpr double none = 1e12;

bool is_country(std::string_view text) {
  return text.size() == 2 && text[0] >= 'A' && text[0] <= 'Z' && text[1] >= 'A' && text[1] <= 'Z';
}

void read_country(Fields& fields, std::string_view key, std::string& out) {
  fields.with(key, [&](const Cursor& at) {
    std::string text;
    if (!read_text(at, text)) return;
    if (is_country(text)) out = text;
    else at.report(code::unknown_word, fmt::format("'{}' is no country code", one_line(text, 40)), "expected two capital letters, such as KR");
  });
}

}  // namespace

void Unique::add(const Cursor& at, const std::string& name) {
  const std::size_t line = at.document.source->line_of(at.node.begin);
  const auto [where, is_new] = lines_.emplace(name, line);
  if (!is_new)
    at.report(code::duplicate_name, fmt::format("a second {} is named '{}'", what_, one_line(name, 60)),
              fmt::format("first declared on line {}", where->second));
}

bool read_reference(const Cursor& at, std::string_view what, const Words& known, std::string& out) {
  std::string text;
  if (!read_text(at, text)) return false;
  if (std::find(known.begin(), known.end(), text) != known.end()) {
    out = std::move(text);
    return true;
  }
  auto near = nearest(text, known, 1);
  std::string label = near.empty() ? std::string("not declared") : std::string();
  Words help;
  if (!known.empty()) help.push_back(fmt::format("declared here: {}", one_line(join(known, ", "), 300)));
  at.report(code::unknown_reference, fmt::format("there is no {} '{}'", what, one_line(text, 60)), std::move(label), std::move(near),
            std::move(help));
  return false;
}

void read_metadata(const Cursor& at, Metadata& out) {
  Fields fields(at);
  fields.name("name", out.name, Need::required);
  fields.text("title", out.title);
  fields.with("version", [&](const Cursor& version) { read_text(version, out.version); });
  read_country(fields, "country", out.country);
  fields.name("federation", out.federation);
  fields.source(out.source);
  fields.with("as_of", [&](const Cursor& day) {
    Date date;
    if (read_date(day, date)) out.as_of = day.node.text;
  });
  fields.text_map("sources", out.sources);
}

void read_fact(const Cursor& at, Fact& out) {
  out.span = at.span();
  Fields fields(at);
  fields.name("id", out.id, Need::required);
  fields.text("text", out.text, Need::required);
  fields.with("value", [&](const Cursor& value) {
    double number = 0;
    if (value.node.shape == Shape::scalar && value.node.text == "unknown") return;
    if (read_number(value, number, -1e18, 1e18)) out.value = number;
  });
  fields.text("unit", out.unit);
  fields.source(out.source);
  fields.with("as_of", [&](const Cursor& day) {
    Date date;
    if (read_date(day, date)) out.as_of = day.node.text;
  });
}

void read_facts(Fields& spec, std::vector<Fact>& out) {
  Unique unique("fact");
  spec.each("facts", [&](const Cursor& at) {
    Fact fact;
    read_fact(at, fact);
    if (!fact.id.empty()) unique.add(at, fact.id);
    out.push_back(std::move(fact));
  });
}

void read_parties(Fields& spec, std::vector<Party>& out) {
  static const Words roles{"owner", "builder", "operator", "accepter", "beneficiary", "supplier", "financier", "regulator"};
  Unique unique("party");
  spec.each("parties", [&](const Cursor& at) {
    Party party;
    Fields fields(at);
    fields.text("name", party.name, Need::required);
    fields.each("roles", [&](const Cursor& role) {
      std::string word;
      if (read_word(role, word, roles)) party.roles.push_back(std::move(word));
    });
    fields.source(party.source);
    fields.done();
    if (!party.name.empty()) unique.add(at, party.name);
    out.push_back(std::move(party));
  });
}

void read_sovereignty(const Cursor& at, Sovereignty& out) {
  Fields fields(at);
  read_country(fields, "residency", out.residency);
  fields.texts("data_classes", out.data_classes);
  fields.texts("egress_allow", out.egress_allow);
  read_country(fields, "operator_nationality", out.operator_nationality);
  fields.boolean("remote_support", out.remote_support);
}

void read_security(const Cursor& at, Security& out) {
  Fields fields(at);
  fields.texts("labels", out.labels);
  fields.boolean("secure_boot", out.secure_boot);
  fields.boolean("confidential_computing", out.confidential_computing);
  fields.boolean("disk_wipe", out.disk_wipe);
  fields.boolean("bmc_password_changed", out.bmc_password_changed);
  fields.text("ssh_ca", out.ssh_ca);
}

void read_connectivity(const Cursor& at, Connectivity& out) {
  Fields fields(at);
  fields.word("mode", out.mode, {"always", "windowed", "sneakernet"});
  fields.quantity("bandwidth", out.bandwidth_mbps, bandwidth_mbps, 0, none);
  fields.texts("via", out.via);
  fields.text("package_mirror", out.package_mirror);
  fields.source(out.source);
}

void read_ssh(const Cursor& at, SshSettings& out) {
  Fields fields(at);
  fields.text("user", out.user);
  fields.with("port", [&](const Cursor& port) {
    std::int64_t value = 0;
    if (read_count(port, value, 1, 65535)) out.port = static_cast<std::uint16_t>(value), out.port_said = true;
  });
  if (fields.has("identity_files")) out.identity_files.clear();
  fields.texts("identity_files", out.identity_files);
  if (fields.has("known_hosts")) out.known_hosts.clear();
  fields.texts("known_hosts", out.known_hosts);
  if (fields.has("host_keys")) out.host_keys_said = true;
  fields.word("host_keys", out.host_keys, {"verify", "trust-on-first-use"});
  fields.word("become", out.become, {"none", "sudo"});
  fields.word("transport", out.transport, {"libssh2", "openssh", "local"});
  fields.text("config", out.config);
}

void read_power(const Cursor& at, Power& out) {
  Fields fields(at);
  fields.quantity("facility", out.facility_kw, power_kw, 0, none);
  fields.quantity("it", out.it_kw, power_kw, 0, none);
  fields.number("pue", out.pue, 1, 5);
  fields.quantity("overhead", out.overhead_fraction, fraction, 0, 10);
  fields.quantity("rack_cap", out.rack_cap_kw, power_kw, 0, none);
  fields.quantity("row_cap", out.row_cap_kw, power_kw, 0, none);
  fields.word("supply", out.supply, {"grid", "ppa", "onsite", "unknown"});
  fields.date("available_from", out.available_from);
  fields.boolean("cumulative", out.cumulative);
}

}  // namespace kfab::manifest
