#include "report/titles.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>

#include "base/text.hpp"
#include "readiness/words.hpp"

namespace kfab::report {
namespace {

struct TitleRow { std::string_view id, title; };
constexpr std::array gate_titles{
    TitleRow{"accepted", "Accepted"},     TitleRow{"contiguous", "Contiguous blocks"}, TitleRow{"spares", "Tested spares"},
    TitleRow{"power", "Power"},           TitleRow{"fabric", "Fabric"},                TitleRow{"facility", "Building"},
    TitleRow{"findings", "Findings"},     TitleRow{"allocations", "Allocations"},      TitleRow{"signatures", "Signatures"},
    TitleRow{"fresh", "Fresh evidence"},  TitleRow{"deliveries", "Deliveries"},        TitleRow{"depends_on", "Earlier tranches"},
};
constexpr std::array check_titles{
    TitleRow{"allocations_sum", "Allocations"}, TitleRow{"tranches_sum", "Tranches"},
    TitleRow{"power_of_whole", "Power of the whole"}, TitleRow{"nodes_in_tranches", "Nodes in tranches"},
};

template <class Rows>
std::string title_in(const Rows& rows, std::string_view id) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.id == id; });
  return std::string(found == rows.end() ? id : found->title);
}

}  // namespace

std::string gate_title(std::string_view id) { return title_in(gate_titles, id); }
std::string plan_check_title(std::string_view id) { return title_in(check_titles, id); }

std::string_view verdict_symbol(Verdict verdict) {
  constexpr std::array symbols{std::string_view("✓"), std::string_view("△"), std::string_view("✕"), std::string_view("○")};
  return symbols[static_cast<std::size_t>(verdict)];
}

std::string_view verdict_words(Verdict verdict) { return verdict == Verdict::not_judged ? "not judged" : to_string(verdict); }

std::string capitalised(std::string_view sentence) {
  std::string text(sentence);
  // A name or an id at the beginning ("n00001: ...", "pcie-h2d") stays as it is written.
  const auto word = sentence.substr(0, sentence.find(' '));
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) { return std::isalpha(c); });
  if (plain && word.size() < sentence.size()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

std::string site_title(const readiness::Readiness& r) { return r.title.empty() ? (r.name.empty() ? "Unnamed site" : r.name) : r.title; }

std::string subtitle(const readiness::Readiness& r) {
  std::string text = r.name;
  if (!r.country.empty()) text += ", " + r.country;
  if (!r.as_of.empty()) text += ", manifest as of " + r.as_of;
  return text + "; evaluated " + to_rfc3339(r.now);
}

std::string summary(const readiness::Readiness& r) {
  using readiness::count_text;
  if (r.tranches.empty()) return "The manifest declares no tranche, so there is nothing that could be ready.";
  const auto ready = static_cast<std::int64_t>(std::count_if(r.tranches.begin(), r.tranches.end(), [](const auto& tranche) { return tranche.ready; }));
  std::string text = fmt::format("{} of {} ready", with_thousands(ready), count_text(static_cast<std::int64_t>(r.tranches.size()), "tranche"));
  if (r.counts.declared == 0) return text + "; no node is declared yet.";
  text += fmt::format("; {} of {} accepted", with_thousands(r.counts.accepted), count_text(r.counts.declared, "node"));
  if (r.counts.failed > 0) text += fmt::format(", {} failed", with_thousands(r.counts.failed));
  if (r.counts.not_judged > 0) text += fmt::format(", {} without a verdict", with_thousands(r.counts.not_judged));
  return text + ".";
}

Verdict overall_verdict(const readiness::Readiness& r) {
  if (r.tranches.empty()) return Verdict::not_judged;
  Verdict all = r.tranches.front().verdict;
  for (const auto& tranche : r.tranches) all = worse(all, tranche.verdict);
  return all;
}

std::string tranche_title(const readiness::TrancheStatus& tranche, bool with_site) {
  return with_site && !tranche.site.empty() ? tranche.site + "/" + tranche.name : tranche.name;
}

}  // namespace kfab::report
