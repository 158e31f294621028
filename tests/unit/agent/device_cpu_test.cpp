#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <vector>

#include "agent/devices/cpu_host.hpp"
#include "agent/devices/cpu_kernels.hpp"
#include "agent/devices/cpu_tests.hpp"
#include "agent/devices/findings.hpp"
#include "agent/devices/memory_patterns.hpp"
#include "base/codes/validation.hpp"
#include "unit/agent/device_support.hpp"

using namespace kfab;
using namespace kfab::agent::devices;

namespace {
TestRequest small() {
  TestRequest request;
  request.device = "cpu";
  request.families = {Family::burnin, Family::memory, Family::bandwidth};
  request.memory_cap_bytes = 24 << 20;
  request.threads = 2;
  return request;
}
}  // namespace

TEST_CASE("the processor is one accelerator with an identity") {
  const auto found = make_cpu_device()->accelerators();
  REQUIRE(found);
  REQUIRE(found->size() == 1);
  CHECK((*found)[0].id.rfind("cpu-", 0) == 0);
  CHECK((*found)[0].device == "cpu");
  CHECK((*found)[0].memory_bytes > 0);
}

TEST_CASE("products are right to the last bit and the same for any number of threads") {
  for (const auto precision : {exact::fp32, exact::fp64, exact::int8}) {
    const auto one = cpu::one_product(precision, 1, 0), three = cpu::one_product(precision, 3, 0), shifted = cpu::one_product(precision, 2, 64);
    CHECK(one.state.checked > 0);
    CHECK(one.state.mismatches == 0);
    CHECK(three.state.mismatches == 0);
    CHECK(shifted.state.mismatches == 0);
    CHECK(one.state.digest == three.state.digest);
    CHECK(one.state.digest != shifted.state.digest);   // each slice has answers of its own
  }
}

TEST_CASE("every instruction set computes the same tile") {
  const int k = 40;
  std::vector<float> a(std::size_t(k * cpu::tile_rows)), b(std::size_t(k * cpu::tile_columns_f32));
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = float(int(i * 7 % 13) - 6);
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = float(int(i * 5 % 11) - 5);
  std::vector<float> expected(cpu::tile_rows * cpu::tile_columns_f32);
  for (int r = 0; r < cpu::tile_rows; ++r)
    for (int c = 0; c < cpu::tile_columns_f32; ++c)
      for (int kk = 0; kk < k; ++kk)
        expected[std::size_t(r * cpu::tile_columns_f32 + c)] += a[std::size_t(kk * cpu::tile_rows + r)] * b[std::size_t(kk * cpu::tile_columns_f32 + c)];
  for (const auto isa : {cpu::Isa::portable, cpu::Isa::avx2, cpu::Isa::avx512}) {
    if (isa > cpu::best_isa()) continue;
    std::vector<float> got(expected.size());
    cpu::gemm_tile(a.data(), b.data(), k, got.data(), cpu::tile_columns_f32, isa);
    CHECK(got == expected);
  }
}

TEST_CASE("the comparison of results finds single bits, NaN and infinity, and says where") {
  const int columns = 64;
  std::vector<std::int64_t> weights{3, -1, 2, 5};
  std::vector<std::int32_t> coefficients;
  for (int j = 0; j < columns * 4; ++j) coefficients.push_back(j % 7 - 3);
  std::vector<float> row;
  for (int j = 0; j < columns; ++j) {
    std::int64_t sum = 0;
    for (int s = 0; s < 4; ++s) sum += weights[std::size_t(s)] * coefficients[std::size_t(4 * j + s)];
    row.push_back(float(sum));
  }
  const auto verify = [&] {
    exact::CheckState state = exact::empty_check_state();
    cpu::verify_row(exact::fp32, row.data(), columns, 1000, weights.data(), coefficients.data(), state);
    return state;
  };
  CHECK(verify().mismatches == 0);
  CHECK(verify().checked == std::uint64_t(columns));
  const auto digest = verify().digest;
  for (const float wrong : {std::nextafter(row[9], 1e9f), NAN, INFINITY}) {
    const float kept = row[9];
    row[9] = wrong;
    const auto state = verify();
    CHECK(state.mismatches == 1);
    CHECK(state.first == 1009);
    CHECK(state.records[0].index == 1009);
    CHECK(state.digest != digest);
    row[9] = kept;
  }
}

