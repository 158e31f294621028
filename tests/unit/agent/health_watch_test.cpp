// What is read before, between and after tests, and of a node on which CUDA does not start.
#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>

#include "agent/health/inventory.hpp"
#include "agent/tests/test_task.hpp"
#include "unit/agent/health_support.hpp"
#include "unit/agent/task_support.hpp"

using namespace health_test;

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
  CollectingTask context;
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
  CollectingTask context;
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
