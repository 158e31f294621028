#pragma once

#include <cstdint>

#include "base/result.hpp"

namespace kfab::store {

class Database;

// Bytes "kfab" in the file's header: a database without them is not ours.
inline constexpr std::int64_t application_id = 0x6B666162;

// Brings an empty or older database to this kfab's schema, all versions in one transaction. Errors: store_newer,
// store_damaged for a database that is not ours, and those of writing.
Status migrate(Database&, const std::string& name);

}  // namespace kfab::store
