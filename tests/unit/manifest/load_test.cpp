#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "support.hpp"

#include "base/codes/manifest.hpp"

using namespace kfab;
using namespace kfab::manifest;
using namespace kfab::manifest::test;

TEST_CASE("the example site is read as it is written") {
  const auto loaded = load_file(manifests / "examples/site.yaml");
  CAPTURE(list(loaded));
  CHECK(loaded.diagnostics.empty());
  REQUIRE(loaded.site());
  const Site& site = *loaded.site();
  CHECK(site.metadata.name == "example-hall");
  REQUIRE(site.tranches.size() == 2);
  CHECK(to_string(*site.tranches[0].due) == "2027-03-31");
  CHECK(*site.tranches[0].power.facility_kw == doctest::Approx(2200));
  CHECK(*site.power.overhead_fraction == doctest::Approx(0.1));
  CHECK(site.tranches[1].power.facility_kw.unknown());
  CHECK(site.tranches[1].due.source == "contract");
  CHECK(site.tranches[0].ready_when.contiguous == std::vector{64, 64});
  REQUIRE(site.nodes.size() == 160);
  const Node& node = site.nodes[9];
  CHECK(node.name == "gpu010");
  CHECK(node.address == "198.51.100.10");
  CHECK(node.bmc == "203.0.113.10");
  CHECK(node.rack == "r02");
  CHECK(node.slot == "u5");
  CHECK(node.profile == "example-h200");
  CHECK(node.tranche == "t1");
  CHECK(site.nodes[128].serial == "EX26B0001");
  CHECK(site.nodes[128].rack == "r17");
  const Profile* profile = site.find_profile("example-h200");
  REQUIRE(profile);
  CHECK(*profile->nameplate_kw == doctest::Approx(10.2));
  CHECK(profile->nameplate_kw.source == "DGX");
  CHECK(profile->criteria == "example-criteria");
  CHECK(profile->roles == std::vector<std::string>{"example-time"});
  CHECK(profile->sha256.size() == 64);
  REQUIRE(site.criteria.count("example-criteria") == 1);
  const CriteriaSet& set = site.criteria.at("example-criteria");
  CHECK(set.criteria[0].direction == Direction::equal);
  CHECK(set.criteria[1].nominal_key == "hbm_gbps");
  CHECK(set.criteria[2].basis == Basis::fleet_relative);
  CHECK(set.criteria[3].basis == Basis::record_only);
  CHECK(set.sha256.size() == 64);
  REQUIRE(site.roles.count("example-time") == 1);
  const Role& role = site.roles.at("example-time");
  CHECK(role.resources[0].id == "package:chrony");
  CHECK(role.resources[1].id == "chrony-conf");
  CHECK(role.resources[2].restart_on == std::vector<std::string>{"chrony-conf"});
  CHECK(site.find_tranche("t2") == &site.tranches[1]);
  CHECK(site.find_tranche("t3") == nullptr);
}

TEST_CASE("every manifest that ships is valid, without a warning") {
  std::size_t count = 0;
  for (const char* folder : {"sites", "examples", "profiles", "criteria", "roles"}) {
    if (!std::filesystem::exists(manifests / folder)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(manifests / folder)) {
      if (entry.path().extension() != ".yaml") continue;
      const auto loaded = load_file(entry.path());
      CAPTURE(entry.path().string());
      CAPTURE(list(loaded));
      CHECK(loaded.diagnostics.empty());
      CHECK(loaded.sha256.size() == 64);
      ++count;
    }
  }
  CHECK(count >= 17);
}

TEST_CASE("a built-in document has the name of its file, and loads by that name") {
  const auto all = built_ins();
  CHECK(all.size() >= 4);
  for (const BuiltIn& one : all) {
    const auto loaded = load_text(one.text, std::string(one.name), {});
    CAPTURE(one.name);
    CAPTURE(list(loaded));
    CHECK(loaded.diagnostics.empty());
    if (const auto* profile = std::get_if<Profile>(&loaded.document)) {
      CHECK(one.kind == "Profile");
      CHECK(profile->name == one.name);
    } else if (const auto* set = std::get_if<CriteriaSet>(&loaded.document)) {
      CHECK(one.kind == "Criteria");
      CHECK(set->name == one.name);
    } else {
      REQUIRE(std::get_if<Role>(&loaded.document));
      CHECK(one.kind == "Role");
      CHECK(std::get<Role>(loaded.document).name == one.name);
    }
  }
}

