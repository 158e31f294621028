#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace kfab {

// A number of things, or a share of some whole: "5", "2%", "0.5%". A share is rounded down.
struct Share {
  double value = 0;       // a count, or percent from 0 to 100
  bool percent = false;
  std::size_t of(std::size_t whole) const;   // never more than the whole when a percentage
  bool operator==(const Share&) const = default;
};
std::optional<Share> parse_share(std::string_view text);
std::string to_string(const Share&);

}  // namespace kfab
