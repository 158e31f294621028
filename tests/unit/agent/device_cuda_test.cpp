// The cuda device over a stand-in for libcuda.so.1: every path of the host but those of the kernels that multiply, and the faults that
// the stand-in can plant.
#include <doctest/doctest.h>

#include <cstdio>
#include <set>
#include <string>

#include "agent/devices/cuda_driver.hpp"
#include "agent/devices/load_clock.hpp"
#include "unit/agent/device_cuda_support.hpp"
#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent::devices;
using namespace kfab::agent::devices::cuda_test;

TEST_CASE("cuda: the load comes in steps and pulses, and at a common start") {
  LoadShape pulsed;
  pulsed.kind = LoadShape::Kind::pulsed;
  pulsed.period_s = 0.2;
  pulsed.start_at = wall_seconds() + 2;
  pulsed.start_tolerance_s = 3600;   // however long a busy machine takes to start the process, it joins
  const auto said = with_fault("", {Family::burnin, {"int8"}, fake, false, "", "", 0.3, pulsed});
  const double ended = wall_seconds();
  CHECK(said.status("gemm_int8") == "ran");
  CHECK(ended > pulsed.start_at);   // it did not begin before: what it does takes less than two seconds
  CHECK(said.value("burnin.load.start_late_s") >= 0);
  CHECK(said.value("burnin.load.start_late_s") < ended - pulsed.start_at);
  CHECK(said.value("burnin.load.asked_pct") == 50);
  CHECK(said.value("burnin.load.worked_pct") > 0);
  CHECK(said.has("burnin.load.off_pct"));
  // One that is ready after the start does not join late.
  pulsed.start_at = 1000;
  pulsed.start_tolerance_s = 1;
  const auto late = with_fault("", {Family::burnin, {"int8"}, fake, false, "", "", 0.3, pulsed});
  CHECK(late.value("burnin.load.start_late_s") > 1e6);
  CHECK(late.status("load") == "not_run");
  CHECK(late.code("load") == "KF4071");
  CHECK_FALSE(late.has("burnin.gemm_int8.iterations"));
  // A steady load is told as one.
  CHECK(with_fault("", {Family::burnin, {"int8"}}).value("burnin.load.asked_pct") == 100);
}

TEST_CASE("cuda: power, clock, temperature and what held it back are sampled, also in each interval of a load") {
  Ask ask{Family::burnin, {"int8"}, fake, false, "", ""};
  ask.nvml = std::string(KFAB_BINARY_DIR) + "/libkfab_fake_nvml.so";
  ask.nvml_script = "power_mw=630000,power_limit_mw=700000,temperature=66,clock_mhz=1755,reasons=36";   // its power limit, and software for heat
  // A product that takes longer than a pause passes over it: then the pauses are too short for this machine.
  const auto said = with_longer_periods(
      0.8,
      [&](double period_s) {
        Ask pulsed = ask;
        pulsed.load.kind = LoadShape::Kind::pulsed;
        pulsed.load.period_s = period_s;
        pulsed.seconds = 1.5 * period_s;
        return with_fault("", pulsed);
      },
      [](const Collected& one) { return one.has("burnin.load.pulse.power_w") && one.has("burnin.load.pause.power_w"); });
  CHECK(said.value("burnin.power_w") == doctest::Approx(630));
  CHECK(said.value("burnin.power_of_limit_pct") == doctest::Approx(90));
  const std::string why = said.measured("burnin.power_of_limit_pct").string_or("detail");
  CHECK(why.find("power_cap 100 % of the time, sw_thermal 100 %") != std::string::npos);
  CHECK(said.value("burnin.temperature_c") == 66);
  CHECK(said.value("burnin.sm_clock_mhz") == 1755);
  CHECK(said.value("burnin.throttle.power_cap_pct") == 100);
  CHECK(said.value("burnin.throttle.hw_thermal_pct") == 0);
  CHECK(said.value("burnin.gemm_int8.energy_j_per_tflop") > 0);
  CHECK(said.value("burnin.load.pulse.power_w") == doctest::Approx(630));
  CHECK(said.value("burnin.load.pause.power_w") == doctest::Approx(630));
  CHECK(said.value("burnin.load.pulse.sm_clock_mhz") == 1755);
  // Nothing holds it back: then that is said.
  ask.nvml_script = "power_mw=300000,power_limit_mw=700000,reasons=0";
  Ask pulsed = ask;
  pulsed.load.kind = LoadShape::Kind::pulsed;
  CHECK(with_fault("", pulsed).measured("burnin.power_of_limit_pct").string_or("detail").find("the load draws no more") != std::string::npos);
  // Of a steady load the precision that draws most counts; less than three seconds of it tell nothing. A busy machine may take longer for the one product.
  const auto steady = with_fault("", ask);
  double worked_s = 0;
  const std::string told = steady.measured("burnin.gemm_int8.power_w").string_or("detail");
  const bool enough = std::sscanf(told.c_str(), "mean over %lf s", &worked_s) == 1;
  REQUIRE((enough || std::sscanf(told.c_str(), "nothing told: %lf s", &worked_s) == 1));
  CHECK((enough ? worked_s >= 2.95 : worked_s <= 3.05));
  for (const char* metric : {"burnin.power_of_limit_pct", "burnin.gemm_int8.power_of_limit_pct", "burnin.gemm_int8.power_w"}) {
    CAPTURE(metric);
    CHECK(steady.measured(metric)["value"].is_null() == !enough);
    CHECK((steady.measured(metric).string_or("detail").find("nothing told") == std::string::npos) == enough);
  }
  CHECK(steady.value("burnin.power_w") == doctest::Approx(300));
  ask.nvml_script = "power_mw=300000";
  CHECK_FALSE(with_fault("", ask).has("burnin.power_of_limit_pct"));
}

