#pragma once

#include "agent/devices/device.hpp"
#include "agent/kernels/exact.hpp"

// The three families of the cpu device. Each runs for about `seconds`, but at least one whole pass; none allocates more
// than the request allows.
namespace kfab::agent::devices::cpu {

void run_burnin(const TestRequest&, double seconds, TestSink&);
void run_memory(const TestRequest&, double seconds, TestSink&);
void run_bandwidth(const TestRequest&, double seconds, TestSink&);

int thread_count(const TestRequest&);
// What memory a test may take in all: the request's fraction of what is available (`default_fraction` when it states
// none), at most its cap.
std::uint64_t memory_budget(const TestRequest&, double default_fraction);

// One product in a slice of results, for the tests of the arithmetic: the digest of all results and how many were wrong.
struct Product { exact::CheckState state; double seconds; };
Product one_product(exact::Precision, int threads, int row_shift);

}  // namespace kfab::agent::devices::cpu
