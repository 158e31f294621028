// Health over a stand-in for libnvidia-ml (tests/fakes/fake_nvml.cpp), a recorded kernel log and a tree of sysfs.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <thread>

#include "agent/devices/nvml_sampler.hpp"
#include "agent/health/inventory.hpp"
#include "agent/health/watch.hpp"
#include "agent/tests/test_task.hpp"
#include "unit/agent/device_support.hpp"
#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent;
using namespace kfab::agent::health;

namespace {

const std::string fake = std::string(KFAB_BINARY_DIR) + "/libkfab_fake_nvml.so";
const std::string older = std::string(KFAB_BINARY_DIR) + "/libkfab_fake_nvml_old.so";
const std::string cuda = std::string(KFAB_BINARY_DIR) + "/libkfab_fake_cuda.so";
const std::string first_gpu = "GPU-00112233-4455-6677-8899-aabbccddeeff";

struct Node {
  test::TemporaryDirectory dir;
  Sources sources;
  Node() {
    sources.root = dir.string();
    sources.nvml_library = fake;
    sources.cuda_library = cuda;
    sources.kernel_log = "/kmsg";
    sources.link_load_s = 0.01;
    sources.journal.clear();
    test::write(dir / "kmsg", "6,0,1000,-;Linux\n");
    aer("correctable", "RxErr 0\nBadTLP 0\nTOTAL_ERR_COR 0\n");
    aer("nonfatal", "Undefined 0\nTOTAL_ERR_NONFATAL 0\n");
    aer("fatal", "Undefined 0\nTOTAL_ERR_FATAL 0\n");
  }
  void aer(const std::string& kind, const std::string& text) const { test::write(dir / ("sys/bus/pci/devices/0000:3b:00.0/aer_dev_" + kind), text); }
  void log(const std::string& line) const { std::ofstream(dir / "kmsg", std::ios::app) << "4,99,9000000,-;" << line << "\n"; }

  static devices::Accelerator gpu() {
    devices::Accelerator one;
    one.id = first_gpu;
    one.device = "cuda";
    one.pci_bus_id = "0000:3b:00.0";
    return one;
  }
  Collected health(const std::string& script, std::vector<std::string> slots = {"0000:3b:00"}) const {
    return in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("KFAB_FAKE_NVML", script.c_str(), 1);
      run_health(gpu(), slots, sources, sink);
    });
  }
  // Two tests of a family; `between` happens while the second runs.
  Collected watched(const std::string& script, const std::function<void()>& between = [] {}, bool link = false) const {
    return in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("KFAB_FAKE_NVML", script.c_str(), 1);
      CounterWatch watch(gpu(), sources, link);
      watch.test_ended("gemm_fp32");
      between();
      watch.test_ended("gemm_bf16");
      watch.finish("burnin", sink);
    });
  }
};

std::string detail(const Collected& said, std::string_view metric) { return said.measured(metric).string_or("detail"); }

}  // namespace

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

TEST_CASE("a counter that moves is tied to the test that moved it") {
  const Node node;
  const auto quiet = node.watched("ecc_volatile_uncorrected=5");
  CHECK(quiet.value("counters.ecc_volatile_uncorrected") == 0);
  CHECK(quiet.value("counters.xids") == 0);
  CHECK(quiet.status("counters").empty());
  // Read before, after each of two tests, and at the end: the third reading is the second test's.
  const auto moved = node.watched("ecc_volatile_uncorrected=5,ecc_volatile_uncorrected=8@3,pcie_replays=1@2");
  CHECK(moved.value("counters.ecc_volatile_uncorrected") == 3);
  CHECK(detail(moved, "counters.ecc_volatile_uncorrected") == "gemm_bf16 +3");
  CHECK(detail(moved, "counters.pcie_replays") == "gemm_fp32 +1");
  CHECK(moved.value("counters.ecc_volatile_corrected") == 0);

  const auto links = node.watched("nvlink_crc_flit=2@50");
  CHECK(links.value("counters.nvlink_crc_flit") >= 0);

  const auto aer = node.watched("", [&] { node.aer("nonfatal", "Undefined 0\nCmpltTO 2\nTOTAL_ERR_NONFATAL 2\n"); });
  CHECK(aer.value("counters.aer_nonfatal") == 2);
  CHECK(detail(aer, "counters.aer_nonfatal") == "gemm_bf16 +2; now CmpltTO 2");

  const auto xid = node.watched("", [&] { node.log("NVRM: Xid (PCI:0000:3b:00): 48, DBE"), node.log("NVRM: Xid (PCI:0000:3c:00): 79, another's"); });
  CHECK(xid.value("counters.xids") == 1);
  CHECK(xid.value("xid.48") == 1);
  CHECK(detail(xid, "xid.48").find("during gemm_bf16: ") == 0);
  CHECK_FALSE(xid.has("xid.79"));
}

