#include <doctest/doctest.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "agent/devices/nvml_sampler.hpp"
#include "unit/agent/health_support.hpp"

using namespace health_test;

TEST_CASE("the health of a sound GPU") {
  const Node node;
  const auto said = node.health("");
  CHECK(said.status("health") == "ran");
  for (const char* metric : {"ecc_volatile_uncorrected", "ecc_aggregate_corrected", "remapped_rows_pending", "remapped_rows_failed", "pcie_replays", "nvlink_replay", "nvlinks_down",
                             "aer_fatal", "aer_correctable", "fabric_incomplete", "fabric_unhealthy", "inforom_invalid", "recovery_action", "mig_mode", "confidential_computing",
                             "foreign_processes", "sram_threshold_exceeded", "repair_pending"}) {
    CAPTURE(metric);
    CHECK(said.value(std::string("health.") + metric) == 0);
  }
  CHECK(said.value("health.ecc_mode") == 1);
  CHECK(said.value("health.persistence_mode") == 1);
  CHECK(said.value("health.nvlinks_active") == 18);
  CHECK(said.value("health.kernel_log") == 1);
  CHECK(said.value("health.memory_gib") == doctest::Approx(79.65).epsilon(0.01));
  CHECK(said.value("selftest.health.found") == 1);
  CHECK(said.value("pcie.generation") == 5);
  CHECK(said.value("pcie.generation_missing") == 0);
  CHECK(said.value("pcie.width_missing") == 0);
  CHECK_FALSE(said.has("xid.79"));
  for (const char* metric : {"health.retired_pages", "health.retired_pages_pending", "health.retired_pages_double_bit"}) {
    CHECK(said.measured(metric)["value"].is_null());
    CHECK(detail(said, metric) == "this GPU remaps rows instead (KF4011)");
  }
  CHECK(said.value("device.capability") == 90);
  CHECK(said.value("device.pcie_generation") == 5);
  for (const auto& m : said.messages)
    if (m.string_or("type") == "versions") CHECK(m["versions"].string_or("driver") == "570.133.20");
}

TEST_CASE("each thing that can be wrong with a GPU is told as it is") {
  struct Row { const char* script; const char* metric; double value; const char* words; };
  const Node node;
  for (const auto& row : {Row{"ecc_aggregate_uncorrected=7", "health.ecc_aggregate_uncorrected", 7, ""}, Row{"remapped_rows_pending=1", "health.remapped_rows_pending", 1, ""},
                          Row{"remapped_rows_failed=1", "health.remapped_rows_failed", 1, ""}, Row{"nvlinks_down=2", "health.nvlinks_down", 2, "links 16, 17"},
                          Row{"nvlinks=12", "health.nvlinks_active", 12, ""}, Row{"fabric_state=2", "health.fabric_incomplete", 1, "in progress"},
                          Row{"fabric_status=16", "health.fabric_incomplete", 1, "requires restart"}, Row{"fabric_mask=17", "health.fabric_unhealthy", 1, "degraded bandwidth, route unhealthy"},
                          Row{"fabric_mask=1280", "health.fabric_unhealthy", 1, "insufficient NVLinks"}, Row{"fabric_summary=2", "health.fabric_unhealthy", 1, "unhealthy"},
                          Row{"fabric_v2_only=1", "health.fabric_incomplete", 0, ""}, Row{"inforom_invalid=1", "health.inforom_invalid", 1, "corrupted"},
                          Row{"recovery_action=2", "health.recovery_action", 2, "reboot the node"}, Row{"mig_mode=1", "health.mig_mode", 1, ""},
                          Row{"error:nvmlDeviceGetMigMode=3", "health.mig_mode", 0, "no MIG"},
                          Row{"mig_handle=1,error:nvmlDeviceGetMigMode=3", "health.mig_mode", 1, "a part of a GPU"}, Row{"persistence_mode=0", "health.persistence_mode", 0, ""},
                          Row{"confidential_computing=1", "health.confidential_computing", 1, "encrypted"}, Row{"processes=2", "health.foreign_processes", 2, "KF4161 pid 4711, 4712"},
                          Row{"retires_pages=1,retired_pages_pending=1", "health.retired_pages_pending", 1, ""},
                          Row{"retires_pages=1,retired_pages_single_bit=3,retired_pages_double_bit=2", "health.retired_pages", 5, "3 by corrected errors, 2 by uncorrected ones"},
                          Row{"retires_pages=1,retired_pages_double_bit=600", "health.retired_pages_double_bit", 600, ""}, Row{"retires_pages=1", "health.retired_pages", 0, ""},
                          Row{"sram_threshold_exceeded=1", "health.sram_threshold_exceeded", 1, ""}, Row{"repair_pending=1", "health.repair_pending", 1, "channel"},
                          Row{"nvlink5=18,nvlink_receive_errors=3", "health.nvlink_receive_errors", 3, "link 0: 3"}, Row{"memory_mib=40960", "health.memory_gib", 40, ""},
                          Row{"pcie_width=8", "pcie.width_missing", 8, "8 of 16"}, Row{"pcie_generation=3", "pcie.generation_missing", 2, "3 of 5"},
                          Row{"host_generation=4,pcie_generation=4", "pcie.host_generation", 4, "the slot allows less"}}) {
    CAPTURE(row.script);
    const auto said = node.health(row.script);
    CHECK(said.value(row.metric) == row.value);
    CHECK(detail(said, row.metric).find(row.words) != std::string::npos);
    CHECK(said.status("health") == "ran");
  }
}

