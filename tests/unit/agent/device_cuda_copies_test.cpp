// The cuda device's copies over the stand-in for libcuda.so.1: what a sick peer, a sick link and a slow one cost, and the figures
// that carry nvbandwidth's names.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "unit/agent/device_support.hpp"

using namespace kfab;
using namespace kfab::agent::devices;

namespace {

struct Copied {
  std::string level = "quick";
  int samples = 2;
  double seconds = 600, silence_s = 6;
  std::vector<std::string> sick{};
  std::uint64_t buffer_bytes = 64 << 10;
};

// The copies of the first GPU of the stand-in with that fault.
Collected copied(const std::string& fault, const Copied& ask = {}) {
  return in_process_of_its_own([&](TestSink& sink) {
    ::setenv("KFAB_FAKE_CUDA", fault.c_str(), 1);
    CudaLibraries libraries;
    libraries.driver = std::string(KFAB_BINARY_DIR) + "/libkfab_fake_cuda.so";
    libraries.nvml = "libnone-such-nvml.so";
    libraries.image = libraries.hopper_image = libraries.blackwell_image = "an image that the stand-in does not read";
    const auto device = make_cuda_device(libraries);
    const auto found = device->accelerators();
    if (!found) return;
    for (const auto& one : *found) sink.emit(*to_json(one).as_object());
    TestRequest request;
    request.device = "cuda";
    request.level = ask.level;
    request.samples = ask.samples;
    request.buffer_bytes = ask.buffer_bytes;
    request.silence_s = ask.silence_s;
    request.sick = ask.sick;
    device->run(Family::bandwidth, found->at(0), request, ask.seconds, sink);
  });
}

std::string id_of(const Collected& said, int index) {
  for (const auto& m : said.messages)
    if (m.string_or("type") == "accelerator" && m.int_or("index", -1) == index) return m.string_or("id");
  return {};
}

// What did not run, as test, code and reason.
std::vector<json::Value> unrun(const Collected& said) {
  std::vector<json::Value> out;
  for (const auto& m : said.messages)
    if (m.string_or("type") == "test_done" && m.string_or("status") != "ran") out.push_back(m);
  return out;
}

const char* const own_tests[] = {"host_to_device_memcpy_ce", "device_to_host_memcpy_ce", "host_to_device_bidirectional_memcpy_ce", "device_to_host_bidirectional_memcpy_ce",
                                 "device_local_copy", "stream", "host_device_latency_sm"};

}  // namespace

TEST_CASE("cuda copies: a peer that dies, hangs or is held by others costs the link to it, and is named") {
  for (const std::string fault : {"lost_after=1,error=999", "lost_after=4,error=999", "lost_after=4,error=220", "hang=1", "hang=4", "context=46", "oom", "mode=2"}) {
    CAPTURE(fault);
    const auto said = copied("devices=3,only=2," + fault);
    for (const auto* test : own_tests) {
      CAPTURE(test);
      CHECK(said.status(test) == "ran");
    }
    const auto gaps = unrun(said);
    REQUIRE(gaps.size() == 1);
    CHECK(gaps[0].string_or("status") == "not_run");
    CHECK(gaps[0].string_or("code") == "KF4145");
    const std::string reason = gaps[0].string_or("reason");
    CAPTURE(reason);
    CHECK(reason.find(id_of(said, 2)) != std::string::npos);
    CHECK(reason.rfind("link ", 0) == 0);
    // The other link is whole.
    CHECK(said.measured("bandwidth.device_to_device_memcpy_read_ce_gbps").string_or("link") == "1->0");
    CHECK(said.value("bandwidth.device_to_device_memcpy_read_ce_gbps") > 0);
    CHECK(said.value("bandwidth.device_to_device_latency_sm_ns") > 0);
  }
}

TEST_CASE("cuda copies: copies that never end between two GPUs that answer are the link's fault, and this GPU's own are told") {
  const auto said = copied("devices=3,hang_link=20");
  const auto gaps = unrun(said);
  REQUIRE(gaps.size() == 1);
  CHECK(gaps[0].string_or("status") == "failed");
  CHECK(gaps[0].string_or("code") == "KF4146");
  CHECK(gaps[0].string_or("reason").rfind("link 2->0: ", 0) == 0);
  for (const auto* test : own_tests) CHECK(said.status(test) == "ran");
}

