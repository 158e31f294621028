#include "agent/resources/openpgp.hpp"

#include <array>
#include <bit>
#include <cstdint>
#include <optional>

#include <fmt/format.h>

#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr std::string_view armour_begin = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
constexpr std::string_view armour_end = "-----END PGP PUBLIC KEY BLOCK-----";
constexpr int public_key = 6;

// FIPS 180-4 SHA-1, by which version 4 keys are named. It names here and proves nothing: the key is compared with the
// fingerprint that the role gives.
std::string sha1_hex(std::string text) {
  std::array<std::uint32_t, 5> h{0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
  const std::uint64_t bits = std::uint64_t{text.size()} * 8;
  text += '\x80';
  while (text.size() % 64 != 56) text += '\0';
  for (int shift = 56; shift >= 0; shift -= 8) text += static_cast<char>(bits >> shift);
  for (std::size_t block = 0; block < text.size(); block += 64) {
    std::array<std::uint32_t, 80> w{};
    for (std::size_t i = 0; i < 64; ++i) w[i / 4] = (w[i / 4] << 8) | static_cast<unsigned char>(text[block + i]);
    for (std::size_t i = 16; i < 80; ++i) w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    auto [a, b, c, d, e] = h;
    for (std::size_t i = 0; i < 80; ++i) {
      const std::uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 ? b ^ c ^ d : i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
      const std::uint32_t k = i < 20 ? 0x5A827999 : i < 40 ? 0x6ED9EBA1 : i < 60 ? 0x8F1BBCDC : 0xCA62C1D6;
      const std::uint32_t next = std::rotl(a, 5) + f + e + k + w[i];
      e = d, d = c, c = std::rotl(b, 30), b = a, a = next;
    }
    const std::array<std::uint32_t, 5> step{a, b, c, d, e};
    for (std::size_t i = 0; i < 5; ++i) h[i] += step[i];
  }
  return fmt::format("{:08X}{:08X}{:08X}{:08X}{:08X}", h[0], h[1], h[2], h[3], h[4]);
}

Diagnostic bad(std::string_view why) { return error(code::openpgp_bad, fmt::format("the key cannot be read: {}", why)); }

Result<std::string> from_base64(std::string_view text) {
  std::string bytes;
  std::uint32_t buffer = 0;
  int have = 0;
  for (const char c : text) {
    int value = -1;
    if (c >= 'A' && c <= 'Z') value = c - 'A';
    else if (c >= 'a' && c <= 'z') value = c - 'a' + 26;
    else if (c >= '0' && c <= '9') value = c - '0' + 52;
    else if (c == '+') value = 62;
    else if (c == '/') value = 63;
    else if (c == '\n' || c == '\r' || c == ' ' || c == '\t' || c == '=') continue;
    else return bad("its armour holds what is no base64");
    buffer = (buffer << 6) | static_cast<std::uint32_t>(value);
    have += 6;
    if (have >= 8) bytes += static_cast<char>((buffer >> (have -= 8)) & 0xFF);
  }
  return bytes;
}

// The bytes of every armoured block, one after the other.
Result<std::string> without_armour(std::string_view text) {
  std::string bytes;
  for (;;) {
    const auto begin = text.find(armour_begin);
    if (begin == std::string_view::npos) break;
    text.remove_prefix(begin + armour_begin.size());
    const auto end = text.find(armour_end);
    if (end == std::string_view::npos) return bad("its armour has no end");
    std::string block;
    bool body = false;
    for (const auto line : split_lines(text.substr(0, end))) {
      const auto word = trim(line);
      if (!body && word.find(':') == std::string_view::npos && !word.empty()) body = true;   // headers end before
      if (body && word.starts_with('=')) break;                                              // the checksum
      if (body) block += word;
    }
    KFAB_TRY(decoded, from_base64(block));
    bytes += decoded;
    text.remove_prefix(end + armour_end.size());
  }
  return bytes;
}

// Bytes that are taken from the front, or not at all.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  bool empty() const { return rest_.empty(); }
  std::optional<std::size_t> number(std::size_t count) {
    const auto taken = take(count);
    if (!taken) return std::nullopt;
    std::size_t value = 0;
    for (const char c : *taken) value = (value << 8) | static_cast<unsigned char>(c);
    return value;
  }
  std::optional<std::string_view> take(std::size_t count) {
    if (count > rest_.size()) return std::nullopt;
    const auto taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

 private:
  std::string_view rest_;
};

struct Packet {
  int tag = 0;
  std::string_view body;
};

std::optional<Packet> next_packet(Reader& reader) {
  const auto head = reader.number(1);
  if (!head || (*head & 0x80) == 0) return std::nullopt;
  Packet packet;
  std::optional<std::size_t> length;
  if ((*head & 0x40) != 0) {
    packet.tag = static_cast<int>(*head & 0x3F);
    const auto first = reader.number(1);
    if (!first) return std::nullopt;
    if (*first < 192) length = first;
    else if (*first < 224) {
      if (const auto second = reader.number(1)) length = ((*first - 192) << 8) + *second + 192;
    } else if (*first == 255) length = reader.number(4);   // lengths in parts are for data, not for keys
  } else {
    packet.tag = static_cast<int>((*head >> 2) & 0x0F);
    const auto kind = *head & 3;
    if (kind < 3) length = reader.number(std::size_t{1} << kind);
  }
  if (!length) return std::nullopt;
  const auto body = reader.take(*length);
  if (!body) return std::nullopt;
  packet.body = *body;
  return packet;
}

}  // namespace

Result<std::vector<std::string>> openpgp_fingerprints(std::string_view data) {
  std::string bytes(data);
  if (data.find(armour_begin) != std::string_view::npos) {
    KFAB_TRY(decoded, without_armour(data));
    bytes = std::move(decoded);
  }
  Reader reader(bytes);
  std::vector<std::string> found;
  while (!reader.empty()) {
    const auto packet = next_packet(reader);
    if (!packet) return bad("it is no OpenPGP data, or ends too early");
    if (packet->tag != public_key) continue;
    if (packet->body.empty() || packet->body.front() != 4 || packet->body.size() > 0xFFFF) return bad("it is not of version 4");
    const auto size = packet->body.size();
    found.push_back(sha1_hex(std::string{'\x99', static_cast<char>(size >> 8), static_cast<char>(size)} + std::string(packet->body)));
  }
  if (found.empty()) return bad("there is no public key in it");
  return found;
}

std::string plain_fingerprint(std::string_view text) {
  std::string out;
  for (const char c : text)
    if (c != ' ' && c != '\t' && c != ':') out += c >= 'a' && c <= 'f' ? static_cast<char>(c - 'a' + 'A') : c;
  return out;
}

}  // namespace kfab::agent