TEST_CASE("what else uses a GPU is named: a display server is no finding, kfab itself is not another") {
  const Node node;
  test::write(node.dir / "proc/900/comm", "Xorg\n");
  const auto display = node.health("graphics=1");
  CHECK(display.value("health.foreign_processes") == 0);
  CHECK(detail(display, "health.foreign_processes") == "a display server draws on it: pid 900 (Xorg)");
  test::write(node.dir / "proc/901/comm", "blender\n");
  const auto both = node.health("graphics=2,processes=1");
  CHECK(both.value("health.foreign_processes") == 2);
  CHECK(detail(both, "health.foreign_processes") == "KF4161 pid 901 (blender), 4711; a display server draws on it: pid 900 (Xorg)");
  // In a namespace of processes the driver tells the number outside of it.
  test::write(node.dir / "proc/self/status", "Name:\tkfab-agent\nNSpid:\t4711\t17\n");
  CHECK(node.health("processes=1").value("health.foreign_processes") == 0);
  CHECK(node.health("error:nvmlDeviceGetGraphicsRunningProcesses_v3=3,processes=2").value("health.foreign_processes") == 1);
}

TEST_CASE("a log that does not reach back to the boot says so, unless the journal does") {
  Node node;
  CHECK(node.health("").value("health.kernel_log_whole") == 1);
  test::write(node.dir / "kmsg", "6,4711,99000000,-;something\n4,4712,100000000,-;NVRM: Xid (PCI:0000:3b:00): 13, late\n");
  const auto late = node.health("");
  CHECK(late.value("health.kernel_log") == 1);
  CHECK(late.value("health.kernel_log_whole") == 0);
  CHECK(detail(late, "health.kernel_log_whole") == "KF4160 by /dev/kmsg, its oldest record is of 99 s after the boot");
  const auto with_journal = [&](const std::string& first) {
    test::write(node.dir / "journal", first + "[   20.000000] n kernel: NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n"
                                              "[  100.000000] n kernel: NVRM: Xid (PCI:0000:3b:00): 13, late\n");
    node.sources.journal = {"/bin/sh", "-c", "cat '" + (node.dir / "journal") + "'"};
    return node.health("");
  };
  const auto whole = with_journal("[    0.000000] n kernel: Linux version 6.8.0\n");
  CHECK(whole.value("health.kernel_log_whole") == 1);
  CHECK(whole.value("xid.79") == 1);
  CHECK(whole.value("xid.13") == 1);   // what both have counts once
  const auto cut = with_journal("[   12.000000] n kernel: usb 1-1: new device\n");
  CHECK(cut.value("health.kernel_log_whole") == 0);
  CHECK(cut.value("xid.79") == 1);
}

