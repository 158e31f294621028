// Makers' tools by what they have been seen to print, and by what they might.
#include "agent/devices/vendor_stress.hpp"
#include "agent/devices/vendor_tools.hpp"

#include <doctest/doctest.h>

#include <random>

#include "unit/agent/device_support.hpp"
#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent;
using namespace kfab::agent::devices::vendor;

namespace {

double figure(const VendorAccelerator& one, std::string_view metric) {
  for (const auto& f : one.figures)
    if (f.metric == metric) return f.value.value_or(-1);
  return -2;
}

// A server with RBLN-CA22 cards, KMD 3.0.0.
const std::string rebellions =
    R"({"KMD_version":"3.0.0","devices":[{"npu":0,"name":"RBLN-CA22","sid":"0000000022513338","uuid":"4126c167-c7a6-4d0a-80dd-ffbf3641d1b0",
 "device":"rbln0","status":"normal","fw_ver":"3.0.0","pci":{"dev":"0x1220","bus_id":"0000:03:00.0","numa_node":"0","link_speed":"32.0GT/s","link_width":"16"},
 "temperature":"31C","card_power":"17521800uW","pstate":"P14","memory":{"used":"0","total":"16877879296"},"util":"0.0","board_info":"0005000c","location":5}],"contexts":[]})";

std::string with(std::string text, const std::string& what, const std::string& by) {
  const auto at = text.find(what);
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), by);
}

}  // namespace

TEST_CASE("quantities in all the ways they come") {
  struct Row { const char* text; double value; const char* unit; };
  for (const auto& row : {Row{"17521800uW", 17.5218, "w"}, Row{"38.00 W", 38, "w"}, Row{"31C", 31, "c"}, Row{"40.98\u00b0C", 40.98, "c"}, Row{"512 MiB", 512.0 * 1048576, "bytes"},
                          Row{"34 C", 34, "c"}, Row{"16877879296", 16877879296.0, ""}, Row{"32.0GT/s", 32, "gt/s"}, Row{"0.0", 0, ""}, Row{"88 mW", 0.088, "w"}}) {
    CAPTURE(row.text);
    const auto quantity = read_quantity(std::string_view(row.text));
    REQUIRE(quantity);
    CHECK(quantity->value == doctest::Approx(row.value));
    CHECK(quantity->unit == row.unit);
  }
  for (const char* text : {"", "N/A", "[N/A]", "unknown", "-", "W", "12 parsec", "nan", "inf", "1e99"}) CHECK_FALSE(read_quantity(std::string_view(text)));
  const auto amd = read_quantity(json::Value(json::Object{{"value", 196592}, {"unit", "MB"}}));
  REQUIRE(amd);
  CHECK(amd->value == doctest::Approx(196592.0 * 1048576));
  CHECK_FALSE(read_quantity(json::Value(json::Object{{"value", "N/A"}, {"unit", "W"}})));
  CHECK_FALSE(read_quantity(json::Value(true)));
}

