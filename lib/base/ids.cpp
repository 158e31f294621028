#include "base/ids.hpp"

#include <sys/random.h>

#include <cstdlib>
#include <vector>

#include <fmt/format.h>

namespace kfab {

std::string random_hex(int bytes) {
  std::vector<unsigned char> raw(static_cast<std::size_t>(bytes));
  std::size_t got = 0;
  while (got < raw.size()) {
    const auto n = ::getrandom(raw.data() + got, raw.size() - got, 0);
    if (n > 0) got += static_cast<std::size_t>(n);
  }
  std::string text;
  for (const unsigned char byte : raw) text += fmt::format("{:02x}", byte);
  return text;
}

std::string make_run_id(Timestamp time) {
  std::string compact;
  for (const char c : to_rfc3339(std::chrono::floor<std::chrono::seconds>(time)))
    if (c != '-' && c != ':') compact += c;
  return compact + "-" + random_hex(3);
}

}  // namespace kfab