TEST_CASE("cuda copies: a GPU that hangs itself says so, without waiting for the watchdog") {
  const auto said = copied("only=0,hang=20");
  const auto gaps = unrun(said);
  REQUIRE(gaps.size() == 1);
  CHECK(gaps[0].string_or("status") == "failed");
  CHECK(gaps[0].string_or("code") == "KF4007");
}

TEST_CASE("cuda copies: a GPU that hung or was lost in an earlier test is left alone by the others") {
  const std::string sick = id_of(copied("devices=3"), 2);
  REQUIRE_FALSE(sick.empty());
  Copied ask;
  ask.sick = {sick};
  const auto said = copied("devices=3,only=2,stuck_launch", ask);   // whoever touches it never comes back
  REQUIRE(unrun(said).size() == 1);
  CHECK(unrun(said)[0].string_or("code") == "KF4145");
  CHECK(unrun(said)[0].string_or("reason").find(sick) != std::string::npos);
}

TEST_CASE("cuda copies: a slow link has its figure, of fewer copies a sample, and says so") {
  Copied ask;
  ask.level = "standard";
  ask.seconds = 0;
  ask.silence_s = 12;                                    // a sample may last a tenth of a second
  const auto said = copied("slow=2048", ask);            // 64 KiB in 32 ms
  const auto& figure = said.measured("bandwidth.host_to_device_memcpy_ce_gbps");
  CHECK(said.status("host_to_device_memcpy_ce") == "ran");
  CHECK(figure.array_at("samples").size() == 2);
  const std::string detail = figure.string_or("detail");
  CAPTURE(detail);
  const auto at = detail.find(" MiB, 1 + ");
  REQUIRE(at != std::string::npos);
  const int timed = std::atoi(detail.c_str() + at + 10);
  CHECK(timed >= 1);
  CHECK(timed <= 3);
  CHECK(detail.find("fewer than usual for a slow link") != std::string::npos);
  CHECK(said.value("bandwidth.host_to_device_memcpy_ce_gbps") == doctest::Approx(2048e3 * 1e-9).epsilon(0.2));
  const std::string fast = copied("", ask).measured("bandwidth.host_to_device_memcpy_ce_gbps").string_or("detail");
  CHECK(fast.find(" 4 + 16 copies a sample,") != std::string::npos);
}

TEST_CASE("cuda copies: a quick look copies less at a time over links, and as much as ever within the GPU") {
  for (const bool quick : {true, false}) {
    Copied ask;
    if (!quick) ask.level = "standard";
    ask.samples = 1;
    ask.seconds = 0;   // what criteria rest on is measured all the same
    ask.buffer_bytes = std::uint64_t{8} << 20;
    const auto said = copied("devices=2,memory_mib=256", ask);
    const auto mib = [&](const std::string& test) { return std::atoi(said.measured("bandwidth." + test + "_gbps").string_or("detail").c_str()); };   // "8 MiB, ..."
    CAPTURE(quick);
    CHECK(mib("device_local_copy") == 8);
    CHECK(mib("device_to_device_memcpy_read_ce") == (quick ? 2 : 8));
    CHECK(mib("host_to_device_memcpy_ce") == (quick ? 1 : 8));
  }
}

TEST_CASE("cuda copies: a link whose turn does not come in time has a row that says so, and copies with the host always run") {
  Copied ask;
  ask.seconds = 0;
  ask.silence_s = 1;
  const auto said = copied("devices=2,slow=512", ask);
  CHECK(said.status("host_to_device_memcpy_ce") == "ran");
  CHECK(said.value("bandwidth.host_to_device_memcpy_ce_gbps") > 0);
  const auto& link = said.measured("bandwidth.device_to_device_memcpy_read_ce_gbps");
  CHECK(link["value"].is_null());
  CHECK(link.string_or("link") == "1->0");
  CHECK(said.value("bandwidth.tests_left_out") == 2);
  CHECK(said.measured("bandwidth.tests_left_out").string_or("detail").find("device_to_device_memcpy_read_ce") != std::string::npos);
}