TEST_CASE("counters that go back, and a GPU that is lost meanwhile, are failures") {
  const Node node;
  const auto reset = node.watched("ecc_volatile_corrected=9,ecc_volatile_corrected=1@3");
  CHECK(reset.measured("counters.ecc_volatile_corrected")["value"].is_null());
  CHECK(reset.status("counters") == "failed");
  CHECK(reset.code("counters") == "KF4100");
  CHECK(reset.done("counters").string_or("reason").find("from 9 to 1") != std::string::npos);
  const auto lost = node.watched("error:nvmlDeviceGetTotalEccErrors=15@9");
  CHECK(lost.status("counters") == "failed");
  CHECK(lost.code("counters") == "KF4006");
}

TEST_CASE("without the kernel's log the driver's events are listened to, and without both it is said") {
  Node node;
  node.sources.kernel_log = "/none";
  const auto told = node.watched("event_xid=0,event_xid=63@3");
  CHECK(told.value("counters.xids") == 1);
  CHECK(told.value("xid.63") == 1);
  const auto unknown = node.watched("error:nvmlDeviceRegisterEvents=3");
  CHECK(unknown.measured("counters.xids")["value"].is_null());
  CHECK(detail(unknown, "counters.xids").find("may not be read") != std::string::npos);
}

TEST_CASE("what moved is told even when the process that watched has died") {
  const Node node;
  const auto said = in_process_of_its_own([&](devices::TestSink& sink) {
    ::setenv("KFAB_FAKE_NVML", "ecc_volatile_uncorrected=2,ecc_volatile_uncorrected=6@2", 1);
    Before before;
    {
      CounterWatch watch(Node::gpu(), node.sources, false);
      before = before_from_json(to_json(watch.before()));
    }
    node.log("NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.");
    finish_for_dead(Node::gpu(), before, "burnin", node.sources, sink);
  });
  CHECK(said.value("counters.ecc_volatile_uncorrected") == 4);
  CHECK(said.value("xid.79") == 1);
  CHECK(detail(said, "xid.79").find("during burnin, which broke off") == 0);
  const auto lost = in_process_of_its_own([&](devices::TestSink& sink) {
    ::setenv("KFAB_FAKE_NVML", "lost=1", 1);
    finish_for_dead(Node::gpu(), {}, "burnin", node.sources, sink);
  });
  CHECK(lost.status("counters") == "failed");
  CHECK(lost.code("counters") == "KF4006");
}

TEST_CASE("a state that arises under load is told again, and one that does not is not") {
  const Node node;
  const auto sound = node.watched("");
  for (const auto& m : sound.messages) CHECK(m.string_or("metric").rfind("health.", 0) != 0);
  // Read twice before the tests, with the counters and with the states: it arises with the third reading.
  const auto rows = node.watched("remapped_rows_failed=0,remapped_rows_failed=1@3");
  CHECK(rows.value("health.remapped_rows_failed") == 1);
  CHECK(rows.measured("health.remapped_rows_failed").string_or("test") == "burnin");
  CHECK(detail(rows, "health.remapped_rows_failed") == "arose during burnin (0 before)");
  CHECK_FALSE(rows.has("health.nvlinks_down"));
  const auto links = node.watched("nvlinks_down=0,nvlinks_down=2@19,fabric_state=3,fabric_state=1@2,recovery_action=0,recovery_action=2@2,inforom_invalid=0,inforom_invalid=1@2");
  CHECK(links.value("health.nvlinks_down") == 2);
  CHECK(detail(links, "health.nvlinks_down") == "arose during burnin (0 before): links 16, 17");
  CHECK(links.value("health.nvlinks_active") == 16);
  CHECK(links.value("health.fabric_incomplete") == 1);
  CHECK(links.value("health.recovery_action") == 2);
  CHECK(links.value("health.inforom_invalid") == 1);
  // What can no longer be read is no state that is well.
  const auto unread = node.watched("error:nvmlDeviceGetSramEccErrorStatus=999@2");
  CHECK(unread.has("health.sram_threshold_exceeded"));
  CHECK(unread.measured("health.sram_threshold_exceeded")["value"].is_null());

  const auto dead = in_process_of_its_own([&](devices::TestSink& sink) {
    ::setenv("KFAB_FAKE_NVML", "nvlinks_down=0,nvlinks_down=1@19", 1);
    Before before;
    {
      CounterWatch watch(Node::gpu(), node.sources, false);
      before = before_from_json(to_json(watch.before()));
    }
    finish_for_dead(Node::gpu(), before, "memory", node.sources, sink);
  });
  CHECK(dead.value("health.nvlinks_down") == 1);
  CHECK(detail(dead, "health.nvlinks_down") == "arose during memory, which broke off (0 before): links 17");
}