TEST_CASE("an idle link that is slow is no finding, and one that was loaded is") {
  Node node;
  // The link rises while it is copied to: the best of what was seen counts.
  CHECK(node.health("pcie_generation=1,pcie_generation=5@2").value("pcie.generation_missing") == 0);
  CHECK(node.health("pcie_generation=1").value("pcie.generation_missing") == 4);
  node.sources.cuda_library = "libnone-such-cuda.so";
  const auto unloaded = node.health("pcie_generation=1");
  CHECK(unloaded.measured("pcie.generation_missing")["value"].is_null());
  CHECK(detail(unloaded, "pcie.generation_missing").find("not loaded") != std::string::npos);
  CHECK(node.health("").value("pcie.generation_missing") == 0);   // at its most without load: nothing is missing
}

TEST_CASE("a link that falls under load is not as good as it was before") {
  Node node;
  node.sources.link_load_s = 0.05;
  const auto narrow = node.health("pcie_width=16,pcie_width=8@3");
  CHECK(narrow.value("pcie.width_missing") == 8);
  CHECK(detail(narrow, "pcie.width_missing") == "8 of 16 that the accelerator itself can, to which it fell under load");
  CHECK(node.health("pcie_generation=5,pcie_generation=4@3").value("pcie.generation_missing") == 1);
  // One look between two figures of a link that changes is none.
  CHECK(node.health("pcie_width=16,pcie_width=8@3,pcie_width=16@4").value("pcie.width_missing") == 0);

  const auto look = [](unsigned generation, unsigned width) { return PcieLink{generation, width, 5, 16, {}}; };
  const auto told = [&](bool under_load, std::initializer_list<PcieLink> all) {
    LinkLooks looks(under_load);
    for (const auto& one : all) looks.take(one);
    return std::pair{*looks.told().generation, *looks.told().width};
  };
  using Link = std::pair<unsigned, unsigned>;
  CHECK(told(false, {look(5, 16), look(5, 8), look(5, 8), look(5, 16)}) == Link{5, 8});
  CHECK(told(false, {look(5, 16), look(1, 16), look(1, 16), look(1, 4), look(1, 4)}) == Link{5, 16});   // idle between copies
  CHECK(told(false, {look(1, 16), look(1, 4), look(1, 4), look(5, 16)}) == Link{5, 16});                 // idle before them
  CHECK(told(true, {look(1, 4), look(1, 4), look(5, 16)}) == Link{5, 16});                               // it wakes
  CHECK(told(true, {look(5, 16), look(1, 16), look(1, 16), look(5, 16)}) == Link{5, 16});               // it slept in before the load
  CHECK(told(true, {look(5, 16), look(3, 16), look(3, 16)}) == Link{3, 16});
}

TEST_CASE("a page that is retired while a family is tested is told with it") {
  const Node node;
  const auto said = node.watched("retires_pages=1,retired_pages_double_bit=4,retired_pages_double_bit=5@3,retired_pages_pending=0,retired_pages_pending=1@2");
  CHECK(said.value("counters.retired_pages_double_bit") == 1);
  CHECK(said.value("counters.retired_pages_single_bit") == 0);
  CHECK(said.value("health.retired_pages_pending") == 1);
  CHECK(detail(said, "health.retired_pages_pending") == "arose during burnin (0 before)");
  CHECK(said.measured("counters.remapped_rows_uncorrectable")["value"].is_null());
}

