#include <doctest/doctest.h>

#include <random>

#include "base/codes/manifest.hpp"
#include "manifest/bulk_rows.hpp"
#include "manifest/pattern.hpp"
#include "manifest/quantity.hpp"
#include "support.hpp"

using namespace kfab;
using namespace kfab::manifest;
using namespace kfab::manifest::test;

namespace {

// What must hold whatever the text is: no crash, an end, and a document exactly when there is no error.
void survives(const std::string& text) {
  const auto loaded = load_text(text, "hostile.yaml", manifests / "examples");
  const bool has_document = !std::holds_alternative<std::monostate>(loaded.document);
  CHECK(has_document != has_errors(loaded.diagnostics));
  for (const Diagnostic& d : loaded.diagnostics)
    if (d.span && d.span->file == "hostile.yaml") CHECK(d.span->byte_offset <= text.size());
}

std::vector<std::string> samples() {
  std::vector<std::string> out;
  for (const char* folder : {"examples", "sites"})
    for (const auto& entry : std::filesystem::directory_iterator(manifests / folder))
      if (entry.path().extension() == ".yaml") out.push_back(read(entry.path()));
  return out;
}

std::string rows(int count, bool flow) {
  std::string text = "apiVersion: kfab/v1\nkind: Site\nmetadata: {name: s}\nspec:\n  tranches: [{name: t1}]\n  nodes:\n    - group: g\n"
                     "      tranche: t1\n      profile: dgx-b200\n      list:\n";
  for (int i = 0; i < count; ++i)
    text += flow ? fmt::format("        - {{name: n{}, address: 10.0.{}.{}, serial: S{}}}\n", i, i / 250, i % 250, i)
                 : fmt::format("        - name: n{}\n          address: 10.0.{}.{}\n          serial: S{}\n", i, i / 250, i % 250, i);
  return text;
}

}  // namespace

TEST_CASE("truncated manifests") {
  for (const std::string& text : samples())
    for (std::size_t cut = 0; cut < text.size(); cut += 1 + text.size() / 150) survives(text.substr(0, cut));
}

TEST_CASE("manifests with flipped bytes") {
  std::mt19937 random(20261121);
  for (const std::string& text : samples())
    for (int round = 0; round < 60; ++round) {
      std::string broken = text;
      for (int flips = 0; flips < 1 + round % 4; ++flips) {
        static constexpr std::string_view nasty = "{}[]:,#&*!|>'\"%@`-? \n\t0a\xff";
        broken[random() % broken.size()] = round % 2 ? nasty[random() % nasty.size()] : static_cast<char>(random() % 256);
      }
      survives(broken);
    }
}

TEST_CASE("texts that are no manifests") {
  for (const char* text : {"", "\n", "---\n", "...\n", "null", "[]", "{}", "a", "- a", "%YAML 1.2\n---\n", "? a\n", "? [a]\n: b\n", "{a", "[", "\"", "'",
                           "|", ">", "&a", "*a", "!!binary x", "a: |\n", "a: >\n\n\n", "\xef\xbb\xbf", "---\n---\n---\n", "a:\n- b\n c\n",
                           "apiVersion: kfab/v1\nkind: Site\n", "apiVersion: kfab/v1\nkind: Site\nmetadata: []\nspec: 7\n",
                           "apiVersion: kfab/v1\nkind: Profile\nmetadata:\nspec:\n", "apiVersion: [1]\nkind: {a: b}\n"})
    survives(text);
}

TEST_CASE("rows taken out of the text come back where they were") {
  for (const bool flow : {true, false}) {
    const std::string text = rows(300, flow);
    const BulkText bulk = take_bulk_rows(text);
    REQUIRE(bulk.runs.size() == 1);
    CHECK(bulk.runs[0].items.size() == 298);
    const auto loaded = load(text);
    CAPTURE(list(loaded));
    REQUIRE(loaded.site());
    REQUIRE(loaded.site()->nodes.size() == 300);
    for (std::size_t i = 0; i < 300; ++i) CHECK(loaded.site()->nodes[i].name == fmt::format("n{}", i));
    CHECK(loaded.site()->nodes[299].serial == "S299");
    // After the rows places are those of the whole text, and inside them findings point at the right row.
    std::string broken = text + "  kond: x\n";
    const std::size_t at = broken.find("S150");
    broken.replace(at, 4, "S149");
    const auto found = load(broken);
    REQUIRE(found.diagnostics.size() == 2);
    CHECK(found.diagnostics[0].code == code::duplicate_serial);
    CHECK(found.diagnostics[0].span->byte_offset == at);
    CHECK(pointed_at(found, found.diagnostics[1]) == "kond");
  }
}

