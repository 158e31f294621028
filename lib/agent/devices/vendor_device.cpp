#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <thread>

#include <fmt/format.h>

#include "agent/devices/findings.hpp"
#include "agent/devices/vendor_stress.hpp"
#include "agent/devices/vendor_tools.hpp"
#include "agent/health/kernel_log.hpp"
#include "agent/process.hpp"
#include "base/codes/validation.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

namespace kfab::agent::devices {
namespace {

using namespace vendor;

constexpr double tool_timeout_s = 30, bandwidth_timeout_s = 300;
constexpr std::size_t most_output = std::size_t{4} << 20;

// What a tool said, or why it said nothing.
struct Said {
  bool there = false;      // the tool is on the node
  bool well = false;       // and ended well
  std::string out, why;
  std::optional<int> exit_status;   // absent: it did not come to its end
};
Said ask(std::vector<std::string> argv, const std::function<bool()>& stop, double timeout_s = tool_timeout_s, ProcessSpec spec = {}) {
  const std::string name = argv.front();
  spec.argv = std::move(argv);
  spec.timeout_s = timeout_s;
  spec.max_output_bytes = most_output;
  spec.ends_at_cap = true;        // who prints without end would only cost the node its processor
  spec.ends_with_caller = true;   // nobody's accelerator is used by a tool that nobody waits for
  const auto result = run_process(spec, stop);
  Said said;
  said.there = result.end != ProcessResult::End::not_found;
  said.well = result.success() && !result.truncated;
  said.out = result.out;
  if (result.end == ProcessResult::End::exited && !result.truncated) said.exit_status = result.exit_status;
  if (!said.well) said.why = fmt::format("{}: {}{}", name, result.truncated ? "it said more than kfab reads" : result.how(), result.last_words().empty() ? "" : ": " + one_line(result.last_words(), 200));
  return said;
}

// A maker's tool: how its answer is had and read, what else of the maker's kfab drives, and a made-up answer by which the reader is proven.
struct Tool {
  std::string_view vendor, name;
  ToolAnswer (*read)(const std::function<bool()>& stop, bool& there, std::string& why);
  std::string_view no_stress;             // why memory and burn-in are not run
  std::vector<std::string_view> bandwidth;   // empty: none
  bool (*proven)(int temperature);
  // What is asked of one accelerator alone; empty: nothing more.
  void (*details)(VendorAccelerator&, const std::function<bool()>& stop) = nullptr;
};

ToolAnswer one_answer(const Said& said, bool& there, std::string& why, const std::function<ToolAnswer()>& read) {
  there = said.there;
  if (!said.well) {
    why = said.why;
    return {};
  }
  return read();
}

// ROCm installs it beside its validation suite, and puts neither on the PATH.
std::string amd_smi_program() {
  const std::string elsewhere = find_tool("amd-smi", {}).empty() ? find_tool("amd-smi", {"/opt/rocm/bin"}) : std::string();
  return elsewhere.empty() ? "amd-smi" : elsewhere;
}

void ask_amd_pages(VendorAccelerator& one, const std::function<bool()>& stop) {
  const Said pages = ask({amd_smi_program(), "bad-pages", "--json"}, stop);
  read_amd_pages(pages.well ? pages.out : std::string(), one);
}

void ask_gaudi_details(VendorAccelerator& one, const std::function<bool()>& stop) {
  const Said errors = ask({"hl-smi", "-Q", std::string(gaudi_error_columns), "-f", "csv,noheader"}, stop);
  read_gaudi_errors(errors.well ? errors.out : std::string(), one);
  // The address goes to the tool as it told it: only what is one.
  const bool known = !health::pci_slot(one.accelerator.pci_bus_id).empty();
  const Said ports = known ? ask({"hl-smi", "-n", "link", "-i", one.accelerator.pci_bus_id}, stop) : Said();
  read_gaudi_ports(ports.well ? ports.out : std::string(), one);
}

bool has_figure(const ToolAnswer& answer, std::string_view metric, double value) {
  if (answer.found.size() != 1 || !answer.problems.empty()) return false;
  return std::any_of(answer.found[0].figures.begin(), answer.found[0].figures.end(), [&](const Figure& f) { return f.metric == metric && f.value == value; });
}

const std::vector<Tool>& tools() {
  static const std::vector<Tool> all{
      {"rebellions", "rbln-smi",
       [](const std::function<bool()>& stop, bool& there, std::string& why) {
         Said said = ask({"rbln-smi", "--json"}, stop);
         if (!said.there) said = ask({"rbln-stat", "--json"}, stop);   // its older name
         return one_answer(said, there, why, [&] { return read_rebellions(said.out); });
       },
       "rbln-vs takes devices off the bus and back, tests all of a node at once and has no report whose form is published: run it by hand and keep that", {"rblnBandwidthLatencyTest"},
       [](int t) {
         const auto answer = read_rebellions(fmt::format(R"({{"KMD_version":"3","devices":[{{"npu":0,"name":"X","sid":"1","status":"failed","pstate":"P12","temperature":"{}C","pci":{{"dev":"0x1220"}}}}],"contexts":[]}})", t));
         return has_figure(answer, "health.temperature_c", t) && has_figure(answer, "health.alive", 0) && has_figure(answer, "health.hung", 1);
       }},
      {"furiosa", "furiosa-smi",
       [](const std::function<bool()>& stop, bool& there, std::string& why) {
         Said info = ask({"furiosa-smi", "info", "--format", "json"}, stop);
         const bool older = info.there && !info.well;
         if (older) info = ask({"furiosa-smi", "info", "--output", "json"}, stop);
         if (older && !info.well) info = ask({"furiosa-smi", "info"}, stop);
         const Said status = info.well ? ask({"furiosa-smi", "status", older ? "--output" : "--format", "json"}, stop) : Said();
         return one_answer(info, there, why, [&] { return read_furiosa(info.out, status.well ? status.out : std::string()); });
       },
       "kfab drives no memory test of FuriosaAI", {},
       [](int t) {
         const auto answer = read_furiosa(fmt::format(R"([{{"arch":"rngd","dev_name":"npu0","device_sn":"1","temperature":"{}.5°C"}}])", t), R"([{"device":"npu0","liveness":"dead"}])");
         return has_figure(answer, "health.temperature_c", t + 0.5) && has_figure(answer, "health.alive", 0);
       }},
      {"amd", "amd-smi",
       [](const std::function<bool()>& stop, bool& there, std::string& why) {
         const std::string amd_smi = amd_smi_program();
         const Said facts = ask({amd_smi, "static", "--json"}, stop);
         const Said metrics = facts.well ? ask({amd_smi, "metric", "--json"}, stop) : Said();
         return one_answer(facts, there, why, [&] { return read_amd(facts.out, metrics.well ? metrics.out : std::string()); });
       },
       "kfab drives no memory test of AMD", {},
       [](int t) {
         const auto answer = read_amd(R"({"gpu_data":[{"gpu":0,"asic":{"asic_serial":"1"}}]})", fmt::format(R"([{{"gpu":0,"temperature":{{"hotspot":{{"value":{},"unit":"C"}}}},"ecc":{{"total_uncorrectable_count":3}}}}])", t));
         return has_figure(answer, "health.temperature_c", t) && has_figure(answer, "health.ecc_uncorrected", 3);
       },
       ask_amd_pages},
      {"intel", "hl-smi",
       [](const std::function<bool()>& stop, bool& there, std::string& why) {
         const Said said = ask({"hl-smi", "-Q", std::string(gaudi_columns), "-f", "csv,noheader"}, stop);
         return one_answer(said, there, why, [&] { return read_gaudi(said.out); });
       },
       "kfab drives no memory test of Intel", {},
       [](int t) { return has_figure(read_gaudi(fmt::format("0, 01P0-HL, HL-225, 0000:19:00.0, 1.19, 98304 MiB, 512 MiB, {} C, 88 W, AN1\n", t)), "health.temperature_c", t); },
       ask_gaudi_details},
  };
  return all;
}

// What a plan of a stress tool may rest on, beside the accelerator.
struct StressAsk {
  std::string program;
  double seconds = 0;
  const std::vector<VendorAccelerator>& all;   // accelerators that the maker's other tool lists
  const std::function<bool()>& stop;
};

// A maker's stress tool: where it lies, how it is started for one accelerator, what its words mean, and made-up answers of a
// sound and of a sick one, called `device`, by which the reader is proven.
struct Stress {
  std::string_view vendor, program;
  std::vector<std::string> usual;
  std::variant<StressRun, std::string> (*plan)(const StressAsk&, const Accelerator&);
  StressVerdict (*read)(std::string_view text, std::string_view device, int exit_status);
  std::string_view device, sound, sick;
};

const std::vector<Stress>& stress_tools() {
  static const std::vector<Stress> all{
      {"amd", "rvs", {"/opt/rocm/bin"},
       [](const StressAsk& with, const Accelerator& accelerator) -> std::variant<StressRun, std::string> {
         const Said listing = ask({with.program, "-g"}, with.stop);
         return listing.well ? plan_rvs(with.program, accelerator, listing.out) : listing.why;
       },
       read_rvs, "7", "[RESULT] [1.0] Action name :a\n[RESULT] [2.0] [a] gst 7 GFLOPS 900 Target stress : 800 met :TRUE\n",
       "[RESULT] [1.0] Action name :a\n[RESULT] [2.0] [a] gst 7 GFLOPS 700 Target stress : 800 met :FALSE\n"},
      {"amd", "agfhc", {"/opt/amd/agfhc"},
       [](const StressAsk& with, const Accelerator& accelerator) {
         int first = accelerator.index;
         for (const auto& one : with.all) first = std::min(first, one.accelerator.index);
         return plan_agfhc(with.program, accelerator, first, with.all.size(), with.seconds);
       },
       read_agfhc, "1", "Product: X | GPUs: 1 |\nPASS: a-1-1 [0:01]\nTests: 1 Total, 1 Executed, 0 Skipped\nProgram exiting with return code AGFHC_SUCCESS [0]\n",
       "Product: X | GPUs: 1 |\nFAIL: a-1-1 [0:01]\nTests: 1 Total, 1 Executed, 0 Skipped\nProgram exiting with return code AGFHC_TEST_FAILED [1]\n"},
      {"furiosa", "rngd-diag", {}, [](const StressAsk& with, const Accelerator& accelerator) { return plan_rngd_diag(with.program, accelerator); }, read_rngd_diag, "7",
       "rngd_diag:\n npus:\n  npu7:\n   pcie:\n    link:\n     speed: 32GT/s\n     width: x16\n    aer:\n     total_err_fatal: 0\nfuriosa_stress_test:\n full:\n  npu7:\n   exit_code: 0\n",
       "rngd_diag:\n npus:\n  npu7:\n   pcie:\n    link:\n     speed: 32GT/s\n     width: x16\n    aer:\n     total_err_fatal: 0\nfuriosa_stress_test:\n full:\n  npu7:\n   exit_code: 1\n"},
      {"intel", "hl_qual", {"/opt/habanalabs/qual/gaudi3/bin", "/opt/habanalabs/qual/gaudi2/bin"},
       [](const StressAsk& with, const Accelerator& accelerator) { return plan_hl_qual(with.program, accelerator, with.seconds); },
       [](std::string_view text, std::string_view, int exit_status) { return read_hl_qual(text, exit_status); }, "", "hl qual report\nPASSED\n", "hl qual report\nFAILED\n"},
  };
  return all;
}

// A folder of its own for what a tool writes, which goes with it.
class ReportFolder {
 public:
  ReportFolder() {
    std::string made = (std::filesystem::temp_directory_path(problem_) / "kfab-report-XXXXXX").string();
    if (::mkdtemp(made.data()) != nullptr) path_ = made;
  }
  ~ReportFolder() {
    if (!path_.empty()) std::filesystem::remove_all(path_, problem_);
  }
  ReportFolder(const ReportFolder&) = delete;
  ReportFolder& operator=(const ReportFolder&) = delete;
  bool made() const { return !path_.empty(); }
  std::string file() const { return path_ + "/report.yaml"; }