TEST_CASE("cuda: a chip that nobody knew when this was written is tested by the general kernels") {
  for (const auto family : {Family::burnin, Family::memory, Family::bandwidth}) {
    const auto said = with_fault("capability=150", {family, {"bf16"}});
    CHECK(said.status(family == Family::burnin ? "gemm_bf16" : family == Family::memory ? "memory" : "device_local_copy") == "ran");
  }
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

TEST_CASE("cuda: of a memory test that did not come to all of its patterns the figure by which it passes is missing") {
  Ask ask{Family::memory};
  ask.seconds = 0.001;
  const auto cut = with_fault("", ask);
  CHECK(cut.status("memory") == "ran");
  CHECK(cut.value("memory.patterns") < 11);
  CHECK(cut.measured("memory.patterns_left_out")["value"].is_null());
  ask.seconds = 6;
  const auto whole = with_fault("memory_mib=4", ask);
  CHECK(whole.value("memory.patterns") == 11);
  CHECK(whole.value("memory.patterns_left_out") == 0);
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
  CHECK(bad.mismatches()[0].string_or("nature") == "stored");
  const auto unread = with_fault("unread=33", {Family::memory});   // in checks that overwrite nothing, the second look is right
  bool once_wrong = false;
  for (const auto& one : unread.mismatches()) once_wrong |= one.string_or("nature") == "read";
  CHECK(once_wrong);
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
    CHECK(good.measured("bandwidth." + std::string(test) + "_gbps").string_or("detail").find(" 1 + 4 copies a sample") != std::string::npos);   // quick
  }
  CHECK(good.value("bandwidth.hbm_copy_rw_gbps") == doctest::Approx(2 * good.value("bandwidth.device_local_copy_gbps")));
  CHECK(good.measured("bandwidth.device_to_device_memcpy_read_ce_gbps").string_or("link") == "1->0");
  CHECK(good.status("stream") == "ran");
  CHECK(good.value("bandwidth.stream.mismatches") == 0);
}