TEST_CASE("rebellions: power in microwatts, memory in bytes as text, and the rest of it") {
  const auto answer = read_rebellions(rebellions);
  CHECK(answer.problems.empty());
  REQUIRE(answer.found.size() == 1);
  const auto& one = answer.found[0];
  CHECK(one.accelerator.id == "0000000022513338");
  CHECK(one.accelerator.device == "vendor");
  CHECK(one.accelerator.memory_bytes == 16877879296ULL);
  CHECK(figure(one, "health.power_w") == doctest::Approx(17.5218));
  CHECK(figure(one, "health.memory_gib") == doctest::Approx(15.72).epsilon(0.001));
  CHECK(figure(one, "health.temperature_c") == 31);
  CHECK(figure(one, "health.alive") == 1);
  CHECK(figure(one, "health.hung") == 0);
  CHECK(figure(one, "health.pcie_width") == 16);
  CHECK(one.accelerator.numa_node == 0);
  // A board that does not say where it sits is not taken for one at node 1, or at node 0.
  CHECK(read_rebellions(with(rebellions, R"("numa_node":"0")", R"("numa_node":"-1")")).found.at(0).accelerator.numa_node == -1);
  CHECK(read_rebellions(with(rebellions, R"("numa_node":"0")", R"("numa_node":-1)")).found.at(0).accelerator.numa_node == -1);
  CHECK(read_rebellions(with(rebellions, R"("numa_node":"0")", R"("numa_node":1)")).found.at(0).accelerator.numa_node == 1);
  CHECK(read_rebellions(with(rebellions, R"("numa_node":"0",)", "")).found.at(0).accelerator.numa_node == -1);
  for (const auto& f : one.figures) {   // a figure without a unit is held against no criterion
    CAPTURE(f.metric);
    CHECK_FALSE(f.unit.empty());
  }
  CHECK(figure(one, "health.pcie_gen") == 5);
  CHECK(figure(one, "health.foreign_processes") == 0);
  CHECK(json::Value(one.versions).string_or("driver") == "3.0.0");

  CHECK(figure(read_rebellions(with(rebellions, "\"P14\"", "\"P12\"")).found[0], "health.hung") == 1);
  CHECK(figure(read_rebellions(with(rebellions, "\"P14\"", "\"P10\"")).found[0], "health.thermal") == 1);
  CHECK(figure(read_rebellions(with(rebellions, "\"normal\"", "\"error\"")).found[0], "health.alive") == 0);
  CHECK(figure(read_rebellions(with(rebellions, "\"contexts\":[]", "\"contexts\":[{\"npu\":\"0\",\"pid\":7}]")).found[0], "health.foreign_processes") == 1);
  // A virtual function is no card; numbers may be numbers or words, and the driver's version has two names.
  CHECK(read_rebellions(with(rebellions, "0x1220", "0x1221")).found.empty());
  CHECK(read_rebellions(with(rebellions, "\"npu\":0", "\"npu\":\"3\"")).found[0].accelerator.index == 3);
  CHECK(figure(read_rebellions(with(rebellions, "\"16\"}", "8}")).found[0], "health.pcie_width") == 8);
  CHECK(json::Value(read_rebellions(with(rebellions, "KMD_version", "driver_version")).found[0].versions).string_or("driver") == "3.0.0");
  CHECK(read_rebellions(with(rebellions, "\"location\":5", "\"group_id\":\"0\"")).found.size() == 1);
  // What is not told is not zero.
  CHECK(figure(read_rebellions(with(rebellions, "17521800uW", "N/A")).found[0], "health.power_w") == -1);
  CHECK(figure(read_rebellions(with(rebellions, "\"status\":\"normal\",", "")).found[0], "health.alive") == -1);
}

