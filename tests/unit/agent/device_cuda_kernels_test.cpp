// The kernels that multiply, by their own text under the emulator: which of them serves a chip, what they find, their proofs, and cuBLASLt
// beside them.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "unit/agent/device_cuda_support.hpp"
#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent::devices;
using namespace kfab::agent::devices::cuda_test;

TEST_CASE("cuda: every precision multiplies right, by the kernels' own text") {
  for (const auto* name : {"fp8", "fp8_e5m2", "bf16", "fp16", "tf32", "int8", "fp32", "fp64"}) {
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
    CHECK(said.measured(metric + ".energy_j_per_tflop")["value"].is_null());
    // Full mantissas beside the exact ones: no mismatch, and a digest of each that is the same in each run.
    CHECK(said.status(test + "_random") == "ran");
    CHECK(said.value("selftest." + test + "_random.found") == 1);
    CHECK(said.value(metric + ".random_mismatches") == 0);
    CHECK(said.value(metric + ".digest") > 0);
    CHECK(said.value(metric + ".random_digest") > 0);
    CHECK(said.value(metric + ".random_digest") != said.value(metric + ".digest"));
    CHECK(said.measured(metric + ".random_digest").array_at("samples").size() >= 3);
    for (const auto& one : said.measured(metric + ".random_digest").array_at("samples")) CHECK(one.as_double() == said.value(metric + ".random_digest"));
  }
}

TEST_CASE("cuda: Hopper's kernels prove themselves, and are used when they have") {
  for (const auto* name : {"fp8", "fp8_e5m2", "bf16", "fp16", "tf32", "int8"}) {
    CAPTURE(name);
    const auto said = with_fault("", {Family::burnin, {name}, fake, true});
    int proven = 0;
    for (const auto& message : said.messages)
      if (message.string_or("type") == "kernel") {
        CAPTURE(message.string_or("reason"));
        CHECK(message.bool_or("proven", false));
        ++proven;
      }
    CHECK(proven >= 1);
    const std::string test = std::string("gemm_") + name, metric = "burnin." + test;
    CHECK(said.status(test) == "ran");
    CHECK(said.status(test + "_random") == "ran");
    CHECK(said.value(metric + ".mismatches") == 0);
    CHECK(said.value(metric + ".random_mismatches") == 0);
    CHECK(said.value(metric + ".kernels_refused") == 0);
    CHECK(said.measured(metric + ".digest").string_or("link").rfind("kfab_hopper_", 0) == 0);
    // What the general kernel finds on exact data is the same to the last bit.
    if (test == "gemm_bf16") CHECK(said.value(metric + ".digest") == with_fault("", {Family::burnin, {name}}).value(metric + ".digest"));
  }
}

TEST_CASE("cuda: a kernel for Hopper that is wrong, waits for ever or is not there is refused with what it was, and the general one does its work") {
  struct Row { const char* fault; const char* words; int wrong; };
  for (const auto& row : {Row{"hopper=wrong", "differ from the known answer", 1}, Row{"hopper=lost", "never came", 0}, Row{"no_tensor_map", "tensor memory unit", 0}}) {
    CAPTURE(row.fault);
    const auto said = with_fault(row.fault, {Family::burnin, {"bf16"}, fake, true});
    CHECK(said.status("gemm_bf16") == "ran");
    CHECK(said.value("burnin.gemm_bf16.mismatches") == 0);
    CHECK(said.value("burnin.gemm_bf16.kernels_refused") == 1);
    CHECK(said.value("burnin.gemm_bf16.kernels_wrong") == row.wrong);
    CHECK(said.value("burnin.gemm_bf16.random_kernels_wrong") == row.wrong);
    CHECK(said.measured("burnin.gemm_bf16.kernels_refused").string_or("detail").find(row.words) != std::string::npos);
    CHECK(said.measured("burnin.gemm_bf16.digest").string_or("link").rfind("kfab_gemm_bf16 ", 0) == 0);
  }
  // One that was not asked is not trusted either.
  CHECK(with_fault("", {Family::burnin, {"bf16"}}).value("burnin.gemm_bf16.kernels_refused") == 1);
}