TEST_CASE("drivers that cannot, may not or will not tell") {
  Node node;
  SUBCASE("an older driver lacks functions: said for each, the rest is told") {
    node.sources.nvml_library = older;
    const auto said = node.health("nvlinks=12");
    CHECK(said.status("health") == "ran");
    CHECK(said.measured("health.remapped_rows_pending")["value"].is_null());
    CHECK(detail(said, "health.remapped_rows_pending").find("no such function") != std::string::npos);
    CHECK(said.measured("health.fabric_incomplete")["value"].is_null());
    CHECK(said.value("health.nvlinks_active") == 12);
    CHECK(said.value("health.confidential_computing") == 0);
    CHECK(said.value("pcie.generation_missing") == 0);   // by the driver's own maximum
  }
  SUBCASE("no permission and not supported") {
    const auto said = node.health("error:nvmlDeviceGetTotalEccErrors=4,error:nvmlDeviceGetPcieReplayCounter=3,nvlinks=0");
    CHECK(said.measured("health.ecc_volatile_uncorrected")["value"].is_null());
    CHECK(detail(said, "health.ecc_volatile_uncorrected").find("Insufficient Permissions") != std::string::npos);
    CHECK(said.measured("health.pcie_replays")["value"].is_null());
    CHECK(said.measured("health.nvlinks_active")["value"].is_null());
    CHECK(said.status("health") == "ran");
  }
  SUBCASE("words of a driver with escapes are harmless") {
    CHECK(detail(node.health("error:nvmlDeviceGetPcieReplayCounter=999"), "health.pcie_replays").find('\x1b') == std::string::npos);
  }
  SUBCASE("no library, no driver, no such GPU") {
    CHECK(node.health("error:nvmlInit_v2=9").code("health") == "KF4001");
    CHECK(node.health("error:nvmlInit_v2=4").code("health") == "KF4004");
    CHECK(node.health("devices=0").status("health") == "not_run");
    node.sources.nvml_library = "libnone-such-nvml.so";
    const auto said = node.health("");
    CHECK(said.status("health") == "not_run");
    CHECK(said.code("health") == "KF4001");
  }
  SUBCASE("a GPU that is lost on the way") {
    const auto said = node.health("lost=12");
    CHECK(said.status("health") == "failed");
    CHECK(said.code("health") == "KF4006");
  }
  SUBCASE("another GPU is lost: this one is sound") {
    const auto said = node.health("devices=2,1.off_the_bus=1");
    CHECK(said.status("health") == "ran");
    CHECK(said.value("health.remapped_rows_failed") == 0);
    const auto watched = node.watched("devices=2,1.off_the_bus=1");
    CHECK(watched.value("counters.ecc_volatile_uncorrected") == 0);
    CHECK(watched.status("counters").empty());
    const auto sampled = in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("KFAB_FAKE_NVML", "devices=2,1.off_the_bus=1", 1);
      devices::NvmlSampler(fake, first_gpu, "0000:3b:00.0").report("burnin", sink);
    });
    CHECK(sampled.value("burnin.power_w") == 300);
    CHECK(node.health("devices=2,0.off_the_bus=1").code("health") == "KF4006");
  }
  SUBCASE("where only the UUID is known, nobody can say which GPU is lost") {
    const auto said = in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("KFAB_FAKE_NVML", "devices=2,1.off_the_bus=1", 1);
      devices::Accelerator one = Node::gpu();
      one.pci_bus_id.clear();
      run_health(one, {}, node.sources, sink);
    });
    CHECK(said.status("health") == "not_run");
    CHECK(said.code("health") == "KF4018");
    CHECK(said.done("health").string_or("reason").find("which of the node's GPUs") != std::string::npos);
    CHECK(node.health("error:nvmlDeviceGetHandleByPciBusId_v2=13").status("health") == "ran");   // a driver that cannot
  }
  SUBCASE("another GPU at its place is another GPU") {
    const auto said = node.health("devices=2,0.uuid=1");
    CHECK(said.status("health") == "not_run");
    CHECK(said.done("health").string_or("reason").find("at 0000:3b:00.0 there is GPU-01122334") != std::string::npos);
  }
  SUBCASE("nobody may read the kernel's log") {
    node.sources.kernel_log = "/none";
    const auto said = node.health("");
    CHECK(said.measured("health.kernel_log")["value"].is_null());
    CHECK(detail(said, "health.kernel_log").find("No such file") != std::string::npos);
  }
}

