// FuriosaAI's rngd-diag and AMD's agfhc: what they write, and what is made of it; and accelerators that are gone after a load.
#include "agent/devices/vendor_stress.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <random>

#include "unit/agent/device_support.hpp"
#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent;
using namespace kfab::agent::devices::vendor;

namespace {

using Word = StressVerdict::Word;

const std::string diagnosis = R"(rngd_diag:
  version: '1.2'
  npus:
    npu0:
      sensor:
        details:
          ta: 95.0
    npu3:
      sensor:
        details:
          ta: 41.2
          soc: 55.0
          p_rms_total: 42.0
        samples:
        - ta: 99.0
          soc: 99.0
      power_sense:
        value: 2.0
      pcie:
        link:
          speed: 32GT/s
          width: x16
        aer:
          total_err_fatal: 0
furiosa_hal_bench:
  read:
    npu3:
      thrpt_gibs:
      - - 30.1
        - 30.2
furiosa_stress_test:
  full:
    npu3:
      exit_code: 0
      qps: 12.5
)";

const std::string recipe = R"(Log Directory: /var/log/agfhc/agfhc_20260101-000000
Product: MI300X | GPUs: 8 | Mode: BM SPX NPS1 | Checks: dmesg- ras+ perf-

Executing tests:
  GFX bf16 rand int
    PASS: gfx_bf16ri-1-1                  [00:01:08/00:01:20]
  HBM BW
    PASS: hbm_bw-1-1                      [00:01:02/00:01:05]

Summary:
  Tests: 2 Total, 2 Executed, 0 Skipped | All Tests Passed
Program exiting with return code AGFHC_SUCCESS [0]
)";

std::string changed(std::string text, const std::string& what, const std::string& by) {
  const auto at = text.find(what);
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), by);
}

}  // namespace

TEST_CASE("furiosa: a card passes rngd-diag by its own part of the report, by the limits that its maker holds it against") {
  CHECK(read_rngd_diag(diagnosis, "3", 0).word == Word::passed);
  struct Row { std::string report; int exit_status; Word word; const char* why; };
  for (const auto& row : {
           Row{changed(diagnosis, "exit_code: 0", "exit_code: 1"), 0, Word::failed, "stress test is 1"},
           Row{changed(diagnosis, "exit_code: 0", "exit_code: -9"), 1, Word::failed, "-9"},
           Row{changed(diagnosis, "32GT/s", "16GT/s"), 0, Word::failed, "16GT/s"},
           Row{changed(diagnosis, "x16", "x8"), 0, Word::failed, "x8"},
           Row{changed(diagnosis, "total_err_fatal: 0", "total_err_fatal: 3"), 0, Word::failed, "fatal errors of PCIe is 3"},
           Row{changed(diagnosis, "value: 2.0", "value: 0.0"), 0, Word::failed, "auxiliary power is 0"},
           Row{changed(diagnosis, "soc: 55.0", "soc: 91.5"), 0, Word::failed, "soc is at 91.5"},
           Row{diagnosis, 1, Word::unclear, "exit status 1"},
           Row{changed(diagnosis, "exit_code: 0", "exit_code: null"), 0, Word::unclear, "stress test"},
           Row{changed(diagnosis, "      exit_code: 0\n", ""), 0, Word::unclear, "stress test"},
           Row{changed(diagnosis, "32GT/s", "N/A"), 0, Word::unclear, "speed"},
           Row{changed(diagnosis, "    npu3:\n      sensor", "    npu4:\n      sensor"), 0, Word::unclear, "npu3"},
           Row{changed(diagnosis, "      qps: 12.5", "      exit_code: 0"), 0, Word::unclear, "no YAML"},   // a key that comes twice
           Row{changed(diagnosis, "      qps", "\tqps"), 0, Word::unclear, "no YAML"},
           Row{changed(diagnosis, "furiosa_stress_test:", "furiosa_stress_test:\n- full:"), 0, Word::unclear, "stress test"},
           Row{"", 0, Word::unclear, "no report"},
           Row{"{\"rngd_diag\": 1}", 0, Word::unclear, "npu3"},
       }) {
    CAPTURE(row.why);
    const auto verdict = read_rngd_diag(row.report, "3", row.exit_status);
    CHECK(verdict.word == row.word);
    CHECK(verdict.why.find(row.why) != std::string::npos);
  }
  CHECK(read_rngd_diag(diagnosis, "0", 0).word == Word::failed);   // too hot, and its other figures are not there
  std::mt19937_64 random(99);
  for (int i = 0; i < 300; ++i) {
    std::string text = diagnosis;
    for (int n = 0; n < 6; ++n) text[random() % text.size()] = static_cast<char>(random() % 256);
    (void)read_rngd_diag(text, "3", 0);
  }
  std::string deep;
  for (int i = 0; i < 5000; ++i) deep += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  CHECK(read_rngd_diag(deep, "3", 0).word == Word::unclear);
}