TEST_CASE("cuda: fp4 where the chip has it") {
  const auto said = with_fault("capability=120", {Family::burnin, {"fp4"}, fake, true});
  CHECK(said.status("gemm_fp4") == "ran");
  CHECK(said.value("burnin.gemm_fp4.mismatches") == 0);
  CHECK(said.value("burnin.gemm_fp4.random_mismatches") == 0);
  CHECK(with_fault("capability=120", {Family::burnin, {"fp4"}}).code("gemm_fp4") == "KF4155");   // not proven, and there is no other
  // Later chips may well have it, and kfab has no kernel for it there; Hopper has none.
  for (const auto* chip : {"capability=110", "capability=121"}) CHECK(with_fault(chip, {Family::burnin, {"fp4"}}).code("gemm_fp4") == "KF4155");
  const auto unproven = with_fault("capability=100", {Family::burnin, {"fp4"}});
  CHECK(unproven.code("gemm_fp4") == "KF4155");
  CHECK(unproven.value("burnin.gemm_fp4.kernels_refused") == 1);   // by which the GPU is degraded
  CHECK(with_fault("capability=100,hopper=wrong", {Family::burnin, {"fp4"}, fake, true}).value("burnin.gemm_fp4.kernels_wrong") == 1);
  CHECK(with_fault("capability=90", {Family::burnin, {"fp4"}}).code("gemm_fp4") == "KF4011");
  CHECK(with_fault("", {Family::burnin, {"fp7"}}).code("gemm_fp7") == "KF4156");
}

TEST_CASE("cuda: cuBLASLt is a second engine on the same data, compared as well") {
  for (const auto* name : {"fp8", "int8"}) {   // all of them: gpu.emulated
    CAPTURE(name);
    const auto said = with_fault("", {Family::burnin, {name}, fake, false, fake_cublaslt, "", 0.05});
    const std::string metric = std::string("burnin.gemm_") + name + ".", unit = std::string(name) == "int8" ? "tops" : "tflops";
    CHECK(said.value(metric + "cublaslt_" + unit) > 0);
    CHECK(said.value(metric + "own_to_cublaslt") > 0);
    CHECK(said.value(metric + "mismatches") == 0);
    CHECK(said.value(metric + "random_mismatches") == 0);
  }
  struct Row { const char* library; const char* fault; const char* words; };
  for (const auto& row : {Row{"libno-such-cublaslt.so", "", "KF4067"}, Row{"libm.so.6", "", "has no function"}, Row{fake_cublaslt.c_str(), "none", "algorithm"},
                          Row{fake_cublaslt.c_str(), "wrong", "not those of exact sums"}}) {
    CAPTURE(row.fault);
    const auto said = with_fault("", {Family::burnin, {"bf16"}, fake, false, row.library, row.fault});
    CHECK(said.status("gemm_bf16") == "ran");
    CHECK(said.value("burnin.gemm_bf16.mismatches") == 0);
    CHECK(said.measured("burnin.gemm_bf16.cublaslt_tflops")["value"].is_null());
    CHECK(said.measured("burnin.gemm_bf16.cublaslt_tflops").string_or("detail").find(row.words) != std::string::npos);
    if (std::string_view(row.fault) == "wrong") CHECK(said.value("burnin.gemm_bf16.cublaslt_inexact_pct") == 100);
  }
  // All wrong in the same way twice is its algorithm: told, and no mismatch. Some, or something else each time, is the GPU.
  const auto by = [](const char* precision, const char* fault) { return with_fault("", {Family::burnin, {precision}, fake, false, fake_cublaslt, fault}); };
  CHECK(by("bf16", "").value("burnin.gemm_bf16.cublaslt_inexact_pct") == 0);
  for (const auto* precision : {"bf16", "fp16", "tf32", "int8", "fp32"}) {
    CAPTURE(precision);
    const auto sick = by(precision, "sick");
    const std::string metric = std::string("burnin.gemm_") + precision;
    CHECK(sick.value(metric + ".mismatches") > 0);
    CHECK(sick.value(metric + ".cublaslt_inexact_pct") == 0);
    REQUIRE_FALSE(sick.mismatches().empty());
    CHECK(sick.mismatches()[0].string_or("where").find("cuBLASLt") != std::string::npos);
  }
  const auto fewer_bits = by("fp8", "sick");   // sums of fewer bits look like that
  CHECK(fewer_bits.value("burnin.gemm_fp8.mismatches") == 0);
  CHECK(fewer_bits.value("burnin.gemm_fp8.cublaslt_inexact_pct") > 1);
  for (const auto* precision : {"bf16", "fp8"}) CHECK(by(precision, "unsteady").value(std::string("burnin.gemm_") + precision + ".mismatches") > 0);
  // Of what it proposes the fastest counts: neither the first, which is slow, nor one that fails.
  const auto tuned = by("bf16", "three");
  CHECK(tuned.value("burnin.gemm_bf16.cublaslt_tflops") > 0);
  CHECK(tuned.measured("burnin.gemm_bf16.cublaslt_tflops").string_or("detail").find("algorithm 3 of the 3 that it proposes") != std::string::npos);
  Ask alone{Family::burnin, {"bf16"}, fake, false, fake_cublaslt};
  alone.second_engine = false;
  CHECK(with_fault("", alone).measured("burnin.gemm_bf16.cublaslt_tflops")["value"].is_null());
  // Of a toolkit's folders the newest is asked first.
  kfab::agent::test::TemporaryDirectory dir;
  for (const auto* version : {"9.2", "10.1", "13.0"}) {
    std::filesystem::create_directories(dir / (std::string("cuda-") + version));
    if (std::string(version) == "9.2") std::filesystem::create_symlink(fake_cublaslt, dir / (std::string("cuda-") + version + "/libcublasLt.so.13"));
    else kfab::agent::test::write(dir / (std::string("cuda-") + version + "/libcublasLt.so.13"), "no library");
  }
  CHECK(with_fault("", {Family::burnin, {"bf16"}, fake, false, dir / "cuda-*/libcublasLt.so.1[32]"}).value("burnin.gemm_bf16.cublaslt_tflops") > 0);
  std::filesystem::remove_all(dir / "cuda-9.2");
  const auto asked = with_fault("", {Family::burnin, {"bf16"}, fake, false, dir / "cuda-*/libcublasLt.so.1[32]"}).measured("burnin.gemm_bf16.cublaslt_tflops").string_or("detail");
  CHECK(asked.find("cuda-13.0") < asked.find("cuda-10.1"));
  CHECK(asked.find("cuda-10.1") != std::string::npos);
  // A single bit is no misunderstanding: it counts.
  const auto said = with_fault("", {Family::burnin, {"bf16"}, fake, false, fake_cublaslt, "flip=1"});
  CHECK(said.value("burnin.gemm_bf16.mismatches") == 1);
}