 private:
  std::error_code problem_;
  std::string path_;
};

// Which tool is missing: that of the maker whose accelerators the node is to have, or any where nobody said whose.
std::string missing_tool_words(std::string_view vendor) {
  const auto own = std::find_if(tools().begin(), tools().end(), [&](const Tool& one) { return one.vendor == vendor; });
  if (own == tools().end()) return "none of rbln-smi, rbln-stat, furiosa-smi, amd-smi and hl-smi is on the node";
  return fmt::format("{}{} is not on the node", own->name, vendor == "rebellions" ? " (or rbln-stat, its older name)" : "");
}

class VendorDevice final : public Device {
 public:
  explicit VendorDevice(std::string vendor) : vendor_(std::move(vendor)) {}
  std::string_view kind() const override { return "vendor"; }

  Result<std::vector<Accelerator>> accelerators() override {
    KFAB_TRY_VOID(read({}));
    std::vector<Accelerator> out;
    for (const auto& one : answer_.found) out.push_back(one.accelerator);
    return out;
  }

  void run(Family family, const Accelerator& accelerator, const TestRequest& request, double seconds, TestSink& sink) override {
    const Stopwatch watch;
    const std::string_view test = to_string(family);
    if (family == Family::health) return health(accelerator, sink, watch);
    if (!tool_) (void)read([&] { return sink.stop_requested(); });
    const std::string maker = tool_ ? std::string(tool_->no_stress) : "its maker's tool is not there";
    if (family == Family::bandwidth && tool_ && !tool_->bandwidth.empty()) return bandwidth(accelerator, seconds, sink, watch);
    if (family == Family::burnin && tool_ && std::any_of(stress_tools().begin(), stress_tools().end(), [&](const Stress& one) { return one.vendor == tool_->vendor; }))
      return stress(accelerator, request, seconds, sink, watch);
    sink.test_done(test, "not_run", watch.seconds(), family == Family::bandwidth ? "no bandwidth tool of its maker is driven by kfab" : maker, to_string(code::no_tests_for_device));
  }