TEST_CASE("the processor pulses as it is told, and joins no common start late") {
  TestRequest request = small();
  request.precisions = {"int8"};
  request.load.kind = LoadShape::Kind::pulsed;
  const auto paused = [](const Collected& one) { return one.value("burnin.load.worked_pct") < 95; };   // unless a product takes as long as a pause
  const auto said = with_longer_periods(
      0.5,
      [&](double period_s) {
        Collected one;
        request.load.period_s = period_s;
        cpu::run_burnin(request, 2 * period_s, one);
        return one;
      },
      paused);
  CHECK(said.status("gemm_int8") == "ran");
  CHECK(said.value("burnin.load.asked_pct") == 50);
  CHECK(paused(said));
  CHECK(said.value("burnin.load.worked_pct") > 0);
  CHECK(said.measured("burnin.load.asked_pct").string_or("detail") == describe(request.load));
  request.load.start_at = 1000;
  Collected late;
  cpu::run_burnin(request, 2, late);
  CHECK(late.code("load") == "KF4071");
  CHECK_FALSE(late.has("burnin.gemm_int8.iterations"));
  Collected steady;
  cpu::run_burnin(small(), 0.1, steady);
  CHECK(steady.value("burnin.load.asked_pct") == 100);
}

TEST_CASE("every memory pattern finds a stuck bit of either kind") {
  constexpr std::uint64_t words = exact::window_words;
  // A bit that sticks is right in about half the rounds: all rounds together must find it.
  for (const bool to_one : {true, false}) {
    for (const auto& row : all_memory_patterns) {
      std::vector<std::uint64_t> memory(words);
      struct Stuck {
        std::vector<std::uint64_t>& memory;
        bool to_one;
        void damage() {
          const std::uint64_t bit = std::uint64_t{1} << 33;
          memory[4321] = to_one ? memory[4321] | bit : memory[4321] & ~bit;
        }
        void fill(const PatternStep& step) {
          cpu::pattern_fill(memory.data(), 0, words, step.pattern, step.parameter, step.flip);
          damage();
        }
        PatternStep move(const PatternStep& step) {
          for (const bool back : {false, true}) {
            cpu::blocks_move(memory.data(), 0, 1, back);
            damage();
          }
          return {exact::moved_blocks, step.parameter, step.flip};
        }
        exact::CheckState check(const PatternStep& step, bool rewrite) {
          exact::CheckState state = exact::empty_check_state();
          cpu::pattern_check(memory.data(), 0, words, step.pattern, step.parameter, step.flip, rewrite, state);
          damage();
          return state;
        }
      } tester{memory, to_one};
      std::uint64_t found = 0, mask = 0;
      for (std::uint64_t round = 0; round < row.rounds; ++round)
        run_pattern(row, round, tester, [&](const exact::CheckState& state) {
          found += state.mismatches;
          mask |= state.mask;
          // What was moved over the sick word is wrong where it lies now as well.
          if (state.mismatches && row.course != Course::moves) CHECK(state.records[0].index == 4321);
        }, [] {});
      CAPTURE(row.name);
      CHECK(found > 0);
      CHECK(mask == std::uint64_t{1} << 33);
    }
  }
}

TEST_CASE("a test of seconds takes no more memory than it can go through, and one of a small part all of it") {
  const auto run = [](double seconds, std::uint64_t cap) {
    TestRequest request = small();
    request.memory_cap_bytes = cap;
    request.memory_fraction = 0.9;
    Collected said;
    const Stopwatch watch;
    cpu::run_memory(request, seconds, said);
    return std::pair{std::move(said), watch.seconds()};
  };
  const std::uint64_t most = cpu::memory_budget([] { TestRequest all = small(); all.memory_cap_bytes = 0; all.memory_fraction = 0.9; return all; }(), 0.9);
  const auto [short_one, took] = run(0.05, 0);
  CHECK(short_one.status("memory") == "ran");
  CHECK(short_one.value("memory.errors") == 0);
  CHECK(took < 30);
  if (most > (std::uint64_t{4} << 30))   // else all of it may be gone through in that time
    CHECK(short_one.measured("memory.coverage_pct").string_or("detail").find("too short") != std::string::npos);
  const auto [small_one, took_too] = run(0.05, 8 << 20);
  CHECK(small_one.measured("memory.coverage_pct").string_or("detail").rfind("8 MiB of", 0) == 0);
  CHECK(small_one.measured("memory.coverage_pct").string_or("detail").find("too short") == std::string::npos);
}