TEST_CASE("amd: the field health check passes with every test of its recipe on every GPU, and a failure among several GPUs is nobody's") {
  CHECK(read_agfhc(recipe, "8", 0).word == Word::passed);
  const std::string failing = changed(changed(changed(recipe, "PASS: hbm_bw", "FAIL: hbm_bw"), "AGFHC_SUCCESS [0]", "AGFHC_TEST_FAILURE [3]"), "| All Tests Passed", "");
  CHECK(read_agfhc(failing, "1", 3).word == Word::failed);
  CHECK(read_agfhc(failing, "1", 3).why.find("hbm_bw-1-1") != std::string::npos);
  struct Row { std::string text; int exit_status; const char* why; };
  for (const auto& row : {
           Row{failing, 3, "does not say whose"},
           Row{changed(recipe, "AGFHC_SUCCESS [0]", "AGFHC_NO_GPU [2]"), 2, "AGFHC_NO_GPU"},
           Row{changed(recipe, "PASS: hbm_bw", "FAIL: hbm_bw"), 0, "hbm_bw"},
           Row{recipe, 1, "exit status 1"},
           Row{changed(recipe, "2 Executed, 0 Skipped", "1 Executed, 1 Skipped"), 0, "all tests"},
           Row{changed(recipe, "2 Total, 2 Executed", "0 Total, 0 Executed"), 0, "all tests"},   // as it says when asked what a recipe is
           Row{changed(recipe, "    PASS: hbm_bw-1-1                      [00:01:02/00:01:05]\n", ""), 0, "told of 1"},
           Row{changed(recipe, "GPUs: 8", "GPUs: 7"), 0, "7 GPUs"},
           Row{changed(recipe, "Product: MI300X | GPUs: 8", "Product: MI300X"), 0, "how many"},
           Row{changed(recipe, "Program exiting with return code AGFHC_SUCCESS [0]\n", ""), 0, "how it ended"},
           Row{"", 0, "how it ended"},
       }) {
    CAPTURE(row.why);
    const auto verdict = read_agfhc(row.text, "8", row.exit_status);
    CHECK(verdict.word == Word::unclear);
    CHECK(verdict.why.find(row.why) != std::string::npos);
  }
  devices::Accelerator gpu;
  gpu.index = 0;
  const auto why = [](const std::variant<StressRun, std::string>& planned) { return std::holds_alternative<std::string>(planned) ? std::get<std::string>(planned) : std::string(); };
  const auto planned = plan_agfhc("/opt/amd/agfhc/agfhc", gpu, 0, 8, 240);
  REQUIRE(std::holds_alternative<StressRun>(planned));
  CHECK(std::get<StressRun>(planned).argv == std::vector<std::string>{"/opt/amd/agfhc/agfhc", "-r", "all_lvl1", "--simple-output"});
  CHECK(std::get<StressRun>(planned).device == "8");
  CHECK(why(plan_agfhc("/opt/amd/agfhc/agfhc", gpu, 0, 8, 30)).find("by hand") != std::string::npos);
  gpu.index = 3;
  CHECK(why(plan_agfhc("/opt/amd/agfhc/agfhc", gpu, 0, 8, 240)).find("GPU 0") != std::string::npos);
}

