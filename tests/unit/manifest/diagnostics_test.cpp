#include <doctest/doctest.h>

#include "support.hpp"

#include "base/codes/manifest.hpp"
#include "base/codes/store.hpp"

using namespace kfab;
using namespace kfab::manifest::test;

namespace {

struct Row {
  Code code;
  std::string text;      // of the manifest
  std::string token;     // what the caret is under
};

const std::string tranche = "  tranches: [{name: t1, targets: [{profile: dgx-b200, accelerators: 16}]}]\n";
const std::string with_role = "  tranches: [{name: t1, targets: [{profile: p, accelerators: 16}]}]\n";
const std::string role =
    "---\napiVersion: kfab/v1\nkind: Profile\nmetadata: {name: p}\nspec: {vendor: cpu, accelerator: x, roles: [driver]}\n"
    "---\napiVersion: kfab/v1\nkind: Role\nmetadata: {name: driver}\nspec: {concurrency: 9, resources: [{type: package, id: a, names: [x]}, {type: package, id: b, names: [y], concurrency: 2}]}\n";
const std::string tenant = "  tenants: [{name: a}, {name: b}]\n";

}  // namespace

TEST_CASE("every code of manifests is found at its token") {
  const std::vector<Row> rows{
      {code::manifest_not_yaml, "a: b: c\n", ":"},
      {code::manifest_empty, "# nothing\n", ""},
      {code::unknown_key, site("  kond: campus\n"), "kond"},
      {code::duplicate_key, site("  kind: campus\n  kind: edge\n"), "kind"},
      {code::missing_key, "apiVersion: kfab/v1\nkind: Site\nmetadata: {title: x}\nspec: {}\n", "{"},
      {code::unknown_kind, "apiVersion: kfab/v2\nkind: Site\n", "kfab/v2"},
      {code::unknown_kind, "apiVersion: kfab/v1\nkind: Seite\n", "Seite"},
      {code::unexpected_document, site("  kind: campus\n---\n") + site("  kind: edge\n"), "apiVersion"},
      {code::wrong_type, site("  tranches: none\n"), "none"},
      {code::wrong_unit, site("  power: {facility: 41}\n"), "41"},
      {code::wrong_unit, site("  power: {facility: 41 mw}\n"), "41 mw"},
      {code::unknown_word, site("  kind: kampus\n"), "kampus"},
      {code::unknown_fact, site(with_role) + "---\napiVersion: kfab/v1\nkind: Profile\nmetadata: {name: p}\nspec: {vendor: cpu, accelerator: x, expect: {cpu.threads: {min: 4}, memory.total_gb: {min: 1}}}\n", "memory.total_gb"},
      {code::unknown_fact, site(with_role) + "---\napiVersion: kfab/v1\nkind: Profile\nmetadata: {name: p}\nspec: {vendor: cpu, accelerator: x, roles: [r]}\n"
                           "---\napiVersion: kfab/v1\nkind: Role\nmetadata: {name: r}\nspec: {resources: [{type: assertion, message: m, fact: os.idd, equal: debian}]}\n", "os.idd"},
      {code::bad_date, site("  tranches: [{name: t1, due: 2027-13}]\n"), "2027-13"},
      {code::bad_date, site("  tranches: [{name: t1, due: 2027-02-29}]\n"), "2027-02-29"},
      {code::out_of_range, site("  power: {pue: 0.9}\n"), "0.9"},
      {code::bad_name, site("  tranches: [{name: Tranche 1}]\n"), "Tranche 1"},
      {code::ambiguous_word, site("  tranches: [{name: no}]\n"), "no"},
      {code::bad_pattern, site(tranche + "  nodes: [{group: g, tranche: t1, profile: dgx-b200, range: 'n[1-2]', bmc: '{x}'}]\n"), "x"},
      {code::contradictory_keys,
       site(tranche + "  nodes: [{group: g, tranche: t1, profile: dgx-b200, range: n1, list: [{name: n2}]}]\n"), "{"},
      {code::unknown_reference, site("  tranches: [{name: t1, targets: [{profile: dgx-b20}]}]\n"), "dgx-b20"},
      {code::unknown_reference, site("  tranches: [{name: t1, depends_on: [t2]}]\n"), "t2"},
      {code::unknown_reference, site(tranche + tenant + "  allocations: [{tenant: c, tranche: t1}]\n"), "c"},
      {code::unknown_reference, site(with_role + "  concurrency: {drivr: 4}\n") + role, "drivr"},
      {code::unknown_reference, site(with_role + "  concurrency: {driver/no: 4}\n") + role, "driver/no"},
      {code::out_of_range, site(with_role + "  concurrency: {driver: 0}\n") + role, "0"},
      {code::dependency_cycle, site("  tranches: [{name: t1, depends_on: [t2]}, {name: t2, depends_on: [t1]}]\n"), "t1"},
      {code::bad_referenced_file, site("  tranches: [{name: t1, targets: [{profile: 'file:none.yaml'}]}]\n"), "'file:none.yaml'"},
      {code::bad_referenced_file, site("  tranches: [{name: t1, targets: [{profile: 'file:role.yaml'}]}]\n"), "'file:role.yaml'"},
      {code::duplicate_name, site("  tranches: [{name: t1}, {name: t1}]\n"), "t1"},
      {code::allocations_over_target,
       site(tranche + tenant + "  allocations: [{tenant: a, tranche: t1, accelerators: 10}, {tenant: b, tranche: t1, accelerators: 7}]\n"), "7"},
      {code::allocations_over_target,
       site(tranche + tenant + "  allocations: [{tenant: a, tranche: t1, percent: 60 %}, {tenant: b, tranche: t1, percent: 50 %}]\n"), "50 %"},
      {code::due_before_dependency,
       site("  tranches: [{name: t1, due: 2027-03}, {name: t2, due: 2027-02, depends_on: [t1]}]\n"), "2027-02"},
      {code::target_contradicts, site("  tranches: [{name: t1, targets: [{profile: dgx-b200, accelerators: 20, nodes: 3}]}]\n"), "3"},
      {code::blocks_over_target,
       site("  tranches: [{name: t1, targets: [{profile: dgx-b200, accelerators: 20}], ready_when: {contiguous: [2, 2]}}]\n"), "t1"},
      {code::overlapping_groups,
       site(tranche + "  nodes:\n    - {group: g, tranche: t1, profile: dgx-b200, range: 'n[1-4]'}\n"
                      "    - {group: h, tranche: t1, profile: dgx-b200, range: 'n[3-8]'}\n"), "'n[3-8]'"},
      {code::duplicate_address,
       site(tranche + "  nodes: [{group: g, tranche: t1, profile: dgx-b200, list: [{name: n1, address: h1}, {name: n2, address: h1}]}]\n"), "h1"},
      {code::duplicate_address,
       site(tranche + "  nodes: [{group: g, tranche: t1, profile: dgx-b200, range: 'n[1-4]', address: '10.0.0.{i/2}'}]\n"), "'10.0.0.{i/2}'"},
      {code::duplicate_serial,
       site(tranche + "  nodes: [{group: g, tranche: t1, profile: dgx-b200, list: [{name: n1, serial: X}, {name: n2, serial: X}]}]\n"), "X"},
      {code::count_mismatch,
       site(tranche + "  nodes: [{group: g, tranche: t1, profile: dgx-b200, range: 'n[1-4]', address: '10.0.0.[1-3]'}]\n"), "'10.0.0.[1-3]'"},
      {code::count_mismatch,
       site(tranche + "  nodes: [{group: g, tranche: t1, profile: dgx-b200, range: 'n[1-4]', rack: 'r[1-3]', nodes_per_rack: 2}]\n"), "'r[1-3]'"},
      {code::count_mismatch,
       site(tranche + "  nodes: [{group: g, tranche: t1, profile: dgx-b200, range: 'n[1-4]', address: h1}]\n"), "h1"},
      {code::node_without_tranche, site("  nodes: [{group: g, profile: dgx-b200, range: n1}]\n"), "{"},
      {code::manifest_not_text, "a: \x01\n", "\x01"},
      {code::manifest_not_text, "\xff\xfe" "a", "\xff"},
      {code::tab_in_indentation, "a:\n\tb: 1\n", "\t"},
      {code::alias_refused, site("  pins: &a {driver: x}\n"), "&a"},
      {code::alias_refused, site("  pins: *a\n"), "*"},
      {code::alias_refused, site("  pins: !!map {driver: x}\n"), "!!map"},
      {code::key_not_text, site("  pins: {[a]: b}\n"), "["},
      {code::manifest_not_yaml, "a: [1, 2\n", "["},
      {code::unknown_source, "apiVersion: kfab/v1\nkind: Site\nmetadata: {name: s, sources: {S1: x}}\nspec: {parties: [{name: p, source: S2}]}\n", "S2"},
      {code::bad_attribute, "apiVersion: kfab/v1\nkind: Role\nmetadata: {name: r}\nspec: {resources: [{type: sysctl, name: a.b}]}\n", "{"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto loaded = load(row.text);
    CAPTURE(list(loaded));
    const Diagnostic* found = find(loaded, row.code);
    REQUIRE(found);
    if (row.code != code::manifest_empty) CHECK(pointed_at(loaded, *found).substr(0, row.token.size()) == row.token);
    CHECK(has_errors(loaded.diagnostics) == !loaded.site());
  }
}

TEST_CASE("nesting, numbers of findings and size are bounded") {
  const auto deep = load("a: " + std::string(200, '[') + std::string(200, ']'));
  CHECK(find(deep, code::nested_too_deeply));
  CHECK(has_errors(load("a: " + std::string(100'000, '[')).diagnostics));
  const auto deep_block = load([] {
    std::string text;
    for (int i = 0; i < 400; ++i) text += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
    return text;
  }());
  CHECK(find(deep_block, code::nested_too_deeply));
  std::string many = site("");
  for (int i = 0; i < 3000; ++i) many += fmt::format("  unknown{}: 1\n", i);
  const auto bounded = load(many);
  CHECK(bounded.diagnostics.size() == 1001);
  CHECK(bounded.diagnostics.back().code == code::too_many_findings);
  CHECK(bounded.diagnostics.back().message == "2,000 findings more are not listed");
  const std::string huge(std::size_t{65} << 20, ' ');
  CHECK(find(load(huge), code::manifest_too_large));
}

TEST_CASE("a billion laughs is refused at its first anchor") {
  const auto loaded = load("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n");
  REQUIRE(find(loaded, code::alias_refused));
  CHECK(loaded.diagnostics.front().span->line == 1);
}

TEST_CASE("all errors of one document come in one pass, in the order of their places") {
  const auto loaded = load(
      "apiVersion: kfab/v1\n"
      "kind: Site\n"
      "metadata: {name: Ulsan, as_of: soon}\n"
      "spec:\n"
      "  tranches:\n"
      "    - {name: t1, due: 2027-13, pwer: {facility: 41 MW}}\n"
      "    - name: \"Z\xc3\xbcrich\"\n"
      "      power: {facility: 41 mw, pue: eight}\n"
      "      targets: [{title: \"\xe2\x82\xac\", accelerators: 60,000}]\n"
      "  kind: campas\n"
      "  kind: edge\n");
  CHECK(list(loaded) ==
        "3:18 KF1015 [metadata.name] 'Ulsan' 'Ulsan' is no name (small letters, digits and hyphens only) ?ulsan\n"
        "3:32 KF1013 [metadata.as_of] 'soon' 'soon' is no date (expected YYYY-MM-DD or YYYY-MM)\n"
        "6:23 KF1013 [spec.tranches[0].due] '2027-13' '2027-13' is no date (expected YYYY-MM-DD or YYYY-MM)\n"
        "6:32 KF1003 [spec.tranches[0].pwer] 'pwer' unknown key 'pwer' ?power\n"
        "7:13 KF1015 [spec.tranches[1].name] '\"Z\xc3\xbcrich\"' 'Z\xc3\xbcrich' is no name (small letters, digits and hyphens only) ?z-rich\n"
        "8:25 KF1011 [spec.tranches[1].power.facility] '41 mw' expected a power with its unit, such as '41 MW' (found the unit 'mw') ?41 MW\n"
        "8:37 KF1010 [spec.tranches[1].power.pue] 'eight' expected a number from 1 to 5 (found the string 'eight')\n"
        "9:18 KF1003 [spec.tranches[1].targets[0].title] 'title' unknown key 'title' (not a key of this map)\n"
        "9:47 KF1003 [spec.tranches[1].targets[0].000] '000' unknown key '000' (numbers are written without commas)\n"
        "10:9 KF1012 [spec.kind] 'campas' unknown word 'campas' ?campus\n"
        "11:3 KF1004 [] 'kind' duplicate key 'kind' (first set on line 10)\n");
}

TEST_CASE("a value that is not written has its key's place") {
  const auto loaded = load(site("  tranches:\n    - name:\n      due: 2027-03\n"));
  REQUIRE(loaded.diagnostics.size() == 1);
  CHECK(loaded.diagnostics[0].span->line == 6);
  CHECK(pointed_at(loaded, loaded.diagnostics[0]) == "name");
  CHECK(loaded.diagnostics[0].label == "found nothing");
}

TEST_CASE("byte offsets count bytes and columns count code points") {
  const auto loaded = load("apiVersion: kfab/v1\nkind: Site\nmetadata: {title: \"\xea\xb0\x80\xeb\x82\x98\", name: X}\nspec: {}\n");
  REQUIRE(loaded.diagnostics.size() == 1);
  const SourceSpan& span = *loaded.diagnostics[0].span;
  CHECK(span.line == 3);
  CHECK(span.column == 31);
  CHECK(span.end_column == 32);
  CHECK(span.byte_offset == 65);
}

TEST_CASE("a byte order mark and CRLF move no caret") {
  const auto loaded = load("\xef\xbb\xbf" "apiVersion: kfab/v1\r\nkind: Site\r\nmetadata: {name: s}\r\nspec:\r\n  kond: x\r\n");
  REQUIRE(loaded.diagnostics.size() == 1);
  CHECK(pointed_at(loaded, loaded.diagnostics[0]) == "kond");
  CHECK(loaded.diagnostics[0].span->column == 3);
}

TEST_CASE("the words of YAML 1.1 are words: with a warning as text, refused with the right word as truth values") {
  const auto text = load(site("  tranches: [{name: t1, due_owner: yes}]\n"));
  REQUIRE(text.site());
  CHECK(text.site()->tranches[0].due_owner == "yes");
  CHECK(code_of(text) == "KF1016");
  const auto truth = load(site("  sovereignty: {remote_support: no}\n"));
  CHECK(code_of(truth) == "KF1010");
  CHECK(truth.diagnostics[0].suggestions == std::vector<std::string>{"false"});
}

TEST_CASE("a missing file is said, with nothing else") {
  const auto loaded = manifest::load_file("/nonexistent/site.yaml");
  CHECK(code_of(loaded) == to_string(code::file_unreadable));
  CHECK(has_errors(manifest::load_file("/").diagnostics));
}

TEST_CASE("a site's own concurrency stands over what its roles say") {
  const auto limits = [](const char* said) {
    const auto loaded = load(site(with_role + "  concurrency: {" + said + "}\n") + role);
    CHECK(code_of(loaded) == "none");
    REQUIRE(loaded.site());
    const auto& one = loaded.site()->roles.at("driver");
    return fmt::format("{} {} {}", one.concurrency, one.resources.at(0).concurrency, one.resources.at(1).concurrency);
  };
  CHECK(limits("") == "9 0 2");
  CHECK(limits("driver: 4") == "4 0 2");
  CHECK(limits("driver: any, driver/a: 3, driver/b: any") == "0 3 0");
}
