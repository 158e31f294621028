#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace kfab {

// The whole file. Errors: file_unreadable (missing, no permission, a directory), file_too_large past `max_bytes`.
Result<std::string> read_file(const std::filesystem::path&, std::size_t max_bytes = std::size_t{256} << 20);

// Writes beside the target, syncs and renames: a reader sees the old file or the new one, never half of one, and a
// full disk leaves the old. Errors: file_unwritable.
Status write_file_atomically(const std::filesystem::path&, std::string_view bytes, unsigned mode = 0644);

}  // namespace kfab