TEST_CASE("the whole way: the task ties a died child's movement to its family, and a hung driver costs only itself") {
  const Node node;
  struct Context final : TaskContext {
    Collected said;
    void emit(const json::Value& message) override { said.messages.push_back(message); }
    bool stop_requested() const override { return false; }
    double remaining_s() const override { return 100; }
  } context;
  const Sources kept = sources();
  sources() = node.sources;
  TestChildLaunch launch;
  launch.argv = {"/bin/sh", "-c",
                 "read -r line; case \"$line\" in"
                 " *'\"do\":\"list\"'*) echo '{\"type\":\"accelerator\",\"id\":\"a\",\"device\":\"cuda\",\"pci_bus_id\":\"0000:3b:00.0\"}';;"
                 " *'\"do\":\"counters\"'*) case \"$line\" in *'\"value\":7'*) echo '{\"type\":\"measurement\",\"test\":\"burnin\",\"metric\":\"counters.x\",\"value\":3,\"unit\":\"count\"}';; esac;;"
                 " *) echo '{\"type\":\"counters\",\"slot\":\"0000:3b:00\",\"readings\":[{\"name\":\"x\",\"value\":7}],\"log_at_s\":1}';"
                 " echo '{\"type\":\"stray_event\",\"number\":79,\"slot\":\"0000:5d:00\",\"line\":\"gone\"}'; kill -9 $$;; esac"};
  REQUIRE(run_test_task(json::Object{{"device", "cuda"}, {"families", json::Array{"burnin"}}, {"duration_s", 0.2}}, context, launch));
  sources() = kept;
  CHECK(context.said.value("counters.x") == 3);
  CHECK(context.said.measured("counters.x").string_or("accelerator") == "a");
  CHECK(context.said.code("burnin") == "KF4008");
  CHECK(context.said.code("xid.79") == "KF4101");
  CHECK(context.said.done("xid.79").string_or("accelerator").empty());
  for (const auto& m : context.said.messages) CHECK(m.string_or("type") != "counters");
}

