#include <algorithm>
#include <cstring>

#include "agent/devices/cpu_kernels.hpp"

// One source, one machine code for each instruction set, chosen by the loader. Sanitizers do not know the resolvers.
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define KFAB_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define KFAB_CLONES
#endif

namespace kfab::agent::devices::cpu {
namespace {

void note(exact::CheckState& state, std::uint64_t index, std::uint64_t expected, std::uint64_t got, std::uint64_t second_read) {
  ++state.mismatches;
  state.mask |= expected ^ got;
  state.first = std::min(state.first, index);
  state.last = std::max(state.last, index);
  if (state.recorded < exact::max_records) state.records[state.recorded] = {index, expected, got, second_read};
  ++state.recorded;
}

// A read that the compiler may not satisfy from what it read before.
template <class T>
T read_again(const T* p) {
  return *static_cast<const volatile T*>(p);
}

template <class Bits, class Number>
inline void verify(const Bits* row, int columns, std::uint64_t index, const std::int64_t* w, const std::int32_t* q,
                   exact::CheckState& state) {
  std::uint64_t digest = 0;
  for (int j = 0; j < columns; ++j) {
    const Number value = static_cast<Number>(w[0] * q[4 * j] + w[1] * q[4 * j + 1] + w[2] * q[4 * j + 2] + w[3] * q[4 * j + 3]);
    Bits expected;
    std::memcpy(&expected, &value, sizeof(Bits));
    const Bits got = row[j];
    digest += exact::digest_term(index + std::uint64_t(j), got);
    if (got != expected) note(state, index + std::uint64_t(j), expected, got, read_again(row + j));
  }
  state.digest += digest;
  state.checked += std::uint64_t(columns);
}

template <int pattern>
inline void fill(std::uint64_t* p, std::uint64_t from, std::uint64_t to, std::uint64_t parameter, std::uint64_t flip) {
  for (std::uint64_t i = from; i < to; ++i) p[i] = exact::pattern_word(pattern, i, parameter) ^ flip;
}

// Block by block: first whether anything differs at all, which vectorises, then where.
template <int pattern>
inline void check(std::uint64_t* p, std::uint64_t from, std::uint64_t to, std::uint64_t parameter, std::uint64_t flip,
                  bool rewrite, exact::CheckState& state) {
  constexpr std::uint64_t block = 2048;
  for (std::uint64_t start = from; start < to; start += block) {
    const std::uint64_t end = std::min(start + block, to);
    std::uint64_t wrong = 0, digest = 0;
    for (std::uint64_t i = start; i < end; ++i) {
      const std::uint64_t got = p[i];
      wrong |= got ^ exact::pattern_word(pattern, i, parameter) ^ flip;
      digest += got;
    }
    if (wrong) {
      for (std::uint64_t i = start; i < end; ++i) {
        const std::uint64_t expected = exact::pattern_word(pattern, i, parameter) ^ flip, got = p[i];
        if (got != expected) note(state, i, expected, got, read_again(p + i));
      }
      // A word that the second look found right was wrong once: that is a finding too.
      if (state.mismatches == 0) note(state, start, 0, wrong, 0);
    }
    if (rewrite) fill<pattern>(p, start, end, parameter, ~flip);
    state.digest += digest;
    state.checked += end - start;
  }
}

}  // namespace

KFAB_CLONES void verify_row(exact::Precision precision, const void* row, int columns, std::uint64_t index,
                            const std::int64_t* weights, const std::int32_t* column_coefficients, exact::CheckState& state) {
  if (precision == exact::fp64)
    verify<std::uint64_t, double>(static_cast<const std::uint64_t*>(row), columns, index, weights, column_coefficients, state);
  else if (precision == exact::int8)
    verify<std::uint32_t, std::int32_t>(static_cast<const std::uint32_t*>(row), columns, index, weights, column_coefficients, state);
  else
    verify<std::uint32_t, float>(static_cast<const std::uint32_t*>(row), columns, index, weights, column_coefficients, state);
}

KFAB_CLONES void pattern_fill(std::uint64_t* p, std::uint64_t from, std::uint64_t to, int pattern, std::uint64_t parameter,
                              std::uint64_t flip) {
  switch (pattern) {
    case exact::solid: return fill<exact::solid>(p, from, to, parameter, flip);
    case exact::walking_one: return fill<exact::walking_one>(p, from, to, parameter, flip);
    case exact::walking_zero: return fill<exact::walking_zero>(p, from, to, parameter, flip);
    case exact::own_address: return fill<exact::own_address>(p, from, to, parameter, flip);
    case exact::random_words: return fill<exact::random_words>(p, from, to, parameter, flip);
    case exact::shifted_32: return fill<exact::shifted_32>(p, from, to, parameter, flip);
    case exact::moved_blocks: return fill<exact::moved_blocks>(p, from, to, parameter, flip);
    default: return fill<exact::modulo_20>(p, from, to, parameter, flip);
  }
}

KFAB_CLONES void pattern_check(std::uint64_t* p, std::uint64_t from, std::uint64_t to, int pattern, std::uint64_t parameter,
                               std::uint64_t flip, bool rewrite, exact::CheckState& state) {
  switch (pattern) {
    case exact::solid: return check<exact::solid>(p, from, to, parameter, flip, rewrite, state);
    case exact::walking_one: return check<exact::walking_one>(p, from, to, parameter, flip, rewrite, state);
    case exact::walking_zero: return check<exact::walking_zero>(p, from, to, parameter, flip, rewrite, state);
    case exact::own_address: return check<exact::own_address>(p, from, to, parameter, flip, rewrite, state);
    case exact::random_words: return check<exact::random_words>(p, from, to, parameter, flip, rewrite, state);
    case exact::shifted_32: return check<exact::shifted_32>(p, from, to, parameter, flip, rewrite, state);
    case exact::moved_blocks: return check<exact::moved_blocks>(p, from, to, parameter, flip, rewrite, state);
    default: return check<exact::modulo_20>(p, from, to, parameter, flip, rewrite, state);
  }
}

void blocks_move(std::uint64_t* p, std::uint64_t from, std::uint64_t to, bool back) {
  for (std::uint64_t window = from; window < to; ++window) {
    std::uint64_t* lower = p + window * exact::window_words;
    std::uint64_t* upper = lower + exact::half_words;
    for (std::uint64_t at = 0; at < exact::half_words; at += exact::block_words) {
      if (back) std::memcpy(lower + exact::moved_back(at), upper + at, exact::block_words * 8);
      else std::memcpy(upper + exact::moved_forth(at), lower + at, exact::block_words * 8);
    }
  }
}

KFAB_CLONES void stream(Stream operation, double* __restrict a, double* __restrict b, double* __restrict c, std::size_t from,
                        std::size_t to) {
  switch (operation) {
    case Stream::copy:
      for (std::size_t i = from; i < to; ++i) c[i] = a[i];
      break;
    case Stream::scale:
      for (std::size_t i = from; i < to; ++i) b[i] = 2 * c[i];
      break;
    case Stream::add:
      for (std::size_t i = from; i < to; ++i) c[i] = a[i] + b[i];
      break;
    case Stream::triad:
      for (std::size_t i = from; i < to; ++i) a[i] = b[i] + 2 * c[i];
      break;
    case Stream::start:
      for (std::size_t i = from; i < to; ++i) a[i] = double(i % 65521 + 1);
      break;
  }
}

KFAB_CLONES void stream_check(const double* a, double factor, std::size_t from, std::size_t to, exact::CheckState& state) {
  for (std::size_t i = from; i < to; ++i) {
    const double value = double(i % 65521 + 1) * factor;
    std::uint64_t expected, got;
    std::memcpy(&expected, &value, 8);
    std::memcpy(&got, a + i, 8);
    if (got != expected) note(state, i, expected, got, got);
  }
  state.checked += to - from;
}

void merge(exact::CheckState& into, const exact::CheckState& part) {
  into.checked += part.checked;
  into.mismatches += part.mismatches;
  into.digest += part.digest;
  into.mask |= part.mask;
  into.first = std::min(into.first, part.first);
  into.last = std::max(into.last, part.last);
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>(part.recorded, exact::max_records); ++i)
    if (into.recorded + i < exact::max_records) into.records[into.recorded + i] = part.records[i];
  into.recorded += part.recorded;
}

}  // namespace kfab::agent::devices::cpu
