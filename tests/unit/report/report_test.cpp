#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>

#include "../readiness/fixture.hpp"
#include "base/text.hpp"
#include "readiness/json.hpp"
#include "report/html_writer.hpp"
#include "report/measured.hpp"
#include "report/report.hpp"

using namespace kfab;
using namespace kfab::report;
using namespace kfab::readiness::fixture;
using readiness::assess;

namespace {

const Provenance provenance{"0.1.0", "20261121T120000Z-abcdef", "/var/lib/kfab"};

struct Made {
  manifest::Site site_;
  store::Evidence evidence_;
  readiness::Readiness result;
};

// Four nodes, one failed, one unknown, an envelope that they do not fit.
Made example() {
  Made made{site(4), {}, {}};
  auto& tranche = made.site_.tranches[0];
  tranche.power.facility_kw = known(40.0, "S2");
  tranche.power.pue = known(1.25);
  manifest::Target target;
  target.profile = "h200x8";
  target.accelerators = known<std::int64_t>(32);
  tranche.targets = {target};
  made.site_.metadata.sources = {{"S2", "press report"}};
  made.evidence_ = evidence(made.site_);
  record(made.evidence_, "n00002", "validate").verdict = Verdict::fail;
  record(made.evidence_, "n00002", "validate").reason = "gemm_fp32: 4 wrong bits";
  std::erase_if(made.evidence_.nodes, [](const auto& r) { return r.node == "n00003"; });
  std::erase_if(made.evidence_.accelerators, [](const auto& r) { return r.node == "n00003"; });
  made.result = assess(made.site_, made.evidence_, context());
  return made;
}

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

std::string text_of(const readiness::Readiness& r, bool verbose) {
  std::ostringstream out;
  term::Writer writer(out, term::StreamFacts{});
  write_text(writer, r, verbose);
  return out.str();
}

// Every element that was opened is closed, in order; attribute values are quoted. Enough of XML to see a broken page.
bool well_formed(std::string_view text) {
  std::vector<std::string> open;
  const std::string_view no_end[] = {"meta", "!DOCTYPE", "?xml"};
  for (auto at = text.find('<'); at != std::string_view::npos; at = text.find('<', at)) {
    const auto end = text.find('>', at);
    if (end == std::string_view::npos) return false;
    std::string_view tag = text.substr(at + 1, end - at - 1);
    at = end;
    if (tag.starts_with("style")) {   // its content is no markup
      at = text.find("</style>", at);
      if (at == std::string_view::npos) return false;
      at += 8;
      continue;
    }
    if (count_of(tag, "\"") % 2 != 0) return false;
    if (tag.starts_with('/')) {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
      continue;
    }
    const std::string name(tag.substr(0, tag.find_first_of(" /\n")));
    if (tag.ends_with('/') || tag.ends_with('?') || std::find(std::begin(no_end), std::end(no_end), name) != std::end(no_end)) continue;
    open.push_back(name);
  }
  return open.empty();
}

}  // namespace

