#include "ssh/kex_offer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.hpp"
#include "ssh/codec.hpp"

namespace kfab::ssh {
namespace {

constexpr char msg_kexinit = 20;
constexpr std::size_t cookie_bytes = 16, max_list_bytes = 8192;

std::optional<std::vector<std::string>> name_list(WireReader& reader) {
  const auto text = reader.string();
  if (!text || text->size() > max_list_bytes) return std::nullopt;
  if (!std::all_of(text->begin(), text->end(), [](char c) { return c > ' ' && c < 127; })) return std::nullopt;
  return text->empty() ? std::vector<std::string>{} : split(*text, ',');
}

bool is_algorithm(const std::string& name) { return !name.empty() && !name.starts_with("ext-info-") && !name.starts_with("kex-strict-"); }

}  // namespace

std::optional<KexOffer> parse_kexinit(std::string_view packet) {
  if (packet.size() < 1 + cookie_bytes || packet.front() != msg_kexinit) return std::nullopt;
  WireReader reader(packet.substr(1 + cookie_bytes));
  std::array<std::vector<std::string>, 10> lists;   // kex, host key, cipher, cipher back, MAC, MAC back, compression, ..., language
  for (auto& list : lists) {
    auto read = name_list(reader);
    if (!read) return std::nullopt;
    list = std::move(*read);
  }
  if (lists[0].empty()) return std::nullopt;
  return KexOffer{std::move(lists[0]), std::move(lists[1]), std::move(lists[2]), std::move(lists[4])};
}

std::vector<std::string> nothing_in_common(const KexOffer& ours, const KexOffer& theirs) {
  struct Row { std::string_view what; const std::vector<std::string>&ours, &theirs; };
  const Row rows[] = {{"key exchange", ours.kex, theirs.kex},
                      {"host key", ours.host_keys, theirs.host_keys},
                      {"cipher", ours.ciphers, theirs.ciphers},
                      {"MAC", ours.macs, theirs.macs}};
  std::vector<std::string> missing;
  for (const Row& row : rows) {
    std::vector<std::string> offered;
    for (const std::string& name : row.theirs)
      if (is_algorithm(name)) offered.push_back(name);
    const bool common = std::any_of(offered.begin(), offered.end(), [&](const std::string& name) {
      return std::find(row.ours.begin(), row.ours.end(), name) != row.ours.end();
    });
    if (common) continue;
    missing.push_back(fmt::format("{} (the server offers {})", row.what, offered.empty() ? "none" : "only " + one_line(join(offered, ", "), 300)));
  }
  return missing;
}

}  // namespace kfab::ssh
