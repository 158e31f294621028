#include "validation/learn.hpp"

#include <doctest/doctest.h>

#include "manifest/load.hpp"
#include "validation/judge.hpp"

using namespace kfab;

namespace {

json::Value facts(int threads, const std::string& vbios) {
  return json::Object{
      {"identity", json::Object{{"vendor", "ACME \"x\""}, {"board_serial", "SERIAL-1"}, {"hostname", "gpu001"}, {"bios_version", "1.2"}}},
      {"cpu", json::Object{{"model", "CPU: 9"}, {"threads", threads}, {"smt", true}, {"governor", nullptr}}},
      {"memory", json::Object{{"total_gib", 2015.4}}},
      {"disks", json::Array{json::Object{{"name", "nvme0"}, {"model", "M"}, {"serial", "D-1"}, {"size_bytes", 3840755982336}}}},
      {"network", json::Array{json::Object{{"mac", "02:00:00:00:00:01"}, {"physical", true}, {"speed_mbps", 400000}}, json::Object{{"physical", false}, {"speed_mbps", 10}}}},
      {"os", json::Object{{"kernel", "6.1.0"}, {"packages_sha256", threads == 224 ? "aa" : "bb"}}},
      {"gpu_driver", json::Object{{"version", "570.133.20"}}},
      {"gpus", json::Array{json::Object{{"name", "NVIDIA H100"}, {"uuid", "GPU-1"}, {"serial", "G-1"}, {"vbios", vbios}}}},
      {"accelerators", json::Array{json::Object{{"vendor", "nvidia"}, {"address", "0000:01:00.0"}, {"max_pcie_gen", 5}}}}};
}

}  // namespace

TEST_CASE("learn: the profile loads, its node passes, and one that differs is told by what") {
  manifest::Profile present;
  present.vendor = "nvidia";
  present.accelerator = "H100";
  present.device = "cuda";
  present.roles = {"time-chrony", "own-role"};
  present.criteria = "nvidia-h100";
  for (const char* figure : {"hbm_gbps", "fp64_tflops", "fp32_tflops", "tf32_tflops", "bf16_tflops", "fp16_tflops", "fp8_tflops", "pcie_gbps", "nvlink_gbps"}) present.nominal[figure] = 100.5;
  present.vars = {{"ntp", json::Array{"10.0.0.1"}}, {"password", json::Object{{"secret", json::Object{{"env", "NTP_PASSWORD"}}}}}};
  const std::string text = validation::learn_profile(present, facts(224, "96.00"), {"golden", "gpu001", "2026-11-22"});
  for (const char* own : {"SERIAL-1", "G-1", "GPU-1", "D-1", "02:00", "hostname", "0000:01", "NTP_PASSWORD"}) {
    CAPTURE(own);
    CHECK(text.find(own) == std::string::npos);   // what is this node's alone, and secrets
  }
  CHECK(text.find("own-role") != std::string::npos);
  const auto loaded = manifest::load_text(text, "golden.yaml", ".");
  for (const auto& problem : loaded.diagnostics) CHECK_MESSAGE(problem.severity != Severity::error, problem.message);
  const auto* profile = std::get_if<manifest::Profile>(&loaded.document);
  REQUIRE(profile != nullptr);
  CHECK(profile->name == "golden");
  CHECK(profile->pins.at("driver") == "570.133.20");
  CHECK(profile->roles == std::vector<std::string>{"time-chrony"});
  CHECK(profile->vars.size() == 1);
  CHECK(*profile->per_node == 1);
  const auto same = validation::judge_inventory(*profile, facts(224, "96.00"));
  CHECK(same.verdict == Verdict::pass);
  CHECK(same.facts.size() >= 13);
  const auto other = validation::judge_inventory(*profile, facts(112, "95.00"));
  CHECK(other.verdict == Verdict::fail);
  std::string differs;
  for (const auto& fact : other.facts)
    if (fact.verdict != Verdict::pass) differs += fact.path + " ";
  CHECK(differs == "cpu.threads os.packages_sha256 gpus.0.vbios ");
}