 private:
  Status read(const std::function<bool()>& stop) {
    std::string whys;
    bool broken = false;   // a tool that says nothing of use, which is another thing than one that lists no device
    for (const Tool& tool : tools()) {
      bool there = false;
      std::string why;
      ToolAnswer answer = tool.read(stop, there, why);
      if (!there) continue;
      if (!answer.found.empty()) {
        tool_ = &tool;
        answer_ = std::move(answer);
        return ok();
      }
      broken = broken || !why.empty() || !answer.problems.empty();
      if (why.empty()) why = answer.problems.empty() ? std::string(tool.name) + " lists no device" : answer.problems.front();
      whys += (whys.empty() ? "" : "; ") + why;
    }
    if (whys.empty()) return error(code::driver_missing, missing_tool_words(vendor_));
    return error(broken ? code::vendor_tool_failed : code::no_accelerator, one_line(whys, 400));
  }

  void health(const Accelerator& accelerator, TestSink& sink, const Stopwatch& watch) {
    // Several questions, each with a time of its own: the watch over this process wants to hear something.
    const std::function<bool()> stop = [&] {
      sink.progress("health", watch.seconds(), 4 * tool_timeout_s, "its maker's tool is asked");
      return sink.stop_requested();
    };
    if (const auto done = read(stop); !done)
      return sink.test_done("health", "not_run", watch.seconds(), done.error().message, to_string(done.error().code));
    const auto own = std::find_if(answer_.found.begin(), answer_.found.end(), [&](const auto& one) { return one.accelerator.id == accelerator.id; });
    if (own == answer_.found.end()) return sink.test_done("health", "failed", watch.seconds(), "its maker's tool no longer lists it", to_string(code::accelerator_lost));
    if (tool_->details) tool_->details(*own, stop);
    for (const auto& figure : own->figures) sink.measurement("health", figure.metric, json::Value(figure.value), figure.unit, figure.detail);
    if (!own->versions.empty()) sink.emit(json::Object{{"type", "versions"}, {"versions", own->versions}});
    // The proof: what a made-up answer says of a sick device is read as that.
    const int first = 20 + static_cast<int>(std::chrono::steady_clock::now().time_since_epoch().count() % 60);
    int found = 0;
    for (int i = 0; i < 8; ++i) found += tool_->proven(first + i);
    emit_selftest(sink, "health", 8, found);
    if (found != 8) return sink.test_done("health", "failed", watch.seconds(), "the reader of its maker's tool missed a planted fault", to_string(code::checker_not_proven));
    sink.test_done("health", "ran", watch.seconds(), answer_.problems.empty() ? "" : one_line(join(answer_.problems, "; "), 300));
  }

