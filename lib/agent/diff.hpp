#pragma once

#include <string>
#include <string_view>

namespace kfab::agent {

// A unified diff with three lines of context, or one line that says that a side is not text. At most `max_bytes`:
// what is cut is said. Texts too large to compare line by line are shown as removed and added as a whole, then cut.
std::string unified_diff(std::string_view before, std::string_view after, std::string_view path,
                         std::size_t max_bytes = 16 * 1024);

}  // namespace kfab::agent