TEST_CASE("a good memory passes every pattern") {
  constexpr std::uint64_t words = 2 * exact::window_words;
  std::vector<std::uint64_t> memory(words);
  struct Good {
    std::vector<std::uint64_t>& memory;
    void fill(const PatternStep& s) { cpu::pattern_fill(memory.data(), 0, words, s.pattern, s.parameter, s.flip); }
    PatternStep move(const PatternStep& s) {
      cpu::blocks_move(memory.data(), 0, 2, false);
      cpu::blocks_move(memory.data(), 0, 2, true);
      return {exact::moved_blocks, s.parameter, s.flip};
    }
    exact::CheckState check(const PatternStep& s, bool rewrite) {
      exact::CheckState state = exact::empty_check_state();
      cpu::pattern_check(memory.data(), 0, words, s.pattern, s.parameter, s.flip, rewrite, state);
      return state;
    }
  } tester{memory};
  for (const auto& row : all_memory_patterns)
    for (std::uint64_t round = 0; round < row.rounds; ++round)
      run_pattern(row, round, tester, [&](const exact::CheckState& state) {
        CHECK(state.mismatches == 0);
        CHECK(state.checked == words);
      }, [] {});
}

TEST_CASE("the patterns are those of the classic memory tests") {
  std::set<std::string_view> names;
  for (const auto& row : all_memory_patterns) names.insert(row.name);
  CHECK(names == std::set<std::string_view>{"own_address", "moving_inversions", "moving_inversions_8bit", "moving_inversions_32bit", "moving_inversions_random",
                                            "walking_ones", "walking_zeros", "random", "modulo_20", "block_move", "bit_fade"});
  // A block that was not moved, or moved to the wrong place, is found: each move is left out once.
  std::vector<std::uint64_t> memory(exact::window_words);
  for (const int left_out : {0, 1}) {
    cpu::pattern_fill(memory.data(), 0, memory.size(), exact::random_words, 5, 0);
    for (const int move : {0, 1})
      if (move != left_out) cpu::blocks_move(memory.data(), 0, 1, move == 1);
    exact::CheckState state = exact::empty_check_state();
    cpu::pattern_check(memory.data(), 0, memory.size(), exact::moved_blocks, 5, 0, false, state);
    CHECK(state.mismatches >= exact::half_words);
  }
}

TEST_CASE("a second look tells what was stored wrong from what was read wrong") {
  CHECK(nature_of({0, 1, 3, 3}) == "stored");
  CHECK(nature_of({0, 1, 3, 1}) == "read");
  CHECK(nature_of({0, 1, 3, 2}) == "unsteady");
}

