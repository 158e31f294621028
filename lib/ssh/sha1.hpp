#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// FIPS 180-4 SHA-1, taken apart: the hashed names of known_hosts are its only use here, and with tens of thousands of
// lines what counts is to reuse the state after an HMAC's pad and to do several lines at once. Nothing is secured by it.
namespace kfab::ssh::sha1 {

using Block = std::array<std::uint32_t, 16>;
template <class Word>
using State = std::array<Word, 5>;   // of one message, or of as many side by side as a vector type has lanes

inline constexpr State<std::uint32_t> initial{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};

template <class Word>
Word rotated(const Word& word, int bits) { return (word << bits) | (word >> (32 - bits)); }

// One step of the compression over one block. `Text` is a word of the block: the same type as `Word`, or a single
// std::uint32_t where all lanes hash the same block.
template <class Word, class Text>
void compress(State<Word>& state, const std::array<Text, 16>& block) {
  std::array<Text, 80> w;
  for (std::size_t i = 0; i < 16; ++i) w[i] = block[i];
  for (std::size_t i = 16; i < 80; ++i) w[i] = rotated<Text>(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  Word a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
  const auto turn = [&](const Word& f, std::uint32_t k, const Text& text) {
    const Word next = rotated<Word>(a, 5) + f + e + (text + k);
    e = d;
    d = c;
    c = rotated<Word>(b, 30);
    b = a;
    a = next;
  };
  for (std::size_t i = 0; i < 20; ++i) turn(d ^ (b & (c ^ d)), 0x5a827999, w[i]);
  for (std::size_t i = 20; i < 40; ++i) turn(b ^ c ^ d, 0x6ed9eba1, w[i]);
  for (std::size_t i = 40; i < 60; ++i) turn((b & c) | (d & (b | c)), 0x8f1bbcdc, w[i]);
  for (std::size_t i = 60; i < 80; ++i) turn(b ^ c ^ d, 0xca62c1d6, w[i]);
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
}

// The blocks of a message with its padding. `before` is the number of bytes already hashed, a multiple of 64.
std::vector<Block> blocks_of(std::string_view message, std::size_t before = 0);

// An HMAC's two states after its key's pads, and the block of the outer hash that follows the inner one.
struct Pads { State<std::uint32_t> inner, outer; };
Pads pads_of(std::string_view key);
template <class Word>
std::array<Word, 16> outer_block(const State<Word>& inner) {
  std::array<Word, 16> block{};
  for (std::size_t i = 0; i < 5; ++i) block[i] = inner[i];
  block[5] = block[5] + 0x80000000u;
  block[15] = block[15] + (64 + 20) * 8;
  return block;
}

State<std::uint32_t> words_of(std::string_view twenty_bytes);
std::string bytes_of(const State<std::uint32_t>&);

}  // namespace kfab::ssh::sha1