TEST_CASE("references resolve in the same file before the built-in ones") {
  const auto loaded = load(site("  tranches: [{name: t1, targets: [{profile: dgx-b200}, {profile: dgx-h200}]}]\n") +
                           "---\napiVersion: kfab/v1\nkind: Profile\nmetadata: {name: dgx-b200}\n"
                           "spec: {vendor: nvidia, accelerator: mine}\n");
  CAPTURE(list(loaded));
  REQUIRE(loaded.site());
  CHECK(loaded.site()->profiles.at("dgx-b200").accelerator == "mine");
  CHECK(loaded.site()->profiles.at("dgx-h200").accelerator == "H200");
  CHECK(loaded.site()->profiles.at("dgx-h200").device == "cuda");
}

TEST_CASE("the digest is of what is said, not of how it is laid out") {
  const auto digest = [](std::string_view spec) { return load(site(spec)).sha256; };
  const std::string plain = digest("  kind: campus\n  power: {pue: 1.2, facility: 1 MW}\n");
  CHECK(plain == digest("  # a comment\n  power:\n    facility: 1 MW\n    pue: 1.2\n  kind: campus\n"));
  CHECK(plain != digest("  kind: campus\n  power: {pue: 1.3, facility: 1 MW}\n"));
  Folder folder;
  folder.write("nodes.csv", "name\nn1\n");
  const std::string text = site("  tranches: [{name: t1}]\n  nodes: [{group: g, tranche: t1, profile: dgx-b200, csv: nodes.csv}]\n");
  const auto before = load_text(text, "s", folder.path);
  folder.write("nodes.csv", "name\nn2\n");
  CHECK(before.sha256 != load_text(text, "s", folder.path).sha256);
}

TEST_CASE("a programme draws in its sites") {
  const auto loaded = load_file(manifests / "sites/micro-programme.yaml");
  REQUIRE(loaded.program());
  REQUIRE(loaded.program()->sites.size() == 2);
  CHECK(loaded.program()->sites[0].metadata.name == "micro-daegu");
  CHECK(loaded.program()->sites[1].kind == "container");
  CHECK(loaded.program()->links.size() == 1);
  Folder folder;
  folder.write("p.yaml", "apiVersion: kfab/v1\nkind: Program\nmetadata: {name: p}\nspec: {sites: [p.yaml, none.yaml]}\n");
  const auto bad = load_file(folder.path / "p.yaml");
  CHECK(bad.diagnostics.size() == 2);   // itself is no Site, the other is not there
}

TEST_CASE("what a programme promises is held against its total") {
  const auto program = [](int first, int second) {
    return load(fmt::format("apiVersion: kfab/v1\nkind: Program\nmetadata: {{name: p}}\nspec:\n  accelerators: 100\n  tenants: [{{name: a}}, {{name: b}}]\n"
                            "  allocations: [{{tenant: a, accelerators: {}}}, {{tenant: b, accelerators: {}}}]\n", first, second));
  };
  CHECK(program(50, 50).diagnostics.empty());
  CHECK(code_of(program(50, 51)) == to_string(code::allocations_over_total));
  const auto below = program(50, 40);
  CHECK(code_of(below) == to_string(code::allocations_below_total));
  CHECK(below.program());
}

TEST_CASE("stated values are absent, unknown or known, and keep their provenance") {
  const auto loaded = load(site("  tranches:\n    - {name: a, due: unknown}\n    - {name: b, due: {value: 2027-11, source: S2, as_of: 2026-11-21}}\n    - {name: c}\n"));
  REQUIRE(loaded.site());
  const auto& tranches = loaded.site()->tranches;
  CHECK(tranches[0].due.unknown());
  CHECK(to_string(*tranches[1].due) == "2027-11-30");
  CHECK(tranches[1].due.source == "S2");
  CHECK(tranches[1].due.as_of == "2026-11-21");
  CHECK(!tranches[2].due.known());
  CHECK(!tranches[2].due.unknown());
}

TEST_CASE("units convert to those of the model") {
  const auto loaded = load(site("  power: {facility: 0.041 GW, it: 41000 kW, rack_cap: 40000 W}\n  connectivity: {bandwidth: 0.1 Gbit/s}\n"));
  REQUIRE(loaded.site());
  CHECK(*loaded.site()->power.facility_kw == doctest::Approx(41000));
  CHECK(*loaded.site()->power.it_kw == doctest::Approx(41000));
  CHECK(*loaded.site()->power.rack_cap_kw == doctest::Approx(40));
  CHECK(*loaded.site()->connectivity.bandwidth_mbps == doctest::Approx(100));
}

TEST_CASE("nodes of a list and of a CSV file override what the group says") {
  const auto loaded = load(site(
      "  tranches: [{name: t1}]\n  nodes:\n    - group: g\n      tranche: t1\n      profile: dgx-b200\n      identity: name\n      vars: {a: 1, b: x}\n"
      "      ssh: {port: 2222}\n      list: [{name: n1, address: 127.0.0.1, vars: {a: 2}}, {name: n2, address: 127.0.0.1}]\n"));
  CAPTURE(list(loaded));
  REQUIRE(loaded.site());
  const auto& nodes = loaded.site()->nodes;
  CHECK(nodes[0].identity_by_name);
  CHECK(nodes[0].vars.at("a").as_int() == 2);
  CHECK(nodes[1].vars.at("a").as_int() == 1);
  CHECK(nodes[0].ssh->port == 2222);
}