TEST_CASE("quoted rows mean what the scanner would make of them") {
  std::string text = site("  tranches: [{name: t1}]\n  nodes:\n    - group: g\n      tranche: t1\n      profile: dgx-b200\n      list:\n");
  for (int i = 0; i < 100; ++i) text += fmt::format("        - {{\"name\": \"n{}\", slot: \"a # b: {{{}}}\", rack: r1}}\n", i, i);
  CHECK(take_bulk_rows(text).runs.size() == 1);
  const auto loaded = load(text);
  CAPTURE(list(loaded));
  REQUIRE(loaded.site());
  CHECK(loaded.site()->nodes[50].name == "n50");
  CHECK(loaded.site()->nodes[50].slot == "a # b: {50}");
  const auto read_twice = load(text + "  facts: []\n# end\n");
  CHECK(read_twice.site());
}

TEST_CASE("rows that are no rows but literal text stay text") {
  std::string text = "apiVersion: kfab/v1\nkind: Role\nmetadata: {name: r}\nspec:\n  resources:\n    - type: file\n      path: /etc/x\n      content: |\n";
  std::string content;
  for (int i = 0; i < 300; ++i) content += fmt::format("- {{name: n{}}}\n", i);
  for (const std::string_view line : split_lines(content)) text += "        " + std::string(line) + "\n";
  const auto loaded = load(text);
  CAPTURE(list(loaded));
  REQUIRE(std::get_if<Role>(&loaded.document));
  CHECK(std::get<Role>(loaded.document).resources[0].attributes.string_or("content") == content);
}

TEST_CASE("patterns") {
  const auto expand = [](std::string_view pattern, std::string_view name, std::size_t index) {
    const auto parsed = Pattern::parse(pattern);
    if (!parsed) return "error: " + parsed.error().message;
    const auto value = (*parsed)({name, "r07", index});
    return value ? *value : "error: " + value.error().message;
  };
  CHECK(expand("{name}-bmc", "gpu01", 0) == "gpu01-bmc");
  CHECK(expand("10.4.{i/250}.{i%250+1}", "x", 250) == "10.4.1.1");
  CHECK(expand("r{n:03}", "x", 6) == "r007");
  CHECK(expand("{n1}.{n2}", "r01n002", 0) == "01.002");
  CHECK(expand("{n2*2+1}", "r01n002", 0) == "5");
  CHECK(expand("{rack}-{(i+1)*2}", "x", 3) == "r07-8");
  CHECK(expand("{1+2*3}", "x", 0) == "7");
  CHECK(expand("{{x}}", "x", 0) == "{x}");
  CHECK(expand("{n1}", "x", 0).rfind("error", 0) == 0);
  CHECK(expand("{i-1}", "x", 0).rfind("error", 0) == 0);
  CHECK(expand("{1/i}", "x", 0).rfind("error", 0) == 0);
  CHECK(expand("{999999999999*999999999999}", "x", 0).rfind("error", 0) == 0);
  for (const char* bad : {"{", "}", "{}", "{i+}", "{(i}", "{i:3}", "{i:0}", "{foo}", "{i i}", "{99999999999999999999}", "{i:099}"})
    CHECK(expand(bad, "x", 0).rfind("error", 0) == 0);
}

TEST_CASE("quantities") {
  CHECK(*read_quantity("41 MW", power_kw).value == doctest::Approx(41000));
  CHECK(*read_quantity("14.3kW", power_kw).value == doctest::Approx(14.3));
  CHECK(*read_quantity("2 %", percent).value == doctest::Approx(2));
  CHECK(*read_quantity("72 h", age_days).value == doctest::Approx(3));
  CHECK(*read_quantity("141 GB", memory_gib).value == doctest::Approx(131.3).epsilon(0.001));
  CHECK(read_quantity("41", power_kw).wrong_unit);
  CHECK(read_quantity("41 mw", power_kw).suggestions == std::vector<std::string>{"41 MW"});
  CHECK(read_quantity("2", percent).suggestions == std::vector<std::string>{"2 %"});
  CHECK(!read_quantity("MW", power_kw).value);
  CHECK(!read_quantity("1.2.3 MW", power_kw).value);
  CHECK(!read_whole("010"));
  CHECK(!read_whole("60,000"));
  CHECK(!read_number("inf"));
  CHECK(!read_number("0x10"));
}
