#pragma once

#include <cstddef>
#include <cstdint>

#include "agent/kernels/exact.hpp"

// The hot loops of the cpu device, compiled with optimisation in every build and for the instruction sets found at run
// time. No allocation, no I/O.
namespace kfab::agent::devices::cpu {

enum class Isa : std::uint8_t { portable, avx2, avx512 };
Isa best_isa();
const char* to_string(Isa);

// A tile of results, tile_rows x tile_columns(type), from packed panels: a[k * tile_rows + row], b[k * tile_columns + column].
inline constexpr int tile_rows = 8, tile_columns_f32 = 32, tile_columns_f64 = 16;
void gemm_tile(const float* a, const float* b, int k, float* c, std::ptrdiff_t c_stride, Isa);
void gemm_tile(const double* a, const double* b, int k, double* c, std::ptrdiff_t c_stride, Isa);
// int8: 8 x 8 results from rows of k consecutive bytes.
inline constexpr int tile_columns_i8 = 8;
void gemm_tile(const std::int8_t* a, const std::int8_t* b, int k, std::int32_t* c, std::ptrdiff_t c_stride, Isa);

// Compares one row of results with the known answers; adds to `state`. `index` is the place of its first element.
void verify_row(exact::Precision, const void* row, int columns, std::uint64_t index, const std::int64_t* weights,
                const std::int32_t* column_coefficients, exact::CheckState& state);

// Words [from, to) of `p`, which holds the words of that place.
void pattern_fill(std::uint64_t* p, std::uint64_t from, std::uint64_t to, int pattern, std::uint64_t parameter,
                  std::uint64_t flip);
// Compares, adds to `state`, and with `rewrite` leaves the complement.
void pattern_check(std::uint64_t* p, std::uint64_t from, std::uint64_t to, int pattern, std::uint64_t parameter,
                   std::uint64_t flip, bool rewrite, exact::CheckState& state);

// The block moves of exact.hpp over windows [from, to) of exact::window_words: `back` from the upper halves to the lower.
void blocks_move(std::uint64_t* p, std::uint64_t from, std::uint64_t to, bool back);

enum class Stream : std::uint8_t { copy, scale, add, triad, start };
// c = a; b = 2 c; c = a + b; a = b + 2 c; a = start values: elements [from, to).
void stream(Stream, double* a, double* b, double* c, std::size_t from, std::size_t to);
// a[i] must be start(i) * factor, bit by bit.
void stream_check(const double* a, double factor, std::size_t from, std::size_t to, exact::CheckState& state);

void merge(exact::CheckState& into, const exact::CheckState& part);

}  // namespace kfab::agent::devices::cpu
