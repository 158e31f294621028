// What AMD's and Intel's tools tell of errors, links and pages, in the shapes in which versions of them print it; and devices that are
// listed twice, or share a serial.
#include "agent/devices/vendor_tools.hpp"

#include <doctest/doctest.h>

#include <array>

#include "unit/agent/device_support.hpp"
#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent;
using namespace kfab::agent::devices::vendor;

namespace {

constexpr double untold = -1, absent = -2;

double told(const VendorAccelerator& one, std::string_view metric) {
  for (const auto& f : one.figures)
    if (f.metric == metric) return f.value.value_or(untold);
  return absent;
}

std::string detail_of(const VendorAccelerator& one, std::string_view metric) {
  for (const auto& f : one.figures)
    if (f.metric == metric) return f.detail;
  return {};
}

const std::string instinct =
    R"([{"gpu":0,"asic":{"market_name":"AMD Instinct MI300X","asic_serial":"0x5B1C"},"bus":{"bdf":"0000:05:00.0","max_pcie_width":16,"max_pcie_speed":{"value":32,"unit":"GT/s"}}}])";

VendorAccelerator with_metric(const std::string& metric, const std::string& facts = instinct) {
  const auto answer = read_amd(facts, R"({"gpu_data":[{"gpu":0,)" + metric + "}]}");
  REQUIRE(answer.found.size() == 1);
  return answer.found[0];
}

}  // namespace

TEST_CASE("amd: a link narrower or slower than the GPU itself can is told, however the tool writes it") {
  struct Row { const char* pcie; double width, generation, width_missing, generation_missing; };
  for (const auto& row : {
           Row{R"("pcie":{"width":16,"speed":{"value":32,"unit":"GT/s"}})", 16, 5, 0, 0},
           Row{R"("pcie":{"width":"16","speed":"32.0 GT/s"})", 16, 5, 0, 0},
           Row{R"("pcie":{"width":"x8","speed":{"value":"16","unit":"GT/s"}})", 8, 4, 8, 1},
           Row{R"("pcie":{"width":16,"speed":{"value":32000,"unit":"MT/s"}})", 16, 5, 0, 0},
           Row{R"("pcie":{"width":16,"speed":{"value":32,"unit":"parsec"}})", 16, untold, 0, untold},
           Row{R"("pcie":{"width":16,"speed":32000})", 16, 5, 0, 0},
           Row{R"("pcie":{"width":65535,"speed":{"value":65535,"unit":"GT/s"}})", untold, untold, untold, untold},   // all ones: not known
           Row{R"("pcie":{"width":"N/A","speed":"N/A"})", untold, untold, untold, untold},
           Row{R"("pcie":"N/A")", untold, untold, untold, untold},
           Row{R"("power":{})", untold, untold, untold, untold},
       }) {
    CAPTURE(row.pcie);
    const auto one = with_metric(row.pcie);
    CHECK(told(one, "health.pcie_width") == row.width);
    CHECK(told(one, "health.pcie_gen") == row.generation);
    CHECK(told(one, "health.pcie_width_missing") == row.width_missing);
    CHECK(told(one, "health.pcie_gen_missing") == row.generation_missing);
  }
  const auto silent = with_metric(R"("pcie":{"width":8,"speed":{"value":32,"unit":"GT/s"}})", R"([{"gpu":"0","asic":{"asic_serial":"0x1"},"bus":{"bdf":"0000:05:00.0","max_pcie_width":"N/A"}}])");
  CHECK(told(silent, "health.pcie_width") == 8);
  CHECK(told(silent, "health.pcie_width_missing") == untold);   // of a maximum that nobody knows nothing lacks and nothing is whole
}

TEST_CASE("amd: ECC, links to other GPUs and throttling are counted only where the tool says so") {
  const auto good = with_metric(R"("ecc":{"total_uncorrectable_count":0,"total_correctable_count":2,"total_deferred_count":1},"xgmi_err":"AMDSMI_XGMI_STATUS_NO_ERRORS",
    "throttle":{"prochot_violation_status":{"xcp_0":["NOT ACTIVE","N/A"]},"hbm_thermal_violation_status":"NOT ACTIVE","ppt_violation_status":{"xcp_0":["ACTIVE"]}})");
  CHECK(told(good, "health.ecc_uncorrected") == 0);
  CHECK(told(good, "health.ecc_corrected") == 2);
  CHECK(told(good, "health.ecc_deferred") == 1);
  CHECK(told(good, "health.xgmi_errors") == 0);
  CHECK(told(good, "health.thermal") == 0);   // power alone holds it back
  const auto sick = with_metric(R"("ecc":{"total_uncorrectable_count":"4"},"xgmi_err":"AMDSMI_XGMI_STATUS_MULTIPLE_ERRORS",
    "throttle":{"socket_thermal_violation_status":{"xcp_0":["NOT ACTIVE"],"xcp_1":["ACTIVE"]},"vr_thermal_violation_status":"NOT ACTIVE"})");
  CHECK(told(sick, "health.ecc_uncorrected") == 4);
  CHECK(told(sick, "health.xgmi_errors") == 2);
  CHECK(told(sick, "health.thermal") == 1);
  CHECK(detail_of(sick, "health.thermal") == "socket_thermal");
  for (const char* metric : {R"("ecc":{"total_uncorrectable_count":"N/A"},"xgmi_err":"N/A","throttle":"N/A")", R"("ecc":"N/A","xgmi_err":{"read_error_count":2},"throttle":{"hbm_thermal_violation_status":"N/A"})",
                             R"("ecc":[],"xgmi_err":7,"throttle":{"hbm_thermal_violation_status":1})", R"("ecc":{"total_uncorrectable_count":18446744073709551615},"xgmi_err":"")"}) {
    CAPTURE(metric);
    const auto one = with_metric(metric);
    CHECK(told(one, "health.ecc_uncorrected") == untold);
    CHECK(told(one, "health.xgmi_errors") == untold);
    CHECK(told(one, "health.thermal") == untold);
  }
  // A board without one of the sensors says N/A there, and has the other.
  const auto sensors = with_metric(R"("temperature":{"hotspot":"N/A","edge":{"value":33,"unit":"C"}},"power":{"socket_power":"N/A","current_socket_power":{"value":120,"unit":"W"}})");
  CHECK(told(sensors, "health.temperature_c") == 33);
  CHECK(told(sensors, "health.power_w") == 120);
}