TEST_CASE("the page says the headline, the gates, the reasons and the sources") {
  const auto made = example();
  const auto page = to_html(made.result, provenance);
  CHECK(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
  CHECK(well_formed(page));
  for (const char* part : {"Not ready", "2 of 4 nodes accepted", "gemm_fp32: 4 wrong bits", "contiguous blocks", "press report", "site-sha", "20261121T120000Z-abcdef",
                           "run-1", "due 2027-11-30", "Not tested", "prefers-color-scheme", "aria-label"})
    CHECK_MESSAGE(page.find(part) != std::string::npos, std::string(part));
  CHECK(count_of(page, "<h1") == 1);
  CHECK(count_of(page, "<th scope=\"col\"") > 5);
}

TEST_CASE("the page has no script and no address outside") {
  const auto page = to_html(example().result, provenance);
  CHECK(page.find("<script") == std::string::npos);
  CHECK(page.find("http://") == std::string::npos);
  CHECK(page.find("https://") == std::string::npos);
  CHECK(page.find("src=") == std::string::npos);
  CHECK(page.find("@import") == std::string::npos);
  CHECK(page.find("onload") == std::string::npos);
}

TEST_CASE("what a hostile node or manifest says is text and nothing else") {
  auto made = example();
  const std::string evil = "\"><script>alert(1)</script><img src=x onerror='x'>\x01\x1b]0;x\x07\n| `**`=1+1";
  made.site_.nodes[1].name = "n00002" + evil;
  made.site_.nodes[1].rack = evil;
  for (auto& r : made.evidence_.nodes)
    if (r.node == "n00002") {
      r.node = made.site_.nodes[1].name;
      r.reason = evil;
    }
  made.site_.metadata.title = evil;
  made.site_.tranches[0].title = evil;
  made.site_.parties = {{evil, {"owner"}, evil}};
  const auto r = assess(made.site_, made.evidence_, context());
  store::MeasurementRecord m;
  m.node = m.metric = m.unit = evil;
  m.value = 1;
  const auto page = to_html(r, provenance, {m});
  CHECK(page.find("<script") == std::string::npos);
  CHECK(page.find("<img") == std::string::npos);
  CHECK(page.find('\x01') == std::string::npos);
  CHECK(page.find('\x1b') == std::string::npos);
  CHECK(well_formed(page));
  const auto junit = to_junit(r, provenance);
  CHECK(well_formed(junit));
  CHECK(junit.find("<script") == std::string::npos);
  CHECK(junit.find('\x1b') == std::string::npos);
  const auto markdown = to_markdown(r, provenance);
  CHECK(markdown.find("<script") == std::string::npos);
  CHECK(markdown.find('\x1b') == std::string::npos);
  CHECK(to_csv(r).find('\x1b') == std::string::npos);
  CHECK(to_openmetrics(r, provenance).find('\x1b') == std::string::npos);
  CHECK(text_of(r, true).find('\x1b') == std::string::npos);
}

TEST_CASE("the drawings hold the numbers of the JSON") {
  const auto made = example();
  const auto page = to_html(made.result, provenance);
  const auto& tranche = made.result.tranches[0];
  const json::Value v(readiness::to_json(tranche));
  for (const char* key : {"envelope_kw", "nameplate_kw", "it_envelope_kw", "facility_needed_kw"}) {
    CAPTURE(key);
    const auto at = page.find("data-power=\"" + std::string(key) + "\" data-kw=\"" + json::dump(v["power"][key]) + "\"");
    CHECK(at != std::string::npos);
  }
  CHECK(page.find("data-accepted=\"16\" data-target=\"32\"") != std::string::npos);
  CHECK(v["targets"].as_array()->at(0).int_or("accepted", -1) == 16);
  // A square per node, each with its name.
  for (const auto& node : made.site_.nodes) CHECK(count_of(page, "<title>" + node.name + ": ") == 1);
  CHECK(count_of(page, "class=\"f\"><title>") == 1);
  CHECK(count_of(page, "class=\"d\"><title>") == 1);
  CHECK(count_of(page, "class=\"a\"><title>") == 2);
}

TEST_CASE("bars are as long as their numbers, and over the envelope they are marked") {
  const auto page = to_html(example().result, provenance);
  // 40.8 kW of nodes against 32 kW for IT: both parts together are the longest bar but one.
  const auto at = page.find("data-power=\"nameplate_kw\"");
  REQUIRE(at != std::string::npos);
  const auto group = page.substr(at, page.find("</g>", at) - at);
  CHECK(count_of(group, "<rect") == 2);
  CHECK(group.find("class=\"over\"") != std::string::npos);
  // Needed at the meter (51 kW) is the most, so 640 wide; 32 of 51 kW are 401.57.
  CHECK(group.find("width=\"401.57\"") != std::string::npos);
}

TEST_CASE("the text begins with the answer") {
  const auto made = example();
  const auto brief = text_of(made.result, false);
  CHECK(brief.starts_with("hall: NOT READY"));
  CHECK(brief.find("Tranche p1: NOT READY - 2 of 4 nodes accepted") != std::string::npos);
  CHECK(brief.find("GATE") != std::string::npos);
  CHECK(brief.find("KF5002") != std::string::npos);
  CHECK(brief.find("press report") == std::string::npos);
  const auto full = text_of(made.result, true);
  CHECK(full.find("n00003") != std::string::npos);
  CHECK(full.find("facility power") != std::string::npos);
  CHECK(full.size() > brief.size());
}

TEST_CASE("Markdown: headline, gates as a table, reasons") {
  const auto text = to_markdown(example().result, provenance);
  CHECK(text.starts_with("# hall: NOT READY"));
  CHECK(text.find("| Gate | Verdict | What is known |") != std::string::npos);
  CHECK(text.find("gemm\\_fp32: 4 wrong bits") != std::string::npos);
  CHECK(text.find("**KF5002**") != std::string::npos);
}

TEST_CASE("JUnit: not judged is skipped and never a success") {
  const auto made = example();
  const auto text = to_junit(made.result, provenance);
  const auto& t = made.result.tranches[0];
  const auto open = std::count_if(t.gates.begin(), t.gates.end(), [](const auto& g) { return g.verdict == Verdict::not_judged; }) + 1;   // and one node
  const auto failed = std::count_if(t.gates.begin(), t.gates.end(), [](const auto& g) { return g.verdict == Verdict::fail; }) + 2;   // one node, and the tranche
  CHECK(well_formed(text));
  CHECK(static_cast<long>(count_of(text, "<skipped")) == open);
  CHECK(static_cast<long>(count_of(text, "<failure")) == failed);
  CHECK(count_of(text, "<testcase") == t.gates.size() + t.nodes.size() + 1);
  CHECK(text.find("name=\"ready\"") != std::string::npos);   // no tranche is ready because its gates were only skipped
  CHECK(text.find("failures=\"" + std::to_string(failed) + "\"") != std::string::npos);
}

TEST_CASE("OpenMetrics: what is unknown has no sample") {
  const auto text = to_openmetrics(example().result, provenance);
  CHECK(text.ends_with("# EOF\n"));
  CHECK(text.find("kfab_tranche_ready{site=\"hall\",tranche=\"p1\"} 0\n") != std::string::npos);
  CHECK(text.find("kfab_nodes{site=\"hall\",tranche=\"p1\",state=\"accepted\"} 2\n") != std::string::npos);
  CHECK(text.find("kind=\"envelope\"} 40") != std::string::npos);
  CHECK(text.find("kind=\"measured\"") == std::string::npos);
  CHECK(text.find("null") == std::string::npos);
}

TEST_CASE("CSV: a line per node, and no formula") {
  auto made = example();
  auto text = to_csv(made.result);
  CHECK(count_of(text, "\r\n") == 5);
  CHECK(text.find("hall,p1,n00001,accepted,pass,,,h200x8,n,r001,") != std::string::npos);
  record(made.evidence_, "n00002", "validate").reason = "=cmd|'/c calc'!A1, \"quoted\"";
  text = to_csv(assess(made.site_, made.evidence_, context()));
  CHECK(text.find("\"\"quoted\"\"") != std::string::npos);
  made.site_.nodes[0].slot = "=1+1";
  text = to_csv(assess(made.site_, made.evidence_, context()));
  CHECK(text.find(",'=1+1,") != std::string::npos);
}

TEST_CASE("figures are summed up per device, never over devices") {
  std::vector<store::MeasurementRecord> rows(4);
  for (auto& row : rows) {
    row.metric = "burnin.gemm_fp32.tflops";
    row.unit = "tflops";
    row.device = "cuda";
  }
  rows[0].value = 50;
  rows[1].value = 40;
  rows[1].node = "n2";
  rows[1].verdict = Verdict::fail;
  rows[2].value = 1.5;
  rows[2].device = "cpu";
  const auto found = summarise(rows);
  REQUIRE(found.size() == 2);
  CHECK(found[0].device == "cpu");
  CHECK(found[0].most == doctest::Approx(1.5));
  CHECK(found[1].count == 2);
  CHECK(found[1].without_value == 1);
  CHECK(found[1].least == doctest::Approx(40));
  CHECK(found[1].least_at == "n2");
  CHECK(found[1].median == doctest::Approx(45));
  CHECK(found[1].failed == 1);
}

TEST_CASE("a site of nothing makes a page that says so") {
  manifest::Site empty;
  empty.metadata.name = "later";
  const auto r = assess(empty, {}, context());
  const auto page = to_html(r, provenance);
  CHECK(well_formed(page));
  CHECK(page.find("no tranche") != std::string::npos);
  CHECK(page.find("NaN") == std::string::npos);
  CHECK(!to_markdown(r, provenance).empty());
  CHECK(to_junit(r, provenance).find("tests=\"0\"") != std::string::npos);
}

TEST_CASE("the page of 32,500 nodes stays below 8 MB, with every node on it") {
  auto big = site(32500);
  big.tranches[0].due = known(day("2026-12-31"));
  const auto page = to_html(assess(big, {}, context()), provenance);
  CHECK(page.size() < 8u << 20);
  CHECK(count_of(page, "<title>n") == 32500);
}