TEST_CASE("where CUDA does not start NVML lists the GPUs, and without NVML the bus and the kernel's log do") {
  Node node;
  const auto listed = [&](const std::string& script) {
    return in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("KFAB_FAKE_NVML", script.c_str(), 1);
      list_without_cuda(node.sources, sink);
    });
  };
  const auto by_nvml = listed("devices=3,1.off_the_bus=1");
  std::vector<devices::Accelerator> found;
  for (const auto& m : by_nvml.messages)
    if (m.string_or("type") == "accelerator") found.push_back(devices::accelerator_from_json(m));
  REQUIRE(found.size() == 2);
  CHECK(found[0].id == first_gpu);
  CHECK(found[0].device == "cuda");
  CHECK(found[0].model == "Fake GPU");
  CHECK(found[1].index == 2);
  CHECK(found[1].pci_bus_id == "0000:3d:00.0");
  CHECK(by_nvml.code("inventory") == "KF4006");
  CHECK(by_nvml.status("inventory") == "failed");

  const auto strays = [](const Collected& said) {
    return std::count_if(said.messages.begin(), said.messages.end(), [](const auto& m) { return m.string_or("type") == "stray_event" && m.int_or("number", 0) == 79; });
  };
  node.log("NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.");
  CHECK(listed("error:nvmlInit_v2=999").messages.empty());   // no NVIDIA GPU on the bus: nothing of it is said
  test::write(node.dir / "sys/bus/pci/devices/0000:3b:00.0/vendor", "0x10de\n");
  test::write(node.dir / "sys/bus/pci/devices/0000:3b:00.0/class", "0x030200\n");
  test::write(node.dir / "sys/bus/pci/devices/0000:3b:00.1/vendor", "0x10de\n");
  test::write(node.dir / "sys/bus/pci/devices/0000:3b:00.1/class", "0x040300\n");   // its sound function
  const auto by_bus = listed("error:nvmlInit_v2=999");
  CHECK(strays(by_bus) == 1);
  CHECK(by_bus.status("inventory") == "not_run");
  CHECK(by_bus.done("inventory").string_or("reason").find("1 GPU of NVIDIA on the PCI bus (0000:3b:00.0), and no driver tells of them: NVML does not start") == 0);
  CHECK(strays(listed("")) == 0);   // NVML tells of it: the log is its health's
}

TEST_CASE("the kernel's log is told before a driver that may hang is asked, and when it does not start") {
  const Node node;
  node.log("NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.");
  const auto said = node.health("error:nvmlInit_v2=999");
  CHECK(said.status("health") == "not_run");
  CHECK(said.value("xid.79") == 1);
  CHECK(said.value("health.kernel_log") == 1);
  // What the parent needs to read on in the log when this process dies comes before the driver is asked as well.
  const auto before = std::find_if(said.messages.begin(), said.messages.end(), [](const auto& m) { return m.string_or("type") == "counters"; });
  REQUIRE(before != said.messages.end());
  node.log("NVRM: Xid (PCI:0000:3b:00): 119, Timeout waiting for RPC");
  const auto dead = in_process_of_its_own([&](devices::TestSink& sink) {
    ::setenv("KFAB_FAKE_NVML", "hang=nvmlInit_v2", 1);   // it is not asked again
    Before at_log = before_from_json(*before);
    at_log.log_record.reset();
    at_log.log_at_s = 5;
    finish_for_dead(Node::gpu(), at_log, "health", node.sources, sink);
  });
  CHECK(dead.value("xid.119") == 1);
  CHECK(dead.value("counters.xids") == 2);
}

TEST_CASE("a burn-in goes on from the counters before the proof of its kernels") {
  Node node;
  test::write(node.dir / "kmsg", "6,0,1000,-;Linux\n");
  const auto said = in_process_of_its_own([&](devices::TestSink& sink) {
    ::setenv("KFAB_FAKE_NVML", "pcie_replays=0,pcie_replays=5@2", 1);
    const Before proof = before_from_json(to_json(CounterWatch(Node::gpu(), node.sources, false).before()));
    node.log("NVRM: Xid (PCI:0000:3b:00): 13, Graphics Exception");
    CounterWatch watch(Node::gpu(), node.sources, false, &proof);
    watch.test_ended("gemm_bf16");
    watch.finish("burnin", sink);
  });
  CHECK(said.value("xid.13") == 1);
  CHECK(detail(said, "xid.13").find("during the proof of the kernels: ") == 0);
  CHECK(said.value("counters.pcie_replays") == 5);
  CHECK(detail(said, "counters.pcie_replays") == "the proof of the kernels +5");
}