TEST_CASE("cuda: all of nvbandwidth's copies among three GPUs, each destination compared") {
  Ask all{Family::bandwidth};
  all.level = "standard";
  all.samples = 3;
  all.seconds = 600;
  const auto good = with_fault("devices=3", all);
  CHECK(good.measured("bandwidth.host_to_device_memcpy_ce_gbps").string_or("detail").find(" 4 + 16 copies a sample") != std::string::npos);
  struct Row { const char* name; std::vector<std::string> links; };
  const std::vector<std::string> none{""}, in{"1->0", "2->0"}, out{"0->1", "0->2"};
  for (const auto* kind : {"ce", "sm"})
    for (const auto& [name, links] : std::vector<Row>{{"host_to_device_memcpy", none}, {"device_to_host_memcpy", none}, {"host_to_device_bidirectional_memcpy", none},
          {"device_to_host_bidirectional_memcpy", none}, {"all_to_host_memcpy", none}, {"all_to_host_bidirectional_memcpy", none}, {"host_to_all_memcpy", none},
          {"host_to_all_bidirectional_memcpy", none}, {"device_to_device_memcpy_read", in}, {"device_to_device_memcpy_write", out},
          {"all_to_one_write", {"*->0"}}, {"all_to_one_read", {"*->0"}}, {"one_to_all_write", {"0->*"}}, {"one_to_all_read", {"0->*"}}}) {
      const std::string test = std::string(name) + "_" + kind;
      CAPTURE(test);
      for (const auto& link : links) {
        CAPTURE(link);
        int figures = 0, mismatches = 0;
        for (const auto& m : good.messages) {
          if (m.string_or("type") != "measurement" || m.string_or("link") != link) continue;
          if (m.string_or("metric") == "bandwidth." + test + "_gbps") {
            ++figures;
            CHECK(m.double_or("value", 0) > 0);
            CHECK(m.array_at("samples").size() == 3);
          }
          if (m.string_or("metric") == "bandwidth." + test + ".mismatches") {
            ++mismatches;
            CHECK(m.double_or("value", -1) == 0);
          }
        }
        CHECK(figures == 1);
        CHECK(mismatches == 1);
      }
      CHECK(good.value("selftest." + test + ".found") == 1);
    }
  for (const auto* test : {"host_device_latency_sm", "device_to_device_latency_sm"}) {
    CHECK(good.value(std::string("bandwidth.") + test + "_ns") > 0);
    CHECK(good.value(std::string("bandwidth.") + test + ".mismatches") == 0);
    CHECK(good.value(std::string("selftest.") + test + ".found") == 1);
  }
  CHECK(good.has("bandwidth.host_memory_local_pct"));
  for (const auto& m : good.messages) CHECK(m.string_or("status", "ran") == "ran");
}

TEST_CASE("cuda: a sick link costs that link alone, by copy engine and by multiprocessors") {
  Ask all{Family::bandwidth};
  all.level = "standard";
  all.samples = 3;
  all.seconds = 600;
  const auto said = with_fault("devices=3,flip_link=20", all);   // from 2 to 0
  int wrong = 0;
  for (const auto& m : said.messages) {
    if (m.string_or("type") != "measurement" || m.string_or("metric").find(".mismatches") == std::string::npos) continue;
    const std::string metric = m.string_or("metric"), link = m.string_or("link");
    CAPTURE(metric);
    CAPTURE(link);
    const bool sick = (link == "2->0" || link == "0<->2") && metric.find("latency") == std::string::npos;
    const bool among = link == "*->0";
    CHECK((m.double_or("value", -1) > 0) == (sick || among));
    wrong += sick;
  }
  CHECK(wrong == 6);   // one way, and both ways by who reads and who writes; ce and sm
  for (const auto& m : said.mismatches()) CHECK(m.string_or("where").rfind("link ", 0) == 0);
  // A peer that cannot be opened costs its link; one that cannot be reached has none.
  const auto shut = with_fault("devices=3,only=2,context=46", {Family::bandwidth});
  CHECK(shut.status("device_to_device_memcpy_2") == "not_run");
  CHECK(shut.code("device_to_device_memcpy_2") == "KF4145");
  CHECK(shut.done("device_to_device_memcpy_2").string_or("reason").find("KF4060") != std::string::npos);
  CHECK(shut.measured("bandwidth.device_to_device_memcpy_read_ce_gbps").string_or("link") == "1->0");
  CHECK_FALSE(with_fault("devices=3,no_peer", {Family::bandwidth}).has("bandwidth.device_to_device_memcpy_read_ce_gbps"));
}