TEST_CASE("furiosa: as JSON, as an older tool's table, and the first generation") {
  const std::string info = R"([{"arch":"rngd","dev_name":"npu0","device_uuid":"C0413086-0708-4606","device_sn":"RNG26040100181Q","firmware":"2026.3.0, 2d3f72a","pci_bdf":"0000:03:00.0","temperature":"40.98°C","power":"38.00 W"}])";
  const std::string status = R"([{"arch":"rngd","device":"npu0","liveness":"alive","memory":{"DRAM":{"used_size":0,"total_size":51002736640,"used_ratio":0.0}},
  "pe_utilizations":[{"pe_core":0,"pe_occupancy":false,"pe_utilization":0.0}]}])";
  const auto answer = read_furiosa(info, status);
  REQUIRE(answer.found.size() == 1);
  const auto& one = answer.found[0];
  CHECK(one.accelerator.id == "RNG26040100181Q");   // the number changes between boots, the serial does not
  CHECK(one.accelerator.memory_bytes == 51002736640ULL);
  CHECK(figure(one, "health.alive") == 1);
  CHECK(figure(one, "health.temperature_c") == doctest::Approx(40.98));
  CHECK(figure(one, "health.power_w") == 38);
  CHECK(figure(one, "health.foreign_processes") == 0);
  CHECK(figure(read_furiosa(info, with(status, "alive", "dead")).found[0], "health.alive") == 0);
  CHECK(figure(read_furiosa(info, with(status, "\"pe_occupancy\":false", "\"pe_occupancy\":true")).found[0], "health.foreign_processes") == 1);
  CHECK(figure(read_furiosa(info, "").found[0], "health.alive") == -1);         // not told
  CHECK(figure(read_furiosa(info, "[{\"device\":\"npu7\",\"liveness\":\"alive\"}]").found[0], "health.alive") == -1);   // another's

  const auto table = read_furiosa("+------+\n| Arch | Device | Firmware | Temp. | Power | PCI-BDF |\n| RNGD | npu0 | 1.7.0, 4dfed1852e7b | 40.98°C | 38 W | 0000:03:00.0 |\n", "");
  REQUIRE(table.found.size() == 1);
  CHECK(figure(table.found[0], "health.power_w") == 38);
  CHECK(table.found[0].accelerator.pci_bus_id == "0000:03:00.0");
  const auto older = read_furiosa("| npu1 | warboy | 1.6.0, 3c10fd3 | 54°C | 0.99 W | 0000:44:00.0 |\n", "");
  REQUIRE(older.found.size() == 1);
  CHECK(older.found[0].accelerator.index == 1);
  CHECK(figure(older.found[0], "health.temperature_c") == 54);
  const auto warboy = read_furiosa(R"([{"arch":"warboy","index":0,"pci_bdf":"0000:44:00.0"}])", R"([{"index":0,"cores":[{"idx":0,"status":"available"},{"idx":1,"status":"failed"}]}])");
  CHECK(figure(warboy.found[0], "health.alive") == 0);
}

TEST_CASE("amd: a bare list or one under gpu_data, units that vary") {
  const std::string gpu = R"({"gpu":0,"asic":{"market_name":"AMD Instinct MI300X","asic_serial":"0x5B1C"},"bus":{"bdf":"0000:05:00.0"},"driver":{"version":"6.10.5"},"vram":{"size":{"value":196592,"unit":"MB"}}})";
  const std::string metric = R"([{"gpu":0,"temperature":{"edge":"N/A","hotspot":{"value":41,"unit":"C"}},"power":{"socket_power":{"value":139,"unit":"W"}},"ecc":{"total_uncorrectable_count":0,"total_correctable_count":2},"pcie":{"width":16,"replay_count":0}}])";
  for (const auto& facts : {"[" + gpu + "]", "{\"gpu_data\":[" + gpu + "]}"}) {
    const auto answer = read_amd(facts, metric);
    REQUIRE(answer.found.size() == 1);
    CHECK(figure(answer.found[0], "health.memory_gib") == doctest::Approx(191.98).epsilon(0.001));
    CHECK(figure(answer.found[0], "health.temperature_c") == 41);
    CHECK(figure(answer.found[0], "health.power_w") == 139);
    CHECK(figure(answer.found[0], "health.ecc_corrected") == 2);
  }
  const auto bytes = read_amd("[" + with(gpu, R"({"value":196592,"unit":"MB"})", R"({"value":206141652992,"unit":"B"})") + "]", "");
  CHECK(figure(bytes.found[0], "health.memory_gib") == doctest::Approx(191.98).epsilon(0.001));
  CHECK(figure(bytes.found[0], "health.temperature_c") == -1);   // no metrics: not zero
}

TEST_CASE("gaudi: cells with units, and lines of another shape") {
  const auto answer = read_gaudi("0, 01P0-HL2080A0-15-TNBS72-19-03-08, HL-225, 0000:19:00.0, 1.19.0-561d4df, 98304 MiB, 512 MiB, 34 C, 88 W, AN03068471\n\n1, short\n");
  REQUIRE(answer.found.size() == 1);
  CHECK(answer.problems.size() == 1);
  CHECK(answer.found[0].accelerator.id == "AN03068471");
  CHECK(figure(answer.found[0], "health.memory_gib") == 96);
  CHECK(figure(answer.found[0], "health.temperature_c") == 34);
  CHECK(figure(answer.found[0], "health.power_w") == 88);
  CHECK(figure(read_gaudi("0, u, HL-225, b, d, [N/A], 512 MiB, ERR!, 88 W, s").found[0], "health.temperature_c") == -1);
}

