#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "base/codes.hpp"
#include "base/fact_names.hpp"
#include "base/text.hpp"
#include "cli/help.hpp"
#include "cli/man.hpp"
#include "cli/man_checks.hpp"
#include "cli/scdoc.hpp"
#include "manifest/load.hpp"
#include "validation/catalogue.hpp"
#include "validation/xid.hpp"

using namespace kfab;
using namespace kfab::cli;

namespace {

std::string page(const std::string& name, const std::string& file) {
  std::ifstream frame(std::string(KFAB_SOURCE_DIR) + "/man/" + file);
  REQUIRE(frame.good());
  std::ostringstream out;
  REQUIRE(write_manual(name, frame, out) == 0);
  return out.str();
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// The part of a page under a heading of the second level.
std::string under(const std::string& text, const std::string& heading) {
  const auto from = text.find("## " + escape(heading) + "\n");
  if (from == std::string::npos) return {};
  const auto to = text.find("\n#", from + 3);
  return text.substr(from, to == std::string::npos ? to : to - from);
}

}  // namespace

TEST_CASE("kfab-checks(7) has every check with its metrics, levels and what leaves it without a verdict") {
  const std::string text = page("kfab-checks", "kfab-checks.7.scd");
  for (const auto& check : validation::all_checks()) {
    CAPTURE(check.title);
    const std::string part = under(text, fmt::format("{} on {}", check.family, check.device));
    CHECK(has(part, "Levels: "));
    CHECK(has(part, escape(check.not_judged)));
    for (const auto& metric : check.metrics) CHECK(has(part, bold(metric.id)));
  }
  for (const auto& metric : validation::common_metrics()) CHECK(has(text, bold(metric.id)));
  CHECK(has(under(text, "burnin on cuda"), "quick 15 s"));
  CHECK(has(under(text, "memory on vendor"), "Levels: none"));
  CHECK(has(under(text, "burnin on vendor"), "standard 4 min"));
  CHECK(has(under(text, "burnin on vendor"), "rvs"));
}

TEST_CASE("kfab-checks(7) has every criterion that ships, where it is stated, with limit, source and what a missing figure makes of it") {
  const std::string text = page("kfab-checks", "kfab-checks.7.scd");
  std::size_t stated = 0;
  for (const auto& one : manifest::built_ins()) {
    if (one.kind != "Criteria") continue;
    const auto set = manifest::built_in_criteria(one.name);
    REQUIRE(set);
    const std::string part = under(text, set->name + "@" + set->version);
    REQUIRE_FALSE(part.empty());
    for (const auto& base : set->extends) CHECK(has(part, escape(base)));
    for (const auto& criterion : set->criteria) {
      CAPTURE(set->name);
      CAPTURE(criterion.id);
      const bool here = has(part, bold(criterion.id) + "\n");
      stated += here;
      if (set->extends.empty()) CHECK(here);
      CHECK(has(text, bold(criterion.id) + "\n"));
      CHECK(has(text, escape(criterion.source)));
      CHECK(validation::find_metric(criterion.metric, criterion.device) != nullptr);
    }
  }
  CHECK(stated > 200);
  const auto part_of = [&](const std::string& name) { return under(text, name + "@" + manifest::built_in_criteria(name)->version); };
  const std::string h100 = part_of("nvidia-h100");
  CHECK(has(h100, escape("bandwidth.hbm_copy_rw_gbps on cuda, in gbps: at least 0.68 of the nominal hbm_gbps (nominal)")));
  CHECK_FALSE(has(h100, bold("memory-exact")));   // of nvidia-gpu, where it stands
  CHECK(has(part_of("nvidia-gpu"), escape("at most 3 robust deviations below the median of its peers (fleet_relative)")));
  CHECK(has(part_of("nvidia-gpu"), escape("exact integer data: one wrong bit is a defect")));   // the words, not their short name
  CHECK(has(part_of("nvidia-any"), "without nvlinks-down"));
}

TEST_CASE("kfab-checks(7) has every XID with severity and action, and every code of the tests") {
  const std::string text = page("kfab-checks", "kfab-checks.7.scd");
  for (const auto& row : validation::xid_table()) {
    CAPTURE(row.first);
    CHECK(has(text, fmt::format("*XID {}", row.first)));
    CHECK(has(text, escape(row.action)));
  }
  CHECK(has(text, "*XID 79*, fatal\n"));
  CHECK(has(text, "*application*\n\tdegraded when it came during kfab's own tests, pass when it is older"));
  for (const CodeInfo& row : all_codes())
    if (static_cast<int>(row.code) / 100 == 40) CHECK(has(text, bold(to_string(row.code))));
  CHECK(has(text, "One robust deviation is 1.4826 MAD, and at least 0.0167 of the median, so that three are at least 5 %"));
}

TEST_CASE("kfab-checks(7) has every fact of which something may be expected") {
  const std::string text = page("kfab-checks", "kfab-checks.7.scd");
  CHECK(fact_names().size() > 60);
  for (const auto name : fact_names()) {
    CAPTURE(name);
    CHECK(has(text, slanted(name)));
  }
}

TEST_CASE("no page leaves a marker without its table") {
  for (const auto& [name, file] : {std::pair{"kfab", "kfab.1.scd"}, {"kfab-roles", "kfab-roles.7.scd"}, {"kfab-checks", "kfab-checks.7.scd"}}) {
    const std::string text = page(name, file);
    for (const auto line : split_lines(text)) CHECK_FALSE((line.starts_with('%') && line.ends_with('%')));
  }
  std::istringstream none;
  std::ostringstream out;
  CHECK(write_manual("kfab-nonsense", none, out) == 2);
}

TEST_CASE("every variable of kfab's own that a source reads is in `kfab help environment`") {
  const std::regex read("(?:getenv|variable)\\((?:getenv, *)?\"(KFAB_[A-Z_]+)\"\\)");
  std::set<std::string> known, found;
  for (const VariableRow& row : environment_table()) known.emplace(row.name);
  for (const char* folder : {"cli", "commands", "lib"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator(std::string(KFAB_SOURCE_DIR) + "/" + folder)) {
      if (entry.path().extension() != ".cpp") continue;
      std::ifstream in(entry.path());
      const std::string text{std::istreambuf_iterator<char>(in), {}};
      for (std::sregex_iterator it(text.begin(), text.end(), read), end; it != end; ++it) found.insert((*it)[1]);
    }
  CHECK(found.contains("KFAB_JOBS_DIR"));
  CHECK(found.size() >= 4);
  for (const auto& name : found) {
    CAPTURE(name);
    CHECK(known.contains(name));
  }
}