TEST_CASE("XIDs since boot belong to their GPU, and one of an empty place to the node") {
  const Node node;
  node.log("NVRM: Xid (PCI:0000:3b:00): 63, Row Remapper");
  node.log("NVRM: Xid (PCI:0000:3b:00): 63, Row Remapper");
  node.log("NVRM: Xid (PCI:0000:3c:00): 48, DBE");
  node.log("NVRM: Xid (PCI:0000:5d:00): 79, GPU has fallen off the bus.");
  const auto said = node.health("", {"0000:3b:00", "0000:3c:00"});
  CHECK(said.value("xid.63") == 2);
  CHECK(detail(said, "xid.63").find("since boot, from 9 s to 9 s after it") != std::string::npos);
  CHECK_FALSE(said.has("xid.48"));   // another GPU's
  CHECK_FALSE(said.has("xid.79"));
  int strays = 0;
  for (const auto& m : said.messages)
    if (m.string_or("type") == "stray_event" && m.string_or("slot") == "0000:5d:00") ++strays;
  CHECK(strays == 1);
}

TEST_CASE("the processor's counters by the kernel's files") {
  Node node;
  devices::Accelerator cpu;
  cpu.id = "cpu-1";
  cpu.device = "cpu";
  const auto health = [&] { return in_process_of_its_own([&](devices::TestSink& sink) { run_health(cpu, {}, node.sources, sink); }); };
  test::write(node.dir / "sys/devices/system/cpu/present", "0-3\n");
  test::write(node.dir / "sys/devices/system/cpu/online", "0-2\n");
  const auto bare = health();
  CHECK(bare.status("health") == "ran");
  CHECK(bare.value("health.processors_offline") == 1);
  CHECK(bare.measured("health.edac_uncorrected")["value"].is_null());
  CHECK(bare.value("selftest.health.found") == 1);
  CHECK(bare.value("health.machine_checks") == 0);
  test::write(node.dir / "sys/devices/system/edac/mc/mc0/ue_count", "0\n");
  test::write(node.dir / "sys/devices/system/edac/mc/mc1/ue_count", "2\n");
  test::write(node.dir / "sys/devices/system/edac/mc/power/ue_count", "100\n");
  node.log("mce: [Hardware Error]: Machine check events logged");
  const auto ill = health();
  CHECK(ill.value("health.edac_uncorrected") == 2);
  CHECK(detail(ill, "health.edac_uncorrected") == "most on mc1: 2");
  CHECK(ill.value("health.machine_checks") == 1);
}

TEST_CASE("a planted movement is found wherever it is put, and a comparison of nothing proves nothing") {
  Readings readings{{"a", 0, {}}, {"b", UINT64_MAX, {}}, {"c", std::nullopt, "unknown"}, {"d", 17, {}}};
  for (std::uint64_t seed = 0; seed < 500; ++seed) CHECK(finds_planted_movement(readings, seed));
  CHECK_FALSE(finds_planted_movement({}, 1));
  CHECK_FALSE(finds_planted_movement({{"c", std::nullopt, ""}}, 1));
  // Two counters of one name: the comparison would take one for the other, and the proof sees it.
  int missed = 0;
  for (std::uint64_t seed = 0; seed < 50; ++seed) missed += !finds_planted_movement({{"a", 1, {}}, {"a", 2, {}}}, seed);
  CHECK(missed > 0);
}

TEST_CASE("a width that the slot takes away is missing to the GPU") {
  const Node node;
  test::write(node.dir / "sys/bus/pci/devices/0000:3b:00.0/max_link_width", "16\n");
  test::write(node.dir / "sys/bus/pci/devices/0000:3b:00.0/current_link_width", "8\n");
  CHECK(node.health("pcie_width=8,most_width=8").value("pcie.width_missing") == 8);
}