TEST_CASE("cuda: a wrong bit on one way costs that way alone") {
  // Copies are numbered: 2 in the first sample and 5 in each of ten in either direction; the last of the second sample to the host.
  const auto said = with_fault("flip_copy=" + std::to_string(2 + 10 * 5 + 2 + 5), {Family::bandwidth});
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
                          Row{"pinned_oom", "bandwidth", "KF4005", "not_run", Family::bandwidth},
                          Row{"context=46", "memory", "KF4060", "not_run", Family::memory}, Row{"mode=2", "memory", "KF4060", "not_run", Family::memory},
                          Row{"context=46,mode=3", "burnin", "KF4060", "not_run", Family::burnin}, Row{"context=2", "burnin", "KF4005", "not_run", Family::burnin},
                          Row{"context=805", "memory", "KF4060", "not_run", Family::memory}, Row{"context=807", "burnin", "KF4060", "not_run", Family::burnin},
                          Row{"module=222,driver=12040", "burnin", "KF4002", "not_run", Family::burnin}, Row{"module=209", "memory", "KF4002", "not_run", Family::memory},
                          Row{"module=200,driver=12020", "memory", "KF4002", "not_run", Family::memory},
                          Row{"lost_after=3,error=700", "gemm_bf16", "KF4061", "failed", Family::burnin},
                          Row{"lost_after=9,error=702", "memory", "KF4062", "failed", Family::memory},
                          Row{"lost_after=9,error=214", "memory", "KF4063", "failed", Family::memory},
                          Row{"lost_after=5,error=220", "host_to_device_memcpy_ce", "KF4064", "failed", Family::bandwidth},
                          Row{"lost_after=5,error=999", "host_to_device_memcpy_ce", "KF4006", "failed", Family::bandwidth},
                          Row{"lost_after=9,error=101", "memory", "KF4006", "failed", Family::memory},
                          Row{"lost_after=9,error=1", "memory", "KF4018", "failed", Family::memory}, Row{"lost_after=3", "gemm_bf16", "KF4006", "failed", Family::burnin},
                          Row{"lost_after=9", "memory", "KF4006", "failed", Family::memory}}) {
    CAPTURE(row.fault);
    const auto said = with_fault(row.fault, {row.family, {"bf16"}});
    CHECK(said.code(row.test) == row.code);
    CHECK(said.status(row.test) == row.status);
    CHECK_FALSE(said.done(row.test).string_or("reason").empty());
    for (const auto& m : said.messages) CHECK_FALSE((m.string_or("type") == "test_done" && m.string_or("test") == row.test && m.string_or("status") == "ran"));
  }
  // What a driver says of kernels that are newer than it differs; the least that loads them is said with each.
  for (const auto* fault : {"module=222,driver=12040", "module=200,driver=12020", "module=209,driver=11080"}) {
    const std::string reason = with_fault(fault, {Family::burnin}).done("burnin").string_or("reason");
    CAPTURE(reason);
    const std::string driver = fault;
    CHECK(reason.find("the driver offers CUDA " + driver.substr(18, 2) + "." + driver.substr(21, 1)) != std::string::npos);
    CHECK(reason.find("the least that loads kfab's kernels is " + (cuda_least_driver().empty() ? std::string("not known") : cuda_least_driver())) != std::string::npos);
  }
  CHECK(with_fault("", {Family::burnin, {}, "libno-such-driver.so"}).code("inventory") == "KF4001");
  CHECK(with_fault("", {Family::burnin, {}, "libm.so.6"}).code("inventory") == "KF4002");   // a symbol is missing
}

TEST_CASE("cuda: more peers than the driver connects at a time cost no verdict, and are told") {
  Ask ask{Family::bandwidth};
  ask.samples = 2;
  const auto said = with_fault("devices=4,most_peers=2", ask);
  CHECK(said.status("device_to_device_memcpy_3") == "not_run");
  CHECK(said.code("device_to_device_memcpy_3") == "KF4011");
  CHECK(said.done("device_to_device_memcpy_3").string_or("reason").find("link 0<->3") == 0);
  std::set<std::string> links;
  for (const auto& m : said.messages)
    if (m.string_or("metric") == "bandwidth.device_to_device_memcpy_read_ce_gbps") links.insert(m.string_or("link"));
  CHECK(links == std::set<std::string>{"1->0", "2->0"});
}

TEST_CASE("cuda: a driver without its module for computing is told from one whose GPU is gone") {
  agent::test::TemporaryDirectory dir;
  CHECK_FALSE(agent::devices::cuda::uvm_missing(dir.string()));   // no driver at all
  agent::test::write(dir / "dev/nvidiactl", "");
  CHECK(agent::devices::cuda::uvm_missing(dir.string()));
  agent::test::write(dir / "dev/nvidia-uvm", "");
  CHECK_FALSE(agent::devices::cuda::uvm_missing(dir.string()));
}

