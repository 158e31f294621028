#include "agent/cpu_model.hpp"

#include <doctest/doctest.h>

using kfab::agent::cpu_model;

TEST_CASE("processors are known by the name that the kernel tells, and Arm's by their numbers") {
  CHECK(cpu_model("processor\t: 0\nvendor_id\t: GenuineIntel\nmodel\t\t: 207\nmodel name\t: INTEL(R) XEON(R) PLATINUM 8570\n") == "INTEL(R) XEON(R) PLATINUM 8570");
  const std::string grace = "processor\t: 0\nBogoMIPS\t: 2000.00\nFeatures\t: fp asimd sve sve2 bf16 i8mm\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
                            "CPU variant\t: 0x0\nCPU part\t: 0xd4f\nCPU revision\t: 0\n";
  CHECK(cpu_model(grace) == "Arm Neoverse V2");
  CHECK(cpu_model("CPU implementer\t: 0x41\nCPU part\t: 0xfff\n") == "Arm processor 0x41/0xfff");
  CHECK(cpu_model("model name\t:\nCPU implementer\t: 0xc0\nCPU part\t: 0xac3\n") == "Ampere AmpereOne");
  CHECK_FALSE(cpu_model("CPU implementer\t: 0x41\n"));
  CHECK_FALSE(cpu_model(""));
}