TEST_CASE("copies as the makers' tools print them") {
  const auto figures = read_bandwidth("H2D bandwidth: 25.31 GB/s\nDevice to Host  24.10 GiB/s\nthrpt:  [11.2 GiB/s 11.5 GiB/s 11.9 GiB/s]\nnothing here\nH2D failed\n");
  REQUIRE(figures.size() == 3);
  CHECK(figures[0].metric == "bandwidth.host_to_device_gbps");
  CHECK(*figures[0].value == doctest::Approx(25.31));
  CHECK(*figures[1].value == doctest::Approx(24.10 * 1.073741824));
  CHECK(*figures[2].value == doctest::Approx(11.5 * 1.073741824));
  CHECK(read_bandwidth("").empty());
}

TEST_CASE("random and hostile answers of tools give nothing, and no harm") {
  for (const char* text : {"", "{}", "[]", "null", "[1,2]", "{\"devices\":7}", "{\"devices\":[{}]}", "\x1b[31mError", "{\"gpu_data\":[[]]}", "[{\"gpu\":1e300}]"}) {
    CAPTURE(text);
    for (const auto& answer : {read_rebellions(text), read_furiosa(text, text), read_amd(text, text), read_gaudi(text)})
      for (const auto& one : answer.found)
        for (const auto& f : one.figures) CHECK((!f.value || f.metric == "health.foreign_processes"));
  }
  std::mt19937_64 random(4711);
  for (int i = 0; i < 400; ++i) {
    std::string text = rebellions;
    for (int n = 0; n < 8; ++n) text[random() % text.size()] = static_cast<char>(random() % 256);
    (void)read_rebellions(text);
    (void)read_furiosa(text, text);
    (void)read_amd(text, text);
    (void)read_gaudi(text);
    (void)read_bandwidth(text);
  }
  const std::string many = "{\"devices\":[" + [] {
    std::string list = "{}";
    for (int i = 0; i < 2000; ++i) list += ",{}";
    return list;
  }() + "]}";
  CHECK(read_rebellions(many).found.size() <= 256);
}

TEST_CASE("the whole device over stand-in tools: health, what is not driven, and a tool that hangs or lies") {
  const auto run = [](const std::string& script, devices::Family family) {
    test::TemporaryDirectory dir;
    test::write(dir / "rbln-smi", "#!/bin/sh\n" + script, 0755);
    return in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("PATH", (dir.string() + ":/usr/bin:/bin").c_str(), 1);
      const auto device = devices::make_device("vendor");
      const auto found = device->accelerators();
      if (!found) return sink.test_done("inventory", "not_run", 0, found.error().message, to_string(found.error().code));
      for (const auto& one : *found) sink.emit(*devices::to_json(one).as_object());
      device->run(family, found->at(0), {}, 1, sink);
    });
  };
  const std::string good = "cat <<'EOF'\n" + rebellions + "\nEOF\n";
  const auto health = run(good, devices::Family::health);
  CHECK(health.status("health") == "ran");
  CHECK(health.value("health.power_w") == doctest::Approx(17.5218));
  CHECK(health.value("selftest.health.found") == 1);
  const auto burnin = run(good, devices::Family::burnin);
  CHECK(burnin.status("burnin") == "not_run");
  CHECK(burnin.code("burnin") == "KF4015");
  CHECK(burnin.done("burnin").string_or("reason").find("rbln-vs") != std::string::npos);
  CHECK(run(good, devices::Family::bandwidth).status("bandwidth") == "not_run");   // its tool is not there
  // A tool that lists no device is believed; one that fails or says nothing that can be read says nothing of the devices.
  CHECK(run("echo '{\"devices\": []}'", devices::Family::health).code("inventory") == "KF4003");
  for (const char* ill : {"echo '{}'", "echo garbage", "exit 1", "kill -9 $$", "echo broken >&2; exit 3"}) {
    CAPTURE(ill);
    CHECK(run(ill, devices::Family::health).code("inventory") == "KF4172");
  }
  CHECK(run("echo broken >&2; exit 3", devices::Family::health).done("inventory").string_or("reason").find("broken") != std::string::npos);
  const auto nothing = in_process_of_its_own([](devices::TestSink& sink) {
    ::setenv("PATH", "/none", 1);
    const auto found = devices::make_device("vendor")->accelerators();
    sink.test_done("inventory", "not_run", 0, found ? "" : found.error().message, found ? "" : to_string(found.error().code));
  });
  CHECK(nothing.code("inventory") == "KF4001");
}

