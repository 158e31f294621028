#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// How readiness writes numbers into its sentences.
namespace kfab::readiness {

std::string power_text(double kw);                       // "1.2 GW", "107.25 MW", "850 kW"
std::string count_text(std::int64_t count, std::string_view singular, std::string_view plural = {});   // "7,500 nodes"
std::string percent_text(double percent);                // "4.1 %"
// With "; " between them; the other alone where one is empty.
std::string join_sentences(const std::string& first, const std::string& second);

}  // namespace kfab::readiness
