#include "ssh/sha1.hpp"

#include "ssh/codec.hpp"

namespace kfab::ssh::sha1 {

std::vector<Block> blocks_of(std::string_view message, std::size_t before) {
  std::string padded(message);
  padded.push_back(static_cast<char>(0x80));
  while (padded.size() % 64 != 56) padded.push_back('\0');
  const std::uint64_t bits = std::uint64_t{before + message.size()} * 8;
  put_u32(padded, static_cast<std::uint32_t>(bits >> 32));
  put_u32(padded, static_cast<std::uint32_t>(bits));
  std::vector<Block> blocks(padded.size() / 64);
  WireReader reader(padded);
  for (Block& block : blocks) {
    for (std::uint32_t& word : block) word = reader.u32().value_or(0);
  }
  return blocks;
}

Pads pads_of(std::string_view key) {
  std::string whole(key);
  if (key.size() > 64) {
    State<std::uint32_t> state = initial;
    for (const Block& block : blocks_of(key)) compress<std::uint32_t, std::uint32_t>(state, block);
    whole = bytes_of(state);
  }
  whole.resize(64, '\0');
  Pads pads{initial, initial};
  Block inner{}, outer{};
  WireReader reader(whole);
  for (std::size_t i = 0; i < 16; ++i) {
    const std::uint32_t word = reader.u32().value_or(0);
    inner[i] = word ^ 0x36363636u;
    outer[i] = word ^ 0x5c5c5c5cu;
  }
  compress<std::uint32_t, std::uint32_t>(pads.inner, inner);
  compress<std::uint32_t, std::uint32_t>(pads.outer, outer);
  return pads;
}

State<std::uint32_t> words_of(std::string_view twenty_bytes) {
  State<std::uint32_t> words{};
  WireReader reader(twenty_bytes);
  for (std::uint32_t& word : words) word = reader.u32().value_or(0);
  return words;
}

std::string bytes_of(const State<std::uint32_t>& words) {
  std::string bytes;
  for (const std::uint32_t word : words) put_u32(bytes, word);
  return bytes;
}

}  // namespace kfab::ssh::sha1