TEST_CASE("of a maker whose tool is not there that tool is named, and no other's") {
  const auto words_of = [](std::string_view vendor) {
    const auto seen = in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("PATH", "/none", 1);
      const auto found = devices::make_device("vendor", vendor)->accelerators();
      sink.test_done("inventory", "not_run", 0, found ? "" : found.error().message, found ? "" : to_string(found.error().code));
    });
    CHECK(seen.code("inventory") == "KF4001");
    return seen.done("inventory").string_or("reason");
  };
  CHECK(words_of("furiosa") == "furiosa-smi is not on the node");
  CHECK(words_of("rebellions") == "rbln-smi (or rbln-stat, its older name) is not on the node");
  CHECK(words_of("") == "none of rbln-smi, rbln-stat, furiosa-smi, amd-smi and hl-smi is on the node");
  // It travels with the request.
  const auto request = devices::read_request(json::Object{{"device", "vendor"}, {"vendor", "amd"}});
  REQUIRE(request);
  CHECK(request->vendor == "amd");
  CHECK(devices::read_request(devices::to_json(*request))->vendor == "amd");
}

TEST_CASE("bits are no bytes") {
  const auto of = [](const char* text) {
    const auto found = read_bandwidth(text);
    return found.empty() ? std::optional<double>() : found[0].value;
  };
  CHECK(of("H2D bandwidth: 12.5 GB/s") == 12.5);
  CHECK(of("H2D bandwidth: 100 Gb/s") == 12.5);
  CHECK(of("h2d 800 Mb/s") == doctest::Approx(0.1));
  CHECK(of("h2d 12.5 gb/s") == 12.5);   // all in small letters nobody can tell; makers that write so mean bytes
}

TEST_CASE("amd: the validation suite passes what every action of it passed on this GPU, and nothing else") {
  using Word = StressVerdict::Word;
  const std::string begun = "[RESULT] [508635.659800] Action name :gpustress-9000-sgemm-false\n[RESULT] [508635.660582] Module name :gst\n";
  const std::string rate = "[RESULT] [508642.648770] [gpustress-9000-sgemm-false] gst 2996 GFLOPS 33912.4\n";
  const std::string met = "[RESULT] [508655.632843] [gpustress-9000-sgemm-false] gst 2996 GFLOPS 34011.2 Target stress : 30000 met :TRUE\n";
  const std::string iet = "[RESULT] [ 60.1] Action name :action_1\n[RESULT] [ 99.2] [action_1] [GPU:: 2996] pass: TRUE\n";
  const auto good = read_rvs(begun + rate + met, "2996", 0);
  CHECK(good.word == Word::passed);
  CHECK(good.tflops.value_or(0) == doctest::Approx(34.0112));
  CHECK(read_rvs(begun + met + iet, "2996", 0).word == Word::passed);
  struct Row { std::string text; int exit_status; Word word; const char* why; };
  for (const auto& row : {
           Row{begun + rate + with(met, "TRUE", "FALSE"), 0, Word::failed, "met :FALSE"},
           Row{begun + with(met, "TRUE", "FALSE"), 1, Word::failed, "missed"},
           Row{begun + met + with(iet, "TRUE", "FALSE"), 0, Word::failed, "pass: FALSE"},
           Row{begun + met, 1, Word::unclear, "exit status 1"},
           Row{begun + rate, 0, Word::unclear, "no result"},                                  // began and told no result
           Row{begun + met + "[RESULT] [9.0] Action name :action_2\n", 0, Word::unclear, "action_2"},
           Row{begun + with(met, "gst 2996", "gst 4711"), 0, Word::unclear, "no result"},       // another GPU's
           Row{begun + with(met, "TRUE", "MAYBE"), 0, Word::unclear, "no result"},
           Row{begun + with(met, "TRUE", "TRUELY"), 0, Word::unclear, "no result"},
           Row{begun + "[ERROR ] [3.0] cannot allocate\n" + met, 0, Word::unclear, "cannot allocate"},
           Row{"No supported GPUs available.\n", 0, Word::unclear, "no result"},
           Row{"", 0, Word::unclear, "no result"},
       }) {
    CAPTURE(row.text);
    const auto verdict = read_rvs(row.text, "2996", row.exit_status);
    CHECK(verdict.word == row.word);
    CHECK(verdict.why.find(row.why) != std::string::npos);
  }
}

