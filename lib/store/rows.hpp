#pragma once

#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "base/words.hpp"
#include "json/value.hpp"

// How values stand in the database's columns.
namespace kfab::store {

inline std::int64_t to_ms(Timestamp at) { return at.time_since_epoch().count(); }
inline Timestamp from_ms(std::int64_t ms) { return Timestamp{std::chrono::milliseconds{ms}}; }

// Words that a newer or damaged database may have wrongly read as the answer that claims least.
NodeOutcome read_node_outcome(std::string_view);   // unreachable
Verdict read_verdict(std::string_view);            // not_judged
std::optional<Outcome> read_outcome(std::string_view);

// Those members of an object that are no arrays, objects or long texts; null for anything else.
json::Value summary_of(const json::Value& document);
json::Value read_document(const std::string& text);   // null when it is none

}  // namespace kfab::store