  // The maker's own copies. Which device it measures is not for kfab to choose, so that the first one is told of and no other.
  void bandwidth(const Accelerator& accelerator, double seconds, TestSink& sink, const Stopwatch& watch) {
    int first = accelerator.index;
    for (const auto& one : answer_.found) first = std::min(first, one.accelerator.index);
    if (accelerator.index != first)
      return sink.test_done("bandwidth", "not_run", watch.seconds(), fmt::format("{} measures the first device only", tool_->bandwidth.front()), to_string(code::no_tests_for_device));
    std::vector<std::string> argv(tool_->bandwidth.begin(), tool_->bandwidth.end());
    // A tool that measures for minutes says nothing meanwhile; the watch over this process wants to hear something.
    const auto stop = [&] {
      sink.progress("bandwidth", watch.seconds(), bandwidth_timeout_s, fmt::format("{} is at work", tool_->bandwidth.front()));
      return sink.stop_requested();
    };
    const Said said = ask(argv, stop, std::max(bandwidth_timeout_s, seconds));
    if (!said.well) return sink.test_done("bandwidth", said.there ? "failed" : "not_run", watch.seconds(), said.why, to_string(said.there ? code::device_call_failed : code::no_tests_for_device));
    const auto figures = read_bandwidth(said.out);
    for (const auto& figure : figures) sink.measurement("bandwidth", figure.metric, json::Value(figure.value), figure.unit, figure.detail);
    if (figures.empty()) return sink.test_done("bandwidth", "not_run", watch.seconds(), "what it printed could not be understood: " + one_line(said.out, 120), to_string(code::device_call_failed));
    sink.test_done("bandwidth", "ran", watch.seconds());
  }