TEST_CASE("intel: hl_qual passes by the verdict below its report's heading, where nothing speaks against it") {
  using Word = StressVerdict::Word;
  const std::string before = "== device 0000:19:00.0 ==\nself test passed\nmax power 612 W\n", heading = "=============== hl qual report ===============\n";
  const std::string passed = before + heading + "PASSED\n", failed = before + heading + "FAILED\n";
  CHECK(read_hl_qual(passed, 0).word == Word::passed);
  CHECK(read_hl_qual(failed, 1).word == Word::failed);
  CHECK(read_hl_qual(failed, 0).word == Word::unclear);
  CHECK(read_hl_qual(passed, 3).word == Word::unclear);
  CHECK(read_hl_qual(passed + failed, 1).word == Word::failed);
  // In a frame, in colours, with a line of signs between.
  CHECK(read_hl_qual(before + heading + "\n* * *\n*** \x1b[1;32mPASSED\x1b[0m ***\r\n", 0).word == Word::passed);
  CHECK(read_hl_qual(before + "  HL QUAL REPORT  \nPASSED\nTest result summary\n", 0).word == Word::passed);
  // The word elsewhere is no verdict, and neither is another word in its place.
  for (const std::string& said : {before + heading, before + heading + "Test PASSED\n", before + heading + "BYPASSED\n", before + heading + "ended\nPASSED\n", before + "PASSED\n" + heading,
                                  before + heading + "\n\n\n\nPASSED\n", before + "see the hl qual report of yesterday\nPASSED\n", std::string("PASSED\n"), std::string(),
                                  passed + heading + "running\n"}) {
    CAPTURE(said);
    CHECK(read_hl_qual(said, 0).word == Word::unclear);
    CHECK(read_hl_qual(said, 1).word == Word::unclear);
  }
  // A part that failed under a whole that passed is not believed either way.
  const auto part = read_hl_qual(passed + "Test result summary\n  0000:19:00.0 : power : FAILED\n", 0);
  CHECK(part.word == Word::unclear);
  CHECK(part.why.find("0000:19:00.0") != std::string::npos);
}