TEST_CASE("every bad row of a CSV file is a finding with its line and column") {
  Folder folder;
  folder.write("nodes.csv",
               "name,address,bmc,rack,slot,serial\n"
               "n1,10.0.0.1,,r1,u1,\"A\"\"1\"\n"
               "n2,10.0.0.2\n"
               "n 3,10.0.0.3,,,,\n"
               "n4,\"10.0.0.4\"x,,,,\n"
               "n5,-oProxy,,,,\n"
               "n6,10.0.0.6,,,,A6\n"
               "n6,10.0.0.7,,,,A6\n"
               "n8,10.0.0.6,,,,A6\n");
  const auto loaded = load_text(site("  tranches: [{name: t1}]\n  nodes: [{group: g, tranche: t1, profile: dgx-b200, csv: nodes.csv}]\n"), "s.yaml", folder.path);
  std::string found;
  for (const Diagnostic& d : loaded.diagnostics) found += fmt::format("{}:{} {}\n", d.span->line, d.span->column, to_string(d.code));
  CHECK(found == "3:1 KF1044\n4:1 KF1044\n5:14 KF1044\n6:4 KF1044\n8:1 KF1040\n9:4 KF1041\n9:16 KF1042\n");
  folder.write("nodes.csv", "nam,address\nn1,h\n");
  const auto header = load_text(site("  tranches: [{name: t1}]\n  nodes: [{group: g, tranche: t1, profile: dgx-b200, csv: nodes.csv}]\n"), "s.yaml", folder.path);
  const Diagnostic* bad = find(header, code::bad_csv_header);
  REQUIRE(bad);
  CHECK(bad->span->line == 1);
}

TEST_CASE("role resources: circles, unknown ids, equal ids, wrong attributes") {
  const auto role = [](std::string_view resources) {
    return load(fmt::format("apiVersion: kfab/v1\nkind: Role\nmetadata: {{name: r}}\nspec:\n  resources:\n{}", resources));
  };
  CHECK(code_of(role("    - {type: sysctl, name: a.b, value: 1, id: x, after: [y]}\n    - {type: sysctl, name: c.d, value: 1, id: y, after: [x]}\n")) ==
        to_string(code::dependency_cycle));
  const auto unknown = role("    - {type: sysctl, name: a.b, value: 1, id: first}\n    - {type: sysctl, name: c.d, value: 1, after: [frist]}\n");
  CHECK(code_of(unknown) == to_string(code::unknown_reference));
  CHECK(unknown.diagnostics[0].suggestions == std::vector<std::string>{"first"});
  CHECK(code_of(role("    - {type: package, names: [a]}\n    - {type: package, names: [a]}\n")) == to_string(code::duplicate_name));
  CHECK(code_of(role("    - {type: package, nmaes: [a], names: [a]}\n")) == to_string(code::unknown_key));
  CHECK(code_of(role("    - {type: file, path: relative, content: x}\n")) == to_string(code::bad_attribute));
  CHECK(code_of(role("    - {type: file, path: /a, content: x, mode: 0644}\n")) == to_string(code::bad_attribute));
  CHECK(code_of(role("    - {type: pakage, names: [a]}\n")) == to_string(code::unknown_word));
}

TEST_CASE("a chain of many dependencies needs no stack") {
  std::string text = "apiVersion: kfab/v1\nkind: Role\nmetadata: {name: r}\nspec:\n  resources:\n";
  constexpr int count = 5000;
  for (int i = 0; i < count; ++i)
    text += fmt::format("    - {{type: sysctl, name: a.b{}, value: 1, id: i{}, after: [i{}]}}\n", i, i, (i + 1) % count);
  const auto loaded = load(text);
  CHECK(code_of(loaded) == to_string(code::dependency_cycle));
  CHECK(loaded.diagnostics.size() == 1);
}

TEST_CASE("the text of a file resource is read from beside the manifest") {
  Folder folder;
  folder.write("motd", "hello {{ name }}\n");
  const std::string text = "apiVersion: kfab/v1\nkind: Role\nmetadata: {name: r}\nspec: {resources: [{type: file, path: /etc/motd, source: motd}]}\n";
  const auto loaded = load_text(text, "r.yaml", folder.path);
  CAPTURE(list(loaded));
  REQUIRE(std::get_if<Role>(&loaded.document));
  CHECK(std::get<Role>(loaded.document).resources[0].attributes.string_or("content") == "hello {{ name }}\n");
}