TEST_CASE("amd: bad pages are a list or words, and other words are no zero") {
  VendorAccelerator one;
  one.accelerator.index = 1;
  const auto pages = [&](const std::string& text) {
    one.figures.clear();
    read_amd_pages(text, one);
    return std::array{told(one, "health.retired_pages"), told(one, "health.retired_pages_pending"), told(one, "health.pages_unreservable")};
  };
  const std::string none = R"({"gpu":0,"retired":[{}],"pending":[{}],"un_res":[{}]},)";
  CHECK(pages("[" + none + R"({"gpu":1,"retired":"No bad pages found.","pending":"No bad pages found.","un_res":"No bad pages found."}])") == std::array{0.0, 0.0, 0.0});
  CHECK(pages(R"({"gpu_data":[)" + none + R"({"gpu":1,"retired":[{"page_address":"0x1","page_size":4096,"status":"RESERVED"},{}],"pending":[{}],"un_res":[]}]})") == std::array{2.0, 1.0, 0.0});
  for (const std::string& text : {std::string("[{\"gpu\":1,\"retired\":\"N/A\",\"pending\":\"N/A\",\"un_res\":\"N/A\"}]"), std::string("[{\"gpu\":0,\"retired\":[],\"pending\":[],\"un_res\":[]}]"), std::string(),
                                  std::string("AMDSMI_STATUS_NO_PERM"), std::string("[{\"gpu\":1}]"), std::string("[{\"gpu\":1,\"retired\":0,\"pending\":false,\"un_res\":{}}]")}) {
    CAPTURE(text);
    CHECK(pages(text) == std::array{untold, untold, untold});
  }
}

TEST_CASE("gaudi: ports are up, down, or not known, and errors are those of the card itself") {
  VendorAccelerator one;
  one.accelerator.pci_bus_id = "0000:19:00.0";
  const auto ports = [&](const std::string& text) {
    one.figures.clear();
    read_gaudi_ports(text, one);
    return std::array{told(one, "health.ports_up"), told(one, "health.ports_down")};
  };
  CHECK(ports("port 0:\tUP\nport 1: UP\nport 10:        UP\n") == std::array{3.0, 0.0});
  CHECK(ports("port 0: UP\r\nport 7: DOWN\r\n") == std::array{1.0, 1.0});
  CHECK(detail_of(one, "health.ports_down") == "port 7 DOWN");
  CHECK(ports("port 0: UP\nport 1: TRAINING\n") == std::array{untold, untold});
  CHECK(detail_of(one, "health.ports_down") == "port 1 TRAINING");
  for (const char* text : {"", "Error: no device\n", "UP\nDOWN\n", "port: UP\n", "\x1b[2Jport 3\n"}) {
    CAPTURE(text);
    CHECK(ports(text) == std::array{untold, untold});
  }
  const auto errors = [&](const std::string& csv) {
    one.figures.clear();
    read_gaudi_errors(csv, one);
    return std::array{told(one, "health.ecc_uncorrected"), told(one, "health.ecc_corrected")};
  };
  CHECK(errors("0000:1a:00.0, 9, 9\n0000:19:00.0, 0, 3\n") == std::array{0.0, 3.0});
  CHECK(errors("0000:19:00.0, 2, N/A\n") == std::array{2.0, untold});
  CHECK(errors("0000:1a:00.0, 9, 9\n") == std::array{untold, untold});
  CHECK(errors("0000:19:00.0, 0\nunknown query\n") == std::array{untold, untold});
}