TEST_CASE("cuda: kernels prove themselves within the memory that a test may take") {
  Ask ask{Family::burnin, {"bf16"}, fake, true};
  ask.memory_cap_bytes = std::uint64_t{2} << 20;
  const auto said = with_fault("memory_mib=64,piece_mib=1", ask);   // where a proof of the burn-in's usual size would not fit
  CHECK(said.status("gemm_bf16") == "ran");
  CHECK(said.value("burnin.gemm_bf16.kernels_refused") == 0);
}

TEST_CASE("cuda: older chips take other kernels or say that they have none") {
  CHECK(with_fault("capability=75", {Family::burnin, {"fp64"}}).value("burnin.gemm_fp64.mismatches") == 0);
  const auto said = with_fault("capability=75", {Family::burnin, {"bf16"}});
  CHECK(said.status("gemm_bf16") == "not_run");
  CHECK(said.code("gemm_bf16") == "KF4011");
}

TEST_CASE("cuda: a wrong bit in a product is found and told with its place") {
  const auto said = with_fault("flip_product=2", {Family::burnin, {"bf16"}}), sound = with_fault("", {Family::burnin, {"bf16"}}), again = with_fault("", {Family::burnin, {"bf16"}});
  // The second slice is wrong, and right when it is multiplied again: the first one's digest does not show it, that of the slices does.
  const std::string slices = "burnin.gemm_bf16.slices_digest", link = sound.measured(slices).string_or("link");
  CHECK(link.find(" exact, ") != std::string::npos);
  CHECK(said.value("burnin.gemm_bf16.digest") == sound.value("burnin.gemm_bf16.digest"));
  CHECK(said.value(slices) != sound.value(slices));
  if (again.measured(slices).string_or("link") == link) CHECK(again.value(slices) == sound.value(slices));
  CHECK(said.value("burnin.gemm_bf16.mismatches") == 1);
  REQUIRE(said.mismatches().size() == 1);
  CHECK(said.mismatches()[0].string_or("mask") == "0x00000400");
  CHECK(said.mismatches()[0].int_or("index", 0) == 1234);
  CHECK(said.mismatches()[0].string_or("where") == "slice 1 row 4 column 210");
  // Of full mantissas nobody knows the answer: the other slices outvote the wrong one, wherever it is.
  for (const int product : {1, 2, 3, 4}) {
    CAPTURE(product);
    const auto random = with_fault("only_random,flip_product=" + std::to_string(product), {Family::burnin, {"bf16"}});
    CHECK(random.value("burnin.gemm_bf16.mismatches") == 0);
    CHECK(random.value("burnin.gemm_bf16.random_mismatches") == 1);
    REQUIRE(random.mismatches().size() == 1);
    CHECK(random.mismatches()[0].string_or("mask") == "0x00000400");
  }
  // In the very first product too, where the checker proves itself.
  CHECK(with_fault("flip_product=1", {Family::burnin, {"fp32"}}).value("burnin.gemm_fp32.mismatches") == 1);
}