  // The first of the maker's stress tools that is there and can be started for this accelerator, or why none is.
  std::variant<StressRun, std::string> plan_stress(const Accelerator& accelerator, double seconds, const std::function<bool()>& stop, const Stress*& chosen) const {
    std::string why, names;
    for (const Stress& tool : stress_tools()) {
      if (tool.vendor != tool_->vendor) continue;
      names += (names.empty() ? "" : " nor ") + std::string(tool.program);
      const std::string program = find_tool(tool.program, tool.usual);
      if (program.empty()) continue;
      auto planned = tool.plan({program, seconds, answer_.found, stop}, accelerator);
      if (std::holds_alternative<StressRun>(planned)) {
        chosen = &tool;
        return planned;
      }
      why += (why.empty() ? "" : "; ") + std::get<std::string>(planned);
    }
    if (!why.empty()) return why;
    return names.find(' ') == std::string::npos ? fmt::format("its maker's stress tool {} is not on the node", names) : fmt::format("of its maker's stress tools, neither {} is on the node", names);
  }

  // The maker's own load. What it found is taken for what it says only where every word of it is known.
  void stress(const Accelerator& accelerator, const TestRequest& request, double seconds, TestSink& sink, const Stopwatch& watch) {
    const auto not_run = [&](std::string_view why, Code code) { sink.test_done("burnin", "not_run", watch.seconds(), one_line(why, 400), to_string(code)); };
    if (request.level == "quick") return not_run("its maker's stress tools take longer than the level quick has time for", code::no_tests_for_device);
    // It ends before the watch over this process would take it for one that hangs.
    const double deadline = 1.9 * seconds + 45;
    std::string_view at_work = "its maker's tool";
    const std::function<bool()> stop = [&] {
      sink.progress("burnin", watch.seconds(), deadline, fmt::format("{} is at work", at_work));
      return sink.stop_requested();
    };
    const Stress* chosen = nullptr;
    auto planned = plan_stress(accelerator, seconds, stop, chosen);
    if (const auto* why = std::get_if<std::string>(&planned)) return not_run(*why, code::no_tests_for_device);
    const Stress& tool = *chosen;
    at_work = tool.program;
    auto& run = std::get<StressRun>(planned);
    const int proven = (tool.read(tool.sound, tool.device, 0).word == StressVerdict::Word::passed) + (tool.read(tool.sick, tool.device, 1).word == StressVerdict::Word::failed);
    emit_selftest(sink, "burnin", 2, proven);
    if (proven != 2) return sink.test_done("burnin", "failed", watch.seconds(), "the reader of its maker's stress tool missed a planted fault", to_string(code::checker_not_proven));
    std::optional<ReportFolder> folder;
    if (!run.report_option.empty()) {
      if (!folder.emplace().made()) return not_run(fmt::format("no folder can be made for what {} writes", tool.program), code::no_tests_for_device);
      run.argv.insert(run.argv.end(), {run.report_option, folder->file()});
    }
    ProcessSpec spec;
    spec.environment = run.environment;
    spec.directory = run.directory;
    const Said said = ask(run.argv, stop, std::max(10.0, deadline - watch.seconds()), std::move(spec));
    const std::string started = one_line(join(run.argv, " "), 200);
    if (sink.stop_requested()) return not_run("stopped before it was done", code::test_stopped);
    std::string text = said.out;
    if (folder) {
      const auto report = read_file(folder->file(), most_output);
      text = report ? *report : std::string();
    }
    const auto verdict = said.exit_status ? tool.read(text, run.device, *said.exit_status) : StressVerdict{StressVerdict::Word::unclear, said.why, {}};
    const bool clear = verdict.word != StressVerdict::Word::unclear;
    sink.measurement("burnin", "burnin.vendor_passed", clear ? json::Value(verdict.word == StressVerdict::Word::passed ? 1 : 0) : json::Value(), "count", clear && verdict.why.empty() ? started : one_line(verdict.why, 300));
    if (verdict.tflops) sink.measurement("burnin", "burnin.vendor_tflops", json::Value(*verdict.tflops), "tflops", fmt::format("the best that {} told", tool.program));
    if (verdict.word == StressVerdict::Word::failed) return sink.test_done("burnin", "failed", watch.seconds(), one_line(fmt::format("{}: {}", started, verdict.why), 400), to_string(code::vendor_stress_failed));
    if (const auto gone = lost_under_load(accelerator, stop); !gone.empty()) return sink.test_done("burnin", "failed", watch.seconds(), gone, to_string(code::accelerator_lost));
    if (sink.stop_requested()) return not_run("stopped before it was done", code::test_stopped);
    if (!clear) return not_run(fmt::format("{}: {}{}", started, verdict.why, said.why.empty() || verdict.why == said.why ? "" : " (" + said.why + ")"), code::vendor_stress_unclear);
    sink.test_done("burnin", "ran", watch.seconds());
  }

  // Why an accelerator that was there before the load is taken for lost after it; empty where it is still listed.
  std::string lost_under_load(const Accelerator& accelerator, const std::function<bool()>& stop) {
    const Tool* const before = tool_;
    auto done = read(stop);
    for (int wait = 0; !done && wait < 30 && !stop(); ++wait) std::this_thread::sleep_for(std::chrono::milliseconds(100));   // it may be busy still
    if (!done && !stop()) done = read(stop);
    if (stop()) return {};   // told by who asks
    if (!done) return one_line("after the load its maker's tool lists nothing any more: " + done.error().message, 300);
    const bool listed = tool_ == before && std::any_of(answer_.found.begin(), answer_.found.end(), [&](const auto& one) { return one.accelerator.id == accelerator.id; });
    return listed ? std::string() : "after the load its maker's tool no longer lists it";
  }

  std::string vendor_;   // by the node's profile
  const Tool* tool_ = nullptr;
  ToolAnswer answer_;
};

}  // namespace

std::unique_ptr<Device> make_vendor_device(std::string vendor) { return std::make_unique<VendorDevice>(std::move(vendor)); }

}  // namespace kfab::agent::devices