TEST_CASE("cuda: a chip that the kernels are not compiled for is told from a driver that is too old") {
  const std::string shipped = "75 80 86 89 90a 100 103 120a";
  for (const int capability : {75, 80, 86, 87, 89, 90, 100, 103, 120, 121, 130}) {
    CAPTURE(capability);
    CHECK(kfab::agent::devices::cuda::runs_on(shipped, capability));   // 8.7 by the code of 8.6, 12.1 and later by PTX
  }
  for (const int capability : {52, 61, 70, 72, 110}) {
    CAPTURE(capability);
    CHECK_FALSE(kfab::agent::devices::cuda::runs_on(shipped, capability));
  }
  CHECK_FALSE(kfab::agent::devices::cuda::runs_on("80 90", 86 - 10));
  CHECK(kfab::agent::devices::cuda::runs_on("", 70));
  Ask ask{Family::memory};
  ask.architectures = shipped;
  struct Row { const char* fault; const char* code; const char* words; };
  for (const auto& row : {Row{"module=209,capability=110", "KF4170", "compute capability 11.0: this agent's kernels are for 75 80"}, Row{"module=209,capability=70", "KF4170", "compute capability 7.0"},
                          Row{"module=209,capability=90,driver=11080", "KF4002", "the driver offers CUDA 11.8"}, Row{"module=222,capability=121,driver=12080", "KF4002", "the driver offers CUDA 12.8"},
                          Row{"module=221,capability=121", "KF4001", "load the kernels"}, Row{"module=2,capability=70", "KF4005", "load the kernels"}}) {
    CAPTURE(row.fault);
    const auto said = with_fault(row.fault, ask);
    CHECK(said.code("memory") == row.code);
    CHECK(said.status("memory") == "not_run");
    CHECK(said.done("memory").string_or("reason").find(row.words) != std::string::npos);
  }
}

TEST_CASE("cuda: a GPU that the driver does not let this one reach has a row of its own") {
  struct Row { std::string metric, link; double value; bool known; };
  const auto rows_of = [](const Collected& said, std::string_view metric) {
    std::vector<Row> out;
    for (const auto& m : said.messages)
      if (m.string_or("type") == "measurement" && m.string_or("metric") == metric) out.push_back({m.string_or("metric"), m.string_or("link"), m.double_or("value", -1), !m["value"].is_null()});
    return out;
  };
  Ask ask{Family::bandwidth};
  ask.samples = 2;
  const auto said = with_fault("devices=3,unreachable=2", ask);   // 0 does not reach 2
  const auto reach = rows_of(said, "bandwidth.peer_reachable");
  REQUIRE(reach.size() == 2);
  CHECK(reach[0].link == "0->1");
  CHECK(reach[0].value == 1);
  CHECK(reach[1].link == "0->2");
  CHECK(reach[1].value == 0);
  CHECK(said.value("selftest.peers.found") == 1);   // without it, and without an end, no criterion could judge what is said of them
  CHECK(said.status("peers") == "ran");
  for (const auto* way : {"read", "write"}) {
    CAPTURE(way);
    const auto links = rows_of(said, std::string("bandwidth.device_to_device_memcpy_") + way + "_ce_gbps");
    REQUIRE(links.size() == 2);
    int known = 0;
    for (const auto& one : links) {
      known += one.known;
      CHECK(one.known == (one.link.find('2') == std::string::npos));
    }
    CHECK(known == 1);
  }
  // Where none is reachable nobody expects a figure of any link; that it is so is told.
  const auto none = with_fault("devices=3,no_peer", ask);
  CHECK(rows_of(none, "bandwidth.device_to_device_memcpy_read_ce_gbps").empty());
  CHECK(rows_of(none, "bandwidth.peer_reachable").size() == 2);
  CHECK(rows_of(with_fault("", ask), "bandwidth.peer_reachable").empty());
}

TEST_CASE("cuda: when the time of a level is used up, what criteria rest on was measured and the rest is counted") {
  Ask ask{Family::bandwidth};
  ask.level = "standard";
  ask.samples = 2;
  ask.seconds = 0;
  const auto said = with_fault("devices=2", ask);
  for (const auto* test : {"host_to_device_memcpy_ce", "device_to_host_memcpy_ce", "device_local_copy", "device_to_device_memcpy_read_ce", "device_to_device_memcpy_write_ce", "stream"}) {
    CAPTURE(test);
    CHECK(said.status(test) == "ran");
  }
  // Four over the host by multiprocessors, six with the peer, eight of all GPUs at once over the host, eight to and from one.
  CHECK(said.value("bandwidth.tests_left_out") == 4 + 6 + 8 + 8);
  CHECK(said.measured("bandwidth.tests_left_out").string_or("detail").find("host_to_device_memcpy_sm") != std::string::npos);
  CHECK(said.status("host_to_device_memcpy_sm").empty());
  ask.level = "quick";
  CHECK_FALSE(with_fault("devices=2", ask).has("bandwidth.tests_left_out"));
}