TEST_CASE("the whole way without CUDA: health is read, and the rest says why it was not run") {
  struct Context final : TaskContext {
    Collected said;
    void emit(const json::Value& message) override { said.messages.push_back(message); }
    bool stop_requested() const override { return false; }
    double remaining_s() const override { return 100; }
  } context;
  TestChildLaunch launch;
  launch.silence_s = 1;
  launch.argv = {"/bin/sh", "-c",
                 "read -r line; case \"$line\" in"
                 " *'\"do\":\"list\"'*) sleep 60;;"
                 " *'\"do\":\"list_without_cuda\"'*) echo '{\"type\":\"accelerator\",\"id\":\"a\",\"device\":\"cuda\",\"pci_bus_id\":\"0000:3b:00.0\"}';;"
                 " *'\"family\":\"health\"'*) case \"$line\" in *'\"described\":{'*'\"no_cuda\":\"it said nothing'*) echo '{\"type\":\"test_done\",\"test\":\"health\",\"status\":\"ran\"}';; esac;;"
                 " *) echo '{\"type\":\"test_done\",\"test\":\"burnin\",\"status\":\"ran\"}';; esac"};
  REQUIRE(run_test_task(json::Object{{"device", "cuda"}, {"families", json::Array{"health", "burnin"}}, {"duration_s", 0.2}}, context, launch));
  CHECK(context.said.code("inventory") == "KF4007");
  CHECK(context.said.status("health") == "ran");
  CHECK(context.said.status("burnin") == "not_run");
  CHECK(context.said.code("burnin") == "KF4007");
  CHECK(context.said.done("burnin").string_or("accelerator") == "a");
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

TEST_CASE("an XID that may have been lost is not none") {
  Node node;
  SUBCASE("in a storm of another GPU's") {
    const auto said = node.watched("error:nvmlDeviceRegisterEvents=3", [&] {
      std::string storm;
      for (int i = 0; i < 5000; ++i) storm += "4,99,9000000,-;NVRM: Xid (PCI:0000:3c:00): 31, MMU Fault\n";
      std::ofstream(node.dir / "kmsg", std::ios::app) << storm;
      node.log("NVRM: Xid (PCI:0000:3b:00): 48, DBE");
    });
    CHECK(said.measured("counters.xids")["value"].is_null());
    CHECK(detail(said, "counters.xids").find("KF4074") == 0);
    CHECK(detail(said, "counters.xids").find("lost") != std::string::npos);
    CHECK(said.status("kernel_log") == "not_run");
    CHECK(said.code("kernel_log") == "KF4074");
  }
  SUBCASE("when the log can no longer be read, the driver's events are not forgotten") {
    node.sources.kernel_log = "/none";
    node.sources.journal = {"/bin/sh", "-c", "test -e '" + (node.dir / "gone") + "' && exit 1; echo '[    3.000000] n kernel: x'"};
    const auto said = node.watched("event_xid=0,event_xid=48@2", [&] { test::write(node.dir / "gone", ""); });
    CHECK(said.value("counters.xids") == 1);
    CHECK(said.value("xid.48") == 1);
  }
  SUBCASE("of a GPU whose place on the bus nobody tells") {
    const auto said = in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("KFAB_FAKE_NVML", "error:nvmlDeviceGetPciInfo_v3=3,error:nvmlDeviceRegisterEvents=3", 1);
      devices::Accelerator one = Node::gpu();
      one.pci_bus_id.clear();
      CounterWatch watch(one, node.sources, false);
      watch.finish("burnin", sink);
    });
    CHECK(said.measured("counters.xids")["value"].is_null());
  }
  SUBCASE("one without a place is the node's") {
    const auto said = node.watched("", [&] { node.log("NVRM: installed in this system has fallen off the bus and is not responding to commands."); });
    int strays = 0;
    for (const auto& m : said.messages) strays += m.string_or("type") == "stray_event" && m.int_or("number", 0) == 79;
    CHECK(strays == 1);
  }
}

TEST_CASE("a counter that can no longer be read is told, and part of a sum is no sum") {
  const Node node;
  const auto said = node.watched("error:nvmlDeviceGetPcieReplayCounter=4@3");
  CHECK(said.measured("counters.pcie_replays")["value"].is_null());
  CHECK(said.status("counters") == "not_run");
  CHECK(said.done("counters").string_or("reason").find("pcie_replays") != std::string::npos);
  // The fifth link of eighteen answers with an error: four are not all of them.
  CHECK(node.health("error:nvmlDeviceGetNvLinkErrorCounter=999@5").measured("health.nvlink_replay")["value"].is_null());
  CHECK(node.health("error:nvmlDeviceGetNvLinkState=999@5").measured("health.nvlinks_active")["value"].is_null());
}