TEST_CASE("the whole way of rngd-diag over stand-in tools: its report is read from the file that it is told, and goes with the test") {
  const auto run = [](const std::string& diag, const std::string& smi_after = "") {
    test::TemporaryDirectory dir;
    const std::string info = R"([{"arch":"rngd","dev_name":"npu3","device_sn":"RNG1","pci_bdf":"0000:03:00.0"}])";
    test::write(dir / "furiosa-smi", "#!/bin/sh\nif [ -e " + (dir / "loaded") + " ]; then\n:\n" + smi_after + "\nfi\ncase \"$1\" in info) echo '" + info + "';; *) exit 1;; esac\n", 0755);
    if (!diag.empty()) {
      test::write(dir / "report", diagnosis);
      test::write(dir / "rngd-diag", "#!/bin/sh\ntouch " + (dir / "loaded") + "\n[ \"$1 $2 $3\" = '--npu 3 -o' ] || exit 9\necho \"$4\" > " + (dir / "where") + "\n" + diag + "\n", 0755);
    }
    const auto collected = in_process_of_its_own([&](devices::TestSink& sink) {
      ::setenv("PATH", (dir.string() + ":/usr/bin:/bin").c_str(), 1);
      ::setenv("REPORT", (dir / "report").c_str(), 1);
      const auto device = devices::make_device("vendor");
      const auto found = device->accelerators();
      if (!found) return sink.test_done("inventory", "not_run", 0, found.error().message, to_string(found.error().code));
      devices::TestRequest request;
      request.level = "standard";
      device->run(devices::Family::burnin, found->at(0), request, 10, sink);
    });
    if (!diag.empty()) {
      const std::string where = test::read(dir / "where");
      CHECK(where.find("/kfab-report-") != std::string::npos);
      CHECK_FALSE(std::filesystem::exists(where.substr(0, where.rfind('/'))));
    }
    return collected;
  };
  const auto passed = run("cp \"$REPORT\" \"$4\"");
  CHECK(passed.status("burnin") == "ran");
  CHECK(passed.value("burnin.vendor_passed") == 1);
  const auto failed = run("sed 's/exit_code: 0/exit_code: 7/' \"$REPORT\" > \"$4\"; exit 1");
  CHECK(failed.status("burnin") == "failed");
  CHECK(failed.code("burnin") == "KF4143");
  for (const char* words : {"echo 'must be run as root' >&2; exit 1", "exit 0", "mkdir \"$4\"", "cp \"$REPORT\" \"$4\"; kill -9 $$", "yes 'a: b' | head -c 6000000 > \"$4\""}) {
    CAPTURE(words);
    const auto unclear = run(words);
    CHECK(unclear.status("burnin") == "not_run");
    CHECK(unclear.code("burnin") == "KF4144");
  }
  CHECK(run("echo 'must be run as root' >&2; exit 1").done("burnin").string_or("reason").find("must be run as root") != std::string::npos);
  CHECK(run("").code("burnin") == "KF4015");
  // A tool that fails once after the load says nothing of the card.
  const auto busy = run("cp \"$REPORT\" \"$4\"", "[ -e \"$0.asked\" ] || { touch \"$0.asked\"; echo busy >&2; exit 1; }");
  CHECK(busy.status("burnin") == "ran");
  CHECK(busy.value("burnin.vendor_passed") == 1);
  // What is gone after its load has failed, whatever the tool says of it.
  const auto lost = run("cp \"$REPORT\" \"$4\"", "echo '[]'; exit 0");
  CHECK(lost.status("burnin") == "failed");
  CHECK(lost.code("burnin") == "KF4006");
  const auto other = run("cp \"$REPORT\" \"$4\"", R"(echo '[{"arch":"rngd","dev_name":"npu3","device_sn":"RNG2","pci_bdf":"0000:04:00.0"}]'; exit 0)");
  CHECK(other.code("burnin") == "KF4006");
}
