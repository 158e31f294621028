#pragma once

#include <string>
#include <string_view>

#include "readiness/readiness.hpp"

// The words that all forms of a report share.
namespace kfab::report {

std::string gate_title(std::string_view id);             // "contiguous" -> "Contiguous blocks"
std::string plan_check_title(std::string_view id);
std::string_view verdict_symbol(Verdict);                // beside the word, never instead of it
std::string_view verdict_words(Verdict);                 // "not judged"
std::string capitalised(std::string_view sentence);
std::string site_title(const readiness::Readiness&);     // its title, else its name
std::string subtitle(const readiness::Readiness&);       // "site, KR, as of 2026-11-21; evaluated 2026-11-21T12:00:00Z"
// "1 of 2 tranches is ready; 3 of 4 nodes are accepted"
std::string summary(const readiness::Readiness&);
Verdict overall_verdict(const readiness::Readiness&);    // the worst of the tranches'; not_judged when there are none
std::string tranche_title(const readiness::TrancheStatus&, bool with_site);   // "ulsan/p1"

}  // namespace kfab::report
