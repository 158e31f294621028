#include <doctest/doctest.h>

#include <sstream>

#include "../readiness/fixture.hpp"
#include "commands/readiness.hpp"
#include "commands/report.hpp"

using namespace kfab;
using namespace kfab::commands;
using namespace kfab::readiness::fixture;

namespace {

manifest::Loaded loaded(manifest::Site s) {
  manifest::Loaded l;
  l.sha256 = s.sha256;
  l.document = std::move(s);
  return l;
}

std::string shown(const CommandOutput& output) {
  std::ostringstream out;
  term::Writer writer(out, term::StreamFacts{});
  if (output.render) output.render(writer);
  return out.str();
}

const report::Provenance provenance{"0.1.0", "run-x", ""};

}  // namespace

TEST_CASE("readiness: yes only when every selected tranche is ready") {
  auto s = site(2);
  s.tranches.push_back(tranche("p2"));
  const readiness::EvidenceBySite e{{"hall", evidence(s)}};
  const auto l = loaded(s);
  CHECK(run_readiness({}, l, e, context()).outcome == Outcome::no);
  CHECK(run_readiness({{"p1"}, false}, l, e, context()).outcome == Outcome::yes);
  CHECK(run_readiness({{"p2"}, false}, l, e, context()).outcome == Outcome::no);
  CHECK(run_readiness({{"p1", "p2"}, false}, l, e, context()).outcome == Outcome::no);
  CHECK(run_readiness({{"p1"}, false}, l, {}, context()).outcome == Outcome::no);
}

TEST_CASE("readiness: an unknown tranche or a document of another kind is not started") {
  const auto l = loaded(site(1));
  auto result = run_readiness({{"p11"}, false}, l, {}, context());
  CHECK(result.outcome == Outcome::invalid);
  REQUIRE(has_errors(result.diagnostics));
  CHECK(result.diagnostics.back().suggestions.at(0) == "p1");
  const auto output = to_output(std::move(result), {}, l);
  CHECK(output.outcome == Outcome::invalid);
  CHECK(output.data.is_null());
  manifest::Loaded other;
  other.document = manifest::Role{};
  CHECK(run_readiness({}, other, {}, context()).outcome == Outcome::invalid);
}

TEST_CASE("readiness: text and JSON are of one struct") {
  const auto s = site(2);
  const auto l = loaded(s);
  const readiness::EvidenceBySite e{{"hall", evidence(s)}};
  const auto output = to_output(run_readiness({}, l, e, context()), {}, l);
  CHECK(output.schema == "kfab.readiness/1.0");
  CHECK(output.site.name == "hall");
  CHECK(output.site.manifest_sha256 == "site-sha");
  CHECK(output.data["tranches"].as_array()->at(0).bool_or("ready", false));
  CHECK(has(shown(output), "Tranche p1: READY - 2 of 2 nodes accepted"));
}

TEST_CASE("report: made also when nothing is ready, and told where it is") {
  const auto l = loaded(site(2));
  ReportOptions options;
  options.output_file = "r.html";
  auto result = run_report(options, l, {}, context(), provenance);
  CHECK(result.document.starts_with("<!DOCTYPE html>"));
  CHECK(result.sha256.size() == 64);
  auto output = to_output(std::move(result), options, l);
  CHECK(output.outcome == Outcome::yes);
  CHECK(output.data.string_or("file") == "r.html");
  CHECK(output.data.string_or("format") == "html");
  CHECK(output.data["document"].is_null());
  CHECK(has(shown(output), "r.html"));
  options = {};
  options.format = report::Format::csv;
  output = to_output(run_report(options, l, {}, context(), provenance), options, l);
  CHECK(shown(output) == output.data.string_or("document"));
  CHECK(has(shown(output), "n00001,declared,not_judged"));
  options.tranches = {"nothing"};
  CHECK(to_output(run_report(options, l, {}, context(), provenance), options, l).outcome == Outcome::invalid);
}

TEST_CASE("report: formats by name") {
  CHECK(report::parse_format("md") == report::Format::markdown);
  CHECK(report::to_string(report::Format::markdown) == "markdown");
  CHECK_FALSE(report::parse_format("pdf").has_value());
}