TEST_CASE("cuda copies: both directions of a link at once are measured and compared, each and together, under nvbandwidth's names") {
  Copied ask;
  ask.level = "standard";
  const auto said = copied("devices=2", ask);
  for (const auto* kind : {"ce", "sm"})
    for (const auto& [way, first, second] : {std::tuple{"read", "1->0", "0->1"}, std::tuple{"write", "0->1", "1->0"}}) {
      const std::string metric = std::string("bandwidth.device_to_device_bidirectional_memcpy_") + way + "_" + kind;
      CAPTURE(metric);
      const auto &one = said.measured(metric + "_" + way + "1_gbps"), &two = said.measured(metric + "_" + way + "2_gbps"), &total = said.measured(metric + "_total_gbps");
      CHECK(one.string_or("link") == first);
      CHECK(two.string_or("link") == second);
      CHECK(total.string_or("link") == "0<->1");
      REQUIRE(total.array_at("samples").size() == 2);
      for (std::size_t i = 0; i < 2; ++i)
        CHECK(*total.array_at("samples")[i].as_double() == doctest::Approx(*one.array_at("samples")[i].as_double() + *two.array_at("samples")[i].as_double()));
      CHECK_FALSE(said.has(metric + "_gbps"));   // one direction under the bare name would be taken for nvbandwidth's
      CHECK(said.value(metric + ".mismatches") == 0);
      CHECK(said.measured(metric + ".mismatches").string_or("detail").find("6 destinations") != std::string::npos);   // of three samples two each
    }
  // The way back is compared as well.
  const auto sick = copied("devices=2,flip_link=1", ask);   // from 0 to 1
  CHECK(sick.value("bandwidth.device_to_device_bidirectional_memcpy_read_ce.mismatches") > 0);
}

TEST_CASE("cuda copies: every test of nvbandwidth is there under its name") {
  const std::set<std::string> nvbandwidth{
      "host_to_device_memcpy_ce", "device_to_host_memcpy_ce", "host_to_device_bidirectional_memcpy_ce", "device_to_host_bidirectional_memcpy_ce", "device_to_device_memcpy_read_ce",
      "device_to_device_memcpy_write_ce", "device_to_device_bidirectional_memcpy_read_ce", "device_to_device_bidirectional_memcpy_write_ce", "all_to_host_memcpy_ce",
      "all_to_host_bidirectional_memcpy_ce", "host_to_all_memcpy_ce", "host_to_all_bidirectional_memcpy_ce", "all_to_one_write_ce", "all_to_one_read_ce", "one_to_all_write_ce",
      "one_to_all_read_ce", "host_to_device_memcpy_sm", "device_to_host_memcpy_sm", "host_to_device_bidirectional_memcpy_sm", "device_to_host_bidirectional_memcpy_sm",
      "device_to_device_memcpy_read_sm", "device_to_device_memcpy_write_sm", "device_to_device_bidirectional_memcpy_read_sm", "device_to_device_bidirectional_memcpy_write_sm",
      "all_to_host_memcpy_sm", "all_to_host_bidirectional_memcpy_sm", "host_to_all_memcpy_sm", "host_to_all_bidirectional_memcpy_sm", "all_to_one_write_sm", "all_to_one_read_sm",
      "one_to_all_write_sm", "one_to_all_read_sm", "host_device_latency_sm", "device_to_device_latency_sm", "device_local_copy"};
  REQUIRE(nvbandwidth.size() == 35);
  Copied ask;
  ask.level = "standard";
  const auto said = copied("devices=2", ask);
  std::set<std::string> ran;
  for (const auto& m : said.messages)
    if (m.string_or("type") == "test_done" && m.string_or("status") == "ran") ran.insert(m.string_or("test"));
  ran.erase("peers");    // kfab's own
  ran.erase("stream");
  CHECK(ran == nvbandwidth);
}
