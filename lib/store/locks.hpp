#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.hpp"

// Locks that keep two operators from working on the same nodes. Plain values; Store keeps them, and only ever adds: a lock
// and how it ended are two rows.
namespace kfab::store {

inline constexpr const char* whole_site = "*";   // LockRecord::scope

struct LockRecord {
  std::int64_t seq = 0;                 // given by the store
  std::string site;
  std::string scope;                    // a tranche, whole_site, or empty: the nodes that are in no tranche
  std::string owner;                    // user@host
  std::string host;
  std::int64_t pid = 0;                 // of the process that holds it; 0: a person does
  std::string process;                  // when that process was started, so that a number used again is not taken for it
  std::string run_id;                   // of the run that took it
  std::string reason;
  Timestamp at{};
  std::optional<Timestamp> expires_at;
};

// Whether who holds one must wait for the other: of the same site, and the same scope or one of them the whole site.
bool collide(const LockRecord&, const LockRecord&);

enum class LockEnd : std::uint8_t { released, broken };

}  // namespace kfab::store