TEST_CASE("of the power limit that precision counts which draws most, and where it stays below 95 % it is told why") {
  const auto sampled = [](const char* script, double least_work_s) {
    return in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("KFAB_FAKE_NVML", script, 1);
      devices::NvmlSampler sampler(fake, first_gpu, "0000:3b:00.0", std::chrono::milliseconds(1), 100'000, least_work_s);
      for (const char* work : {"gemm_bf16", "gemm_fp64"}) {
        sampler.begin_work(work);
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        sampler.end_work();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));   // what is prepared between them is no work
      }
      sampler.report("burnin", sink);
    });
  };
  const auto metered = sampled("power_mw=200000,meter_mw=680000,meter_mw=420000@3,power_limit_mw=700000,reasons=4", 0.05);
  CHECK(metered.value("burnin.gemm_bf16.power_w") == doctest::Approx(680).epsilon(0.02));
  CHECK(metered.value("burnin.gemm_fp64.power_w") == doctest::Approx(420).epsilon(0.02));
  CHECK(metered.value("burnin.power_of_limit_pct") == doctest::Approx(97.1).epsilon(0.02));
  CHECK(detail(metered, "burnin.power_of_limit_pct").find("gemm_bf16, which draws most: ") == 0);
  CHECK(detail(metered, "burnin.power_of_limit_pct").find("held back") == std::string::npos);
  CHECK(detail(metered, "burnin.gemm_fp64.power_of_limit_pct").find("by the GPU's energy meter of the enforced limit of 700 W; held back by power_cap 100 % of the time") != std::string::npos);
  CHECK(metered.value("burnin.power_w") == doctest::Approx(200));

  const auto read = sampled("power_mw=350000,power_limit_mw=700000,reasons=0,error:nvmlDeviceGetTotalEnergyConsumption=3", 0.05);
  CHECK(read.value("burnin.gemm_bf16.power_w") == doctest::Approx(350));
  CHECK(read.value("burnin.power_of_limit_pct") == doctest::Approx(50));
  CHECK(detail(read, "burnin.gemm_bf16.power_w").find(" samples") != std::string::npos);
  CHECK(detail(read, "burnin.power_of_limit_pct").find("the load draws no more") != std::string::npos);
  const auto unknown = sampled("power_mw=350000,power_limit_mw=700000,error:nvmlDeviceGetCurrentClocksEventReasons=3", 0.05);
  CHECK(detail(unknown, "burnin.power_of_limit_pct").find("what held it back the driver does not tell") != std::string::npos);
  const auto brief = sampled("power_mw=350000,power_limit_mw=700000", 3);
  CHECK(brief.measured("burnin.power_of_limit_pct")["value"].is_null());
  CHECK(brief.measured("burnin.gemm_bf16.power_w")["value"].is_null());
  CHECK_FALSE(sampled("power_mw=350000", 0.05).has("burnin.power_of_limit_pct"));
}

TEST_CASE("a slowdown that came once in a long test is not forgotten when samples are thinned") {
  const auto sampled_for = [&](double seconds) {
    return in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("KFAB_FAKE_NVML", "reasons=0,reasons=8@4,reasons=0@5,temperature=60,temperature=95@4,temperature=60@5", 1);
      devices::NvmlSampler sampler(fake, first_gpu, "0000:3b:00.0", std::chrono::milliseconds(1), 8);
      std::this_thread::sleep_for(std::chrono::duration<double>(seconds));   // the pauses double every four samples
      sampler.report("burnin", sink);
    });
  };
  // So long that they were thinned more than twice, also where nobody gives the sampler its time.
  const auto thinned = [](const Collected& one) {
    int samples = 0;
    return std::sscanf(one.measured("burnin.power_w").string_or("detail").c_str(), "mean of %d samples", &samples) == 1 && samples >= 20;
  };
  const auto said = with_longer_periods(0.5, sampled_for, thinned);
  CHECK(thinned(said));
  CHECK(said.value("burnin.throttle.hw_slowdown_pct") > 0);
  CHECK(said.value("burnin.throttle.hw_slowdown_pct") < 20);
  CHECK(said.value("burnin.throttle.hw_thermal_pct") == 0);
  CHECK(said.value("burnin.temperature_c") == 95);
  CHECK(said.value("burnin.power_w") == doctest::Approx(300));
}