TEST_CASE("a width that the slot takes away is missing to the GPU") {
  const Node node;
  test::write(node.dir / "sys/bus/pci/devices/0000:3b:00.0/max_link_width", "16\n");
  test::write(node.dir / "sys/bus/pci/devices/0000:3b:00.0/current_link_width", "8\n");
  CHECK(node.health("pcie_width=8,most_width=8").value("pcie.width_missing") == 8);
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

namespace {

// /dev/kmsg whose ring went round between the first record and the next look.
int reads = 0;
ssize_t overwritten(int, void* to, std::size_t) {
  const std::string record = reads == 0 ? "6,0,1000,-;Linux\n" : "6,5000,2000000,-;usb\n";
  switch (reads++) {
    case 1: return errno = EAGAIN, -1;
    case 2: return errno = EPIPE, -1;
    case 0:
    case 3: return record.copy(static_cast<char*>(to), record.size()), static_cast<ssize_t>(record.size());
    default: return errno = EAGAIN, -1;
  }
}

}  // namespace

TEST_CASE("records of the kernel's log that were overwritten leave no XID unsaid") {
  Node node;
  node.sources.read_record = overwritten;
  reads = 0;
  const auto watched = node.watched("error:nvmlDeviceRegisterEvents=3");
  CHECK(watched.measured("counters.xids")["value"].is_null());
  CHECK(detail(watched, "counters.xids") == "KF4074 4,999 records of the kernel's log were overwritten before they could be read");
  CHECK(watched.code("kernel_log") == "KF4074");
  // Where the driver tells of XIDs itself they are known all the same; what else the log had is not.
  reads = 0;
  const auto told = node.watched("");
  CHECK(told.value("counters.xids") == 0);
  CHECK(told.code("kernel_log") == "KF4074");

  reads = 2;   // the health of a GPU: the gap comes on opening
  const auto health = node.health("");
  CHECK(health.measured("health.kernel_log")["value"].is_null());
  CHECK(health.code("kernel_log") == "KF4074");
  CHECK(health.status("health") == "ran");

  // After a process has died the log is opened anew: a new reader begins with the oldest record and hears nothing of those before it.
  static int rest = 0;
  node.sources.read_record = [](int, void* to, std::size_t) -> ssize_t {
    const std::string record = "6,5000,2000000,-;usb\n";
    return rest++ == 0 ? static_cast<ssize_t>(record.copy(static_cast<char*>(to), record.size())) : (errno = EAGAIN, -1);
  };
  const auto after = [&](std::uint64_t record) {
    rest = 0;
    return in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("KFAB_FAKE_NVML", "", 1);
      finish_for_dead(Node::gpu(), before_from_json(to_json(Before{"0000:3b:00", "0000:3b:00.0", {}, 0.5, record, {}})), "burnin", node.sources, sink);
    });
  };
  CHECK(after(4999).value("counters.xids") == 0);
  const auto round = after(100);
  CHECK(round.measured("counters.xids")["value"].is_null());
  CHECK(detail(round, "counters.xids") == "KF4074 4,899 records of the kernel's log were overwritten before they could be read");
  CHECK(round.code("kernel_log") == "KF4074");

  // A journal that was shortened meanwhile is no silence either.
  node.sources.kernel_log = "/none";
  node.sources.journal = {"/bin/sh", "-c", "echo '[   99.000000] n kernel: usb'"};
  const auto shortened = in_process_of_its_own([&](devices::TestSink& sink) {
    ::setenv("KFAB_FAKE_NVML", "", 1);
    finish_for_dead(Node::gpu(), {"0000:3b:00", "0000:3b:00.0", {}, 50, {}, {}}, "burnin", node.sources, sink);
  });
  CHECK(shortened.measured("counters.xids")["value"].is_null());
  CHECK(shortened.code("kernel_log") == "KF4074");
  node.sources.kernel_log = "/kmsg";
  node.sources.journal.clear();

  node.sources.read_record = overwritten;
  reads = 2;   // or while it is read
  const auto dead = in_process_of_its_own([&](devices::TestSink& sink) {
    ::setenv("KFAB_FAKE_NVML", "", 1);
    finish_for_dead(Node::gpu(), {"0000:3b:00", "0000:3b:00.0", {}, 0.5}, "burnin", node.sources, sink);
  });
  CHECK(dead.measured("counters.xids")["value"].is_null());
  CHECK(dead.code("kernel_log") == "KF4074");
}