TEST_CASE("a device that is listed twice counts once, and cards that share a serial go by their places") {
  const auto gpu = [](int index, const char* serial, const char* bdf) {
    return R"({"gpu":)" + std::to_string(index) + R"(,"asic":{"asic_serial":")" + serial + R"("},"bus":{"bdf":")" + bdf + R"("}})";
  };
  const auto twice = read_amd("[" + gpu(0, "0xA", "0000:05:00.0") + "," + gpu(1, "0xB", "0000:26:00.0") + "," + gpu(2, "0xA", "0000:05:00.0") + "]", "");
  REQUIRE(twice.found.size() == 2);
  CHECK(twice.problems.size() == 1);
  CHECK(twice.found[0].accelerator.id == "0xA");
  const auto shared = read_amd("[" + gpu(0, "0x0", "0000:05:00.0") + "," + gpu(1, "0x0", "0000:26:00.0") + "]", "");
  REQUIRE(shared.found.size() == 2);
  CHECK(shared.found[0].accelerator.id == "0000:05:00.0");
  CHECK(shared.found[1].accelerator.id == "0000:26:00.0");
  const std::string card = "0, u, HL-225, 0000:19:00.0, 1.19, 98304 MiB, 512 MiB, 34 C, 88 W, AN1\n";
  CHECK(read_gaudi(card + card).found.size() == 1);
  CHECK(read_furiosa(R"([{"dev_name":"npu0","device_sn":"R1","pci_bdf":"0000:03:00.0"},{"dev_name":"npu0","device_sn":"R1","pci_bdf":"0000:03:00.0"}])", "").found.size() == 1);
  CHECK(read_rebellions(R"({"devices":[{"npu":0,"sid":"7","pci":{"bus_id":"0000:03:00.0"}},{"npu":0,"sid":"7","pci":{"bus_id":"0000:03:00.0"}}]})").found.size() == 1);
}

TEST_CASE("what a maker's tool tells of one accelerator alone is asked for in its health, and a version that does not know it costs that alone") {
  const auto run = [](const std::string& script) {
    test::TemporaryDirectory dir;
    test::write(dir / "hl-smi", "#!/bin/sh\ncase \"$*\" in\n" + script + "\n*-Q*) echo '0, u, HL-325L, 0000:19:00.0, 1.22, 131072 MiB, 512 MiB, 34 C, 88 W, AN1';;\nesac\n", 0755);
    return in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("PATH", (dir.string() + ":/usr/bin:/bin").c_str(), 1);
      const auto device = devices::make_device("vendor");
      const auto found = device->accelerators();
      if (!found) return sink.test_done("inventory", "not_run", 0, found.error().message, to_string(found.error().code));
      device->run(devices::Family::health, found->at(0), {}, 1, sink);
    });
  };
  const auto good = run("*ecc*) echo '0000:19:00.0, 0, 1';;\n*'-n link -i 0000:19:00.0'*) echo 'port 0: UP'; echo 'port 1: DOWN';;");
  CHECK(good.status("health") == "ran");
  CHECK(good.value("health.ports_down") == 1);
  CHECK(good.value("health.ecc_uncorrected") == 0);
  CHECK(good.value("health.memory_gib") == 128);
  const auto older = run("*ecc*) echo 'unknown query' >&2; exit 1;;\n*link*) exit 1;;");
  CHECK(older.status("health") == "ran");
  CHECK(older.value("health.temperature_c") == 34);
  CHECK(older.measured("health.ports_down")["value"].is_null());
  CHECK(older.measured("health.ecc_uncorrected")["value"].is_null());
}

TEST_CASE("a maker's tool that prints without end, or loses a card between two looks, costs no more than its own answer") {
  const auto run = [](const std::string& script, const std::string& id = "") {
    test::TemporaryDirectory dir;
    test::write(dir / "rbln-smi", "#!/bin/sh\nlooks=" + (dir / "looks") + "\n" + script + "\n", 0755);
    return in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("PATH", (dir.string() + ":/usr/bin:/bin").c_str(), 1);
      const auto device = devices::make_device("vendor");
      const auto found = device->accelerators();
      if (!found) return sink.test_done("inventory", "not_run", 0, found.error().message, to_string(found.error().code));
      for (const auto& one : *found)
        if (id.empty() || one.id == id) device->run(devices::Family::health, one, {}, 1, sink);
    });
  };
  const std::string both = R"(echo '{"devices":[{"npu":0,"sid":"7","status":"normal","pci":{"bus_id":"0000:03:00.0"}},{"npu":1,"sid":"8","status":"normal","pci":{"bus_id":"0000:04:00.0"}}]}')",
                    one = R"(echo '{"devices":[{"npu":0,"sid":"8","status":"normal","pci":{"bus_id":"0000:04:00.0"}}]}')";
  const auto endless = run("yes '{\"devices\":['");
  CHECK(endless.status("inventory") == "not_run");
  CHECK(endless.done("inventory").string_or("reason").find("more than kfab reads") != std::string::npos);
  // The card that is left has moved up to the other's number, and is not taken for it.
  const std::string loses = "if [ -e $looks ]; then " + one + "; else touch $looks; " + both + "; fi";
  CHECK(run(loses, "7").status("health") == "failed");
  CHECK(run(loses, "7").code("health") == "KF4006");
  const auto left = run(loses, "8");
  CHECK(left.status("health") == "ran");
  CHECK(left.value("health.alive") == 1);
}