TEST_CASE("records of many wrong words are bounded and the counters are not") {
  std::vector<std::uint64_t> memory(10'000, 1);
  exact::CheckState state = exact::empty_check_state();
  cpu::pattern_check(memory.data(), 0, memory.size(), exact::solid, 0, 0, false, state);
  CHECK(state.mismatches == 10'000);
  exact::CheckState other = state;
  cpu::merge(other, state);
  CHECK(other.mismatches == 20'000);
  Collected sink;
  emit_mismatches(sink, "memory", other, 8, [](std::uint64_t i) { return std::to_string(i); });
  CHECK(sink.mismatches().size() == exact::max_records);
  CHECK(sink.mismatches()[1].int_or("stride", 0) == 1);
  CHECK(sink.mismatches()[0].int_or("count", 0) == 20'000);
  CHECK(sink.mismatches()[0].string_or("mask") == "0x0000000000000001");
}

TEST_CASE("each family runs, proves its checker and tells its figures") {
  const auto device = make_cpu_device();
  const auto accelerator = device->accelerators()->at(0);
  Collected sink;
  for (const auto family : {Family::burnin, Family::memory, Family::bandwidth}) device->run(family, accelerator, small(), 0.3, sink);
  for (const auto* test : {"gemm_fp32", "gemm_fp64", "gemm_int8", "memory", "stream"}) {
    CHECK(sink.status(test) == "ran");
    CHECK(sink.value(std::string("selftest.") + test + ".found") == 1);
  }
  CHECK(sink.value("burnin.gemm_fp32.mismatches") == 0);
  CHECK(sink.value("burnin.gemm_fp32.iterations") >= 1);
  CHECK(sink.value("burnin.gemm_fp32.tflops") > 0);
  CHECK(sink.value("burnin.gemm_int8.tops") > 0);
  CHECK(sink.value("memory.errors") == 0);
  CHECK(sink.value("memory.patterns") >= 2);
  CHECK(sink.value("memory.coverage_pct") > 0);
  CHECK(sink.value("bandwidth.stream_triad_gbps") > 0);
  CHECK(sink.measured("bandwidth.stream_triad_gbps").array_at("samples").size() >= 10);
  CHECK(sink.value("bandwidth.stream.mismatches") == 0);
}

TEST_CASE("memory and bandwidth take the time that they are given, pass after pass") {
  auto request = small();
  request.memory_cap_bytes = 1 << 20;
  request.patterns = {"own_address", "bit_fade"};
  const auto device = make_cpu_device();
  const auto accelerator = device->accelerators()->at(0);
  Collected sink;
  device->run(Family::memory, accelerator, request, 0.6, sink);
  CHECK(sink.status("memory") == "ran");
  CHECK(sink.done("memory").double_or("duration_s", 0) >= 0.6);
  CHECK(sink.value("memory.patterns") == 2);
  CHECK(sink.value("memory.errors") == 0);
  int rounds = 0, waits = 0;   // bits are waited for once
  CHECK(std::sscanf(sink.measured("memory.own_address.errors").string_or("detail").c_str(), "%d rounds", &rounds) == 1);
  CHECK(std::sscanf(sink.measured("memory.bit_fade.errors").string_or("detail").c_str(), "%d rounds", &waits) == 1);
  CHECK(rounds >= 2);
  CHECK(waits == 2);
  request.samples = 1;
  device->run(Family::bandwidth, accelerator, request, 0.6, sink);
  CHECK(sink.status("stream") == "ran");
  CHECK(sink.done("stream").double_or("duration_s", 0) >= 0.6);
  CHECK(sink.value("bandwidth.stream.mismatches") == 0);
}

TEST_CASE("a test that is stopped at once is not run, and has no figure") {
  const auto device = make_cpu_device();
  const auto accelerator = device->accelerators()->at(0);
  Collected sink;
  sink.stop = [] { return true; };
  for (const auto family : {Family::burnin, Family::memory, Family::bandwidth}) device->run(family, accelerator, small(), 5, sink);
  for (const auto* test : {"gemm_fp32", "memory", "stream"}) {
    CHECK(sink.status(test) == "not_run");
    CHECK(sink.code(test) == "KF4020");
  }
  CHECK(sink.measured("burnin.gemm_fp32.mismatches")["value"].is_null());
  CHECK(sink.measured("memory.errors")["value"].is_null());
  CHECK(sink.measured("bandwidth.stream_triad_gbps")["value"].is_null());
}

TEST_CASE("a precision that a processor has no burn-in for is said to be so") {
  auto request = small();
  request.precisions = {"fp8"};
  Collected sink;
  make_cpu_device()->run(Family::burnin, {}, request, 0.1, sink);
  CHECK(sink.status("gemm_fp8") == "not_run");
  CHECK(sink.code("gemm_fp8") == "KF4011");
}

TEST_CASE("requests are read with bounds") {
  const json::Value wild = json::Object{{"device", "cpu"}, {"duration_s", 1e300}, {"memory_fraction", 7.5}, {"threads", -4}, {"samples", 0},
                                        {"families", json::Array{"memory", "memory", "burnin"}}};
  const auto request = read_request(wild);
  REQUIRE(request);
  CHECK(request->duration_s == 30.0 * 86400);
  CHECK(request->memory_fraction == 0.98);
  CHECK(request->threads == 0);
  CHECK(request->samples == 1);
  CHECK(request->families.size() == 2);
  CHECK(read_request(to_json(*request))->families.size() == 2);
  CHECK(read_request(json::Object{{"device", "tpu"}}).error().code == code::unknown_test_device);
  CHECK(read_request(json::Object{{"device", "cpu"}, {"families", json::Array{"burn"}}}).error().code == code::unknown_test_family);
}
