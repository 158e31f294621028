// The cuda device over a stand-in for libcuda.so.1 that runs the text of the kernels (tests/gpu/fake_cuda.cpp): every path of
// the host, the arithmetic of the kernels, and the faults that it can plant.
#include <doctest/doctest.h>

#include <string>

#include "unit/agent/device_support.hpp"

using namespace kfab;
using namespace kfab::agent::devices;

namespace {

const std::string fake = std::string(KFAB_BINARY_DIR) + "/libkfab_fake_cuda.so";

struct Ask {
  Family family = Family::burnin;
  std::vector<std::string> precisions{};
  std::string library = fake;
};

// Runs the first accelerator that is found; without one, says why as the agent would.
Collected with_fault(const std::string& fault, const Ask& ask) {
  return in_process_of_its_own([&](TestSink& sink) {
    // Small products: the stand-in multiplies on one processor.
    ::setenv("KFAB_FAKE_CUDA", (ask.family == Family::burnin ? "memory_mib=4," + fault : fault).c_str(), 1);
    const auto device = make_cuda_device({ask.library, "libnone-such-nvml.so", "an image that the stand-in does not read"});
    const auto found = device->accelerators();
    if (!found) return sink.test_done("inventory", "not_run", 0, found.error().message, to_string(found.error().code));
    for (const auto& one : *found) sink.emit(*to_json(one).as_object());
    TestRequest request;
    request.device = "cuda";
    request.precisions = ask.precisions;
    request.samples = 10;
    request.buffer_bytes = 64 << 10;
    device->run(ask.family, found->at(0), request, 0.05, sink);
  });
}

}  // namespace

TEST_CASE("cuda: every precision multiplies right, by the kernels' own text") {
  for (const auto* name : {"fp8", "bf16", "fp16", "tf32", "int8", "fp32", "fp64"}) {
    CAPTURE(name);
    const auto said = with_fault("", {Family::burnin, {name}});
    const std::string test = std::string("gemm_") + name, metric = "burnin." + test;
    CHECK(said.status(test) == "ran");
    CHECK(said.value("selftest." + test + ".found") == 1);
    CHECK(said.value(metric + ".mismatches") == 0);
    CHECK(said.value(metric + ".iterations") >= 2);
    CHECK(said.value(metric + (test == "gemm_int8" ? ".tops" : ".tflops")) > 0);
    CHECK(said.mismatches().empty());
    CHECK(said.measured("burnin.power_w")["value"].is_null());   // no NVML: said, not invented
  }
}

TEST_CASE("cuda: older chips take other kernels or say that they have none") {
  CHECK(with_fault("capability=75", {Family::burnin, {"fp64"}}).value("burnin.gemm_fp64.mismatches") == 0);
  const auto said = with_fault("capability=75", {Family::burnin, {"bf16"}});
  CHECK(said.status("gemm_bf16") == "not_run");
  CHECK(said.code("gemm_bf16") == "KF4011");
}

TEST_CASE("cuda: a wrong bit in a product is found and told with its place") {
  const auto said = with_fault("flip_product=2", {Family::burnin, {"bf16"}});
  CHECK(said.value("burnin.gemm_bf16.mismatches") == 1);
  REQUIRE(said.mismatches().size() == 1);
  CHECK(said.mismatches()[0].string_or("mask") == "0x00000400");
  CHECK(said.mismatches()[0].int_or("index", 0) == 1234);
  CHECK(said.mismatches()[0].string_or("where") == "slice 1 row 4 column 210");
  // In the very first product too, where the checker proves itself.
  CHECK(with_fault("flip_product=1", {Family::burnin, {"fp32"}}).value("burnin.gemm_fp32.mismatches") == 1);
}

TEST_CASE("cuda: a comparison that finds or compares nothing is never a pass") {
  for (const auto family : {Family::burnin, Family::memory, Family::bandwidth}) {
    for (const auto* fault : {"blind", "idle"}) {
      CAPTURE(fault);
      const auto said = with_fault(fault, {family, {"bf16"}});
      for (const auto* test : {"gemm_bf16", "memory", "stream", "host_to_device_memcpy_ce"}) CHECK(said.status(test) != "ran");
      int failed = 0;
      for (const auto& message : said.messages) failed += message.string_or("status") == "failed";
      CHECK(failed >= 1);
    }
  }
}