TEST_CASE("which accelerator a stress tool loads is told in its own words, or it is not started") {
  test::TemporaryDirectory dir;
  devices::Accelerator gpu;
  gpu.model = "AMD Instinct MI300X OAM";
  gpu.pci_bus_id = "0000:05:00.0";
  const std::string listing = "Supported GPUs available:\n0000:03:00.0 - GPU[ 1 - 100] x\n0000:05:00.0 - GPU[ 2 -  2996] AMD Instinct MI300X (Device 29857)\n";
  const auto why = [](const std::variant<StressRun, std::string>& planned) { return std::holds_alternative<std::string>(planned) ? std::get<std::string>(planned) : std::string(); };
  CHECK(why(plan_rvs(dir / "bin/rvs", gpu, listing)).find("gst_single.conf is not there") != std::string::npos);
  test::write(dir / "share/rocm-validation-suite/conf/MI300X/gst_single.conf", "actions:\n");
  const auto planned = plan_rvs(dir / "bin/rvs", gpu, listing);
  REQUIRE(std::holds_alternative<StressRun>(planned));
  CHECK(std::get<StressRun>(planned).argv == std::vector<std::string>{dir / "bin/rvs", "-c", dir / "share/rocm-validation-suite/conf/MI300X/gst_single.conf", "-i", "2996"});
  CHECK(why(plan_rvs(dir / "bin/rvs", gpu, "nothing\n")).find("does not name") != std::string::npos);
  CHECK(why(plan_rvs(dir / "bin/rvs", gpu, "0000:05:00.0 - GPU[ 2 - $(reboot)] x\n")).find("does not name") != std::string::npos);
  gpu.model = "AMD Instinct ../../MI300X";
  CHECK_FALSE(why(plan_rvs(dir / "bin/rvs", gpu, listing)).empty());
  gpu.model = "Radeon";
  CHECK(why(plan_rvs(dir / "bin/rvs", gpu, listing)).find("Radeon") != std::string::npos);

  devices::Accelerator gaudi;
  gaudi.model = "HL-225";
  gaudi.pci_bus_id = "0000:19:00.0";
  const auto qual = plan_hl_qual("/opt/q/bin/hl_qual", gaudi, 30);
  REQUIRE(std::holds_alternative<StressRun>(qual));
  CHECK(std::get<StressRun>(qual).argv == std::vector<std::string>{"/opt/q/bin/hl_qual", "-gaudi2", "-c", "0000:19:00.0", "-rmod", "serial", "-dis_mon", "-s", "-t", "30"});
  CHECK(std::get<StressRun>(qual).directory == "/opt/q/bin");
  gaudi.model = "HL-999";
  CHECK(why(plan_hl_qual("/opt/q/bin/hl_qual", gaudi, 30)).find("HL-999") != std::string::npos);
}

TEST_CASE("the whole way over stand-in stress tools: passed, failed, unknown words, and not there") {
  const auto run = [](const std::string& stress, const char* level = "standard", double seconds = 10) {
    test::TemporaryDirectory dir;
    test::write(dir / "hl-smi", "#!/bin/sh\necho '0, 01P0-HL, HL-225, 0000:19:00.0, 1.19, 98304 MiB, 512 MiB, 34 C, 88 W, AN1'\n", 0755);
    if (!stress.empty()) test::write(dir / "hl_qual", "#!/bin/sh\n" + stress + "\n", 0755);
    return in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("PATH", (dir.string() + ":/usr/bin:/bin").c_str(), 1);
      const auto device = devices::make_device("vendor");
      const auto found = device->accelerators();
      if (!found) return sink.test_done("inventory", "not_run", 0, found.error().message, to_string(found.error().code));
      devices::TestRequest request;
      request.level = level;
      device->run(devices::Family::burnin, found->at(0), request, seconds, sink);
    });
  };
  const auto passed = run("echo \"$*\"; echo '== hl qual report =='; echo PASSED");
  CHECK(passed.status("burnin") == "ran");
  CHECK(passed.value("burnin.vendor_passed") == 1);
  CHECK(passed.value("selftest.burnin.found") == 1);
  const auto failed = run("echo 'hl qual report'; echo FAILED; exit 1");
  CHECK(failed.status("burnin") == "failed");
  CHECK(failed.code("burnin") == "KF4143");
  CHECK(failed.value("burnin.vendor_passed") == 0);
  for (const auto* words : {"echo done", "echo 'hl qual report'; echo PASSED; exit 2", "kill -9 $$", "echo 'hl qual report'; echo PASSED; yes | head -c 6000000"}) {
    CAPTURE(words);
    const auto unclear = run(words);
    CHECK(unclear.status("burnin") == "not_run");
    CHECK(unclear.code("burnin") == "KF4144");
    CHECK(unclear.measured("burnin.vendor_passed")["value"].is_null());
  }
  CHECK(run("echo 'hl qual report'; echo PASSED", "quick").code("burnin") == "KF4015");
  const auto missing = run("");
  CHECK(missing.code("burnin") == "KF4015");
  CHECK(missing.done("burnin").string_or("reason").find("hl_qual") != std::string::npos);
}