TEST_CASE("cuda: Blackwell's kernels prove themselves under the emulator, and are used when they have") {
  struct Row { const char* precision; const char* capability; const char* kernel; };
  for (const auto& row : {Row{"bf16", "100", "kfab_blackwell_bf16"}, Row{"fp16", "103", "kfab_blackwell_fp16"}, Row{"tf32", "100", "kfab_blackwell_tf32"},
                          Row{"fp8", "100", "kfab_blackwell_fp8"}, Row{"fp8_e5m2", "103", "kfab_blackwell_fp8_e5m2"}, Row{"int8", "100", "kfab_blackwell_int8"}, Row{"fp4", "100", "kfab_blackwell_fp4"},
                          Row{"int8", "103", "kfab_gemm_int8"}}) {   // sm_103 has no tcgen05 products of integers
    CAPTURE(row.precision);
    CAPTURE(row.capability);
    const auto said = with_fault(std::string("capability=") + row.capability, {Family::burnin, {row.precision}, fake, true});
    for (const auto& message : said.messages)
      if (message.string_or("type") == "kernel") {
        CAPTURE(message.string_or("reason"));
        CHECK(message.bool_or("proven", false));
      }
    const std::string test = std::string("gemm_") + row.precision, metric = "burnin." + test;
    CHECK(said.status(test) == "ran");
    CHECK(said.status(test + "_random") == "ran");
    CHECK(said.value(metric + ".mismatches") == 0);
    CHECK(said.value(metric + ".random_mismatches") == 0);
    CHECK(said.value(metric + ".kernels_refused") == 0);
    CHECK(said.measured(metric + ".digest").string_or("link").rfind(std::string(row.kernel) + " ", 0) == 0);
    // What the general kernel finds on exact data is the same to the last bit.
    if (test == "gemm_bf16") CHECK(said.value(metric + ".digest") == with_fault("", {Family::burnin, {row.precision}}).value(metric + ".digest"));
  }
}

TEST_CASE("cuda: a kernel for Blackwell that is wrong or waits for what never comes ends in its time and is refused") {
  struct Row { const char* fault; const char* words; };
  for (const auto& row : {Row{"capability=100,hopper=wrong", "differ from the known answer"}, Row{"capability=103,commit=lost", "never came"}}) {
    CAPTURE(row.fault);
    const auto said = with_fault(row.fault, {Family::burnin, {"bf16"}, fake, true});
    CHECK(said.status("gemm_bf16") == "ran");
    CHECK(said.value("burnin.gemm_bf16.mismatches") == 0);
    CHECK(said.value("burnin.gemm_bf16.kernels_refused") == 1);
    CHECK(said.measured("burnin.gemm_bf16.kernels_refused").string_or("detail").find(row.words) != std::string::npos);
    CHECK(said.measured("burnin.gemm_bf16.digest").string_or("link").rfind("kfab_gemm_bf16 ", 0) == 0);
  }
  // After one that gave up waiting nobody knows what is still under way: no other is tried in that context.
  const auto said = with_fault("capability=100,hopper=lost", {Family::burnin, {"bf16", "fp16"}, fake, true});
  int tried = 0;
  for (const auto& message : said.messages) tried += message.string_or("type") == "kernel";
  CHECK(tried == 1);
  CHECK(said.measured("burnin.gemm_bf16.kernels_refused").string_or("detail").find("never came") != std::string::npos);
  CHECK(said.value("burnin.gemm_fp16.kernels_refused") == 1);
  CHECK(said.status("gemm_fp16") == "ran");
}