TEST_CASE("cuda: memory patterns cover the memory and find a stuck bit") {
  const auto good = with_fault("", {Family::memory});
  CHECK(good.status("memory") == "ran");
  CHECK(good.value("memory.errors") == 0);
  CHECK(good.value("memory.patterns") >= 2);
  CHECK(good.value("memory.coverage_pct") >= 70);   // of 8 MiB 7 are free, and they are taken in pieces of 2
  const auto bad = with_fault("stuck=33", {Family::memory});
  CHECK(bad.value("memory.errors") > 0);
  REQUIRE_FALSE(bad.mismatches().empty());
  CHECK(bad.mismatches()[0].string_or("mask") == "0x0000000200000000");
}

TEST_CASE("cuda: copies under nvbandwidth's names, each destination compared") {
  const auto good = with_fault("devices=2", {Family::bandwidth});
  for (const auto* test : {"host_to_device_memcpy_ce", "device_to_host_memcpy_ce", "host_to_device_bidirectional_memcpy_ce",
                           "device_to_host_bidirectional_memcpy_ce", "device_local_copy", "device_to_device_memcpy_read_ce",
                           "device_to_device_memcpy_write_ce"}) {
    CAPTURE(test);
    CHECK(good.status(test) == "ran");
    CHECK(good.value("bandwidth." + std::string(test) + "_gbps") > 0);
    CHECK(good.value("bandwidth." + std::string(test) + ".mismatches") == 0);
    CHECK(good.value("selftest." + std::string(test) + ".found") == 1);
    CHECK(good.measured("bandwidth." + std::string(test) + "_gbps").array_at("samples").size() == 10);
  }
  CHECK(good.value("bandwidth.hbm_copy_rw_gbps") == doctest::Approx(2 * good.value("bandwidth.device_local_copy_gbps")));
  CHECK(good.measured("bandwidth.device_to_device_memcpy_read_ce_gbps").string_or("link") == "1->0");
  CHECK(good.status("stream") == "ran");
  CHECK(good.value("bandwidth.stream.mismatches") == 0);
}

TEST_CASE("cuda: a wrong bit on one way costs that way alone") {
  // Copies are numbered: 20 a sample and 11 samples in each direction; the last of the second sample to the host.
  const auto said = with_fault("flip_copy=" + std::to_string(11 * 20 + 40), {Family::bandwidth});
  CHECK(said.value("bandwidth.device_to_host_memcpy_ce.mismatches") == 1);
  CHECK(said.value("bandwidth.host_to_device_memcpy_ce.mismatches") == 0);
  CHECK(said.value("bandwidth.device_local_copy.mismatches") == 0);
  REQUIRE(said.mismatches().size() == 1);
  CHECK(said.mismatches()[0].string_or("test") == "device_to_host_memcpy_ce");
}

TEST_CASE("cuda: why there is no test is said with a code, and never passes") {
  struct Row { const char* fault; const char* test; const char* code; const char* status; Family family; };
  for (const auto& row : {Row{"init=100", "inventory", "KF4003", "not_run", Family::burnin}, Row{"init=802", "inventory", "KF4012", "not_run", Family::burnin},
                          Row{"init=803", "inventory", "KF4002", "not_run", Family::burnin}, Row{"init=800", "inventory", "KF4004", "not_run", Family::burnin},
                          Row{"devices=0", "inventory", "KF4003", "not_run", Family::burnin}, Row{"mig", "burnin", "KF4013", "not_run", Family::burnin},
                          Row{"oom", "gemm_bf16", "KF4005", "not_run", Family::burnin}, Row{"oom", "memory", "KF4005", "not_run", Family::memory},
                          Row{"pinned_oom", "bandwidth", "KF4005", "not_run", Family::bandwidth}, Row{"lost_after=3", "gemm_bf16", "KF4006", "failed", Family::burnin},
                          Row{"lost_after=9", "memory", "KF4006", "failed", Family::memory}}) {
    CAPTURE(row.fault);
    const auto said = with_fault(row.fault, {row.family, {"bf16"}});
    CHECK(said.code(row.test) == row.code);
    CHECK(said.status(row.test) == row.status);
    CHECK_FALSE(said.done(row.test).string_or("reason").empty());
  }
  CHECK(with_fault("", {Family::burnin, {}, "libno-such-driver.so"}).code("inventory") == "KF4001");
  CHECK(with_fault("", {Family::burnin, {}, "libm.so.6"}).code("inventory") == "KF4002");   // a symbol is missing
}
