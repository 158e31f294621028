#include "agent/devices/vendor_stress.hpp"

#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

#include "base/text.hpp"

namespace kfab::agent::devices::vendor {
namespace {

using Word = StressVerdict::Word;

constexpr std::size_t most_report_lines = 50'000, most_depth = 16;

std::string_view without_quotes(std::string_view text) {
  text = trim(text);
  if (text.size() >= 2 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front()) return text.substr(1, text.size() - 2);
  return text;
}

// The scalars of a YAML document of nested maps, by their path: "rngd_diag.npus.npu0.pcie.link.width" is "x16". Lists are passed
// over. Nothing for what this cannot be sure to read as everybody does: tabs, a key that comes twice, too much of it.
std::optional<std::map<std::string, std::string>> yaml_scalars(std::string_view text) {
  struct Level { std::size_t indent; std::string path; };
  std::vector<Level> open;
  std::map<std::string, std::string> found;
  std::size_t lines = 0;
  for (const std::string_view line : split_lines(text)) {
    if (++lines > most_report_lines) return std::nullopt;
    const auto indent = line.find_first_not_of(' ');
    if (indent == std::string_view::npos || line[indent] == '#' || line.starts_with("---")) continue;
    if (line[indent] == '\t') return std::nullopt;
    while (!open.empty() && open.back().indent >= indent) open.pop_back();
    if (line[indent] == '-') {   // what is below an entry of a list has no path of its own
      open.push_back({indent, ""});
      continue;
    }
    if (open.size() >= most_depth) return std::nullopt;
    const bool in_list = !open.empty() && open.back().path.empty();
    auto colon = line.find(": ", indent);
    if (colon == std::string_view::npos && trim(line).ends_with(':')) colon = line.rfind(':');
    if (in_list || colon == std::string_view::npos) continue;
    const std::string path = (open.empty() ? "" : open.back().path + ".") + std::string(without_quotes(line.substr(indent, colon - indent)));
    const auto value = without_quotes(line.substr(colon + 1));
    if (value.empty()) open.push_back({indent, path});
    if (!found.emplace(path, one_line(value, 80)).second) return std::nullopt;
  }
  return found;
}

// "PASS: hbm_bw-1-1   [00:01:02/00:01:05]": the word and the name after it.
std::optional<std::string> result_of(std::string_view line, std::string_view word) {
  const auto text = trim(line);
  if (!text.starts_with(word) || text.size() <= word.size() || text[word.size()] != ':') return std::nullopt;
  const auto name = trim(text.substr(word.size() + 1));
  return one_line(name.substr(0, name.find(' ')), 60);
}

// The whole number before or after a word of a line; nothing when there is none.
std::optional<double> number_at(std::string_view text) {
  const auto quantity = read_quantity(trim(text));
  return quantity && quantity->unit.empty() ? std::optional(quantity->value) : std::nullopt;
}

}  // namespace

std::variant<StressRun, std::string> plan_agfhc(const std::string& agfhc, const Accelerator& accelerator, int first_index, std::size_t gpus, double seconds) {
  constexpr double least_s = 200;   // all_lvl1 takes somewhat more than five minutes; a burn-in may take 1.9 times its time
  if (accelerator.index != first_index) return fmt::format("agfhc loads all GPUs of a node at once; GPU {} of this node has its result", first_index);
  if (seconds < least_s) return fmt::format("agfhc needs about six minutes, which {:.0f} s for this GPU leave no room for: run `{} -r all_lvl1` by hand, or test longer", seconds, agfhc);
  return StressRun{{agfhc, "-r", "all_lvl1", "--simple-output"}, {}, {}, std::to_string(gpus), {}};
}

StressVerdict read_agfhc(std::string_view text, std::string_view device, int exit_status) {
  int passed = 0;
  std::string first_failed, code, gpus;
  std::optional<double> total, executed;
  std::size_t lines = 0;
  for (const std::string_view line : split_lines(text)) {
    if (++lines > most_report_lines) return {Word::unclear, "it said more than kfab reads", {}};
    passed += result_of(line, "PASS").has_value();
    if (const auto name = result_of(line, "FAIL"); name && first_failed.empty()) first_failed = *name;
    if (const auto at = line.find("GPUs:"); at != std::string_view::npos && line.find("Product:") != std::string_view::npos)
      gpus = one_line(trim(line.substr(at + 5, line.find('|', at) - at - 5)), 10);
    if (const auto at = line.find("Tests:"); at != std::string_view::npos)   // "Tests: 5 Total, 5 Executed, 0 Skipped | All Tests Passed"
      for (const auto& part : split(line.substr(at + 6), ',')) {
        const auto words = trim(part);
        const auto number = number_at(words.substr(0, words.find(' ')));
        if (words.ends_with("Total")) total = number;
        if (words.ends_with("Executed")) executed = number;
      }
    if (const auto at = line.find("Program exiting with return code "); at != std::string_view::npos) code = one_line(trim(line.substr(at + 33)), 60);
  }
  if (!first_failed.empty() || (!code.empty() && code != "AGFHC_SUCCESS [0]")) {
    const std::string what = first_failed.empty() ? "it ended with " + code : "its test " + first_failed + " failed";
    if (device == "1" && exit_status != 0) return {Word::failed, what, {}};
    return {Word::unclear, fmt::format("{}; of {} GPUs it does not say whose fault that is", what, device), {}};
  }
  if (code.empty()) return {Word::unclear, fmt::format("it did not say how it ended; exit status {}", exit_status), {}};
  if (exit_status != 0) return {Word::unclear, fmt::format("it says {} and ended with exit status {}", code, exit_status), {}};
  if (!total || !executed || *executed < 1 || *executed != *total) return {Word::unclear, "it did not execute all tests of its recipe", {}};
  if (passed < *executed) return {Word::unclear, fmt::format("it executed {:.0f} tests and told of {} that they passed", *executed, passed), {}};
  if (gpus != device) return {Word::unclear, fmt::format("it tested {} GPUs, and the node has {}", gpus.empty() ? "nobody knows how many" : gpus, device), {}};
  return {Word::passed, {}, {}};
}

std::variant<StressRun, std::string> plan_rngd_diag(const std::string& rngd_diag, const Accelerator& accelerator) {
  if (to_lower(accelerator.model) != "rngd") return fmt::format("rngd-diag tests RNGD and not '{}'", one_line(accelerator.model, 40));
  const std::string number = std::to_string(accelerator.index);
  return StressRun{{rngd_diag, "--npu", number}, {}, {}, number, "-o"};
}

StressVerdict read_rngd_diag(std::string_view report, std::string_view device, int exit_status) {
  if (trim(report).empty()) return {Word::unclear, fmt::format("it wrote no report; exit status {}", exit_status), {}};
  const auto scalars = yaml_scalars(report);
  if (!scalars) return {Word::unclear, "its report is no YAML that kfab reads", {}};
  const std::string npu = fmt::format("rngd_diag.npus.npu{}", device), stress = fmt::format("furiosa_stress_test.full.npu{}.exit_code", device);
  const auto text_at = [&](const std::string& path) {
    const auto at = scalars->find(path);
    return at == scalars->end() ? std::string() : at->second;
  };
  if (!scalars->contains(npu)) return {Word::unclear, "its report has nothing of npu" + std::string(device), {}};
  std::vector<std::string> wrong, silent;
  const auto must_be = [&](const std::string& path, std::string_view what, auto&& good) {
    const std::string value = text_at(path);
    const std::optional<bool> is_good = good(std::string_view(value));   // nothing: it is not what can be judged
    if (!is_good) silent.emplace_back(what);
    else if (!*is_good) wrong.push_back(fmt::format("{} is {}", what, value));
  };
  const auto is_number = [](double wanted) {
    return [wanted](std::string_view value) {
      const auto number = number_at(value);
      return number ? std::optional(*number == wanted) : std::nullopt;
    };
  };
  must_be(stress, "the exit status of its stress test", is_number(0));
  must_be(npu + ".pcie.link.speed", "the speed of its link", [](std::string_view value) {
    const auto speed = read_quantity(value);
    return speed && speed->unit == "gt/s" ? std::optional(speed->value == 32) : std::nullopt;
  });
  must_be(npu + ".pcie.link.width", "the width of its link", [](std::string_view value) {
    const auto lanes = number_at(value.starts_with('x') ? value.substr(1) : value);
    return lanes ? std::optional(*lanes == 16) : std::nullopt;
  });
  must_be(npu + ".pcie.aer.total_err_fatal", "the count of fatal errors of PCIe", is_number(0));
  if (const auto power = number_at(text_at(npu + ".power_sense.value")); power && *power != 2 && *power != 3) wrong.push_back(fmt::format("its sense of auxiliary power is {}", *power));
  for (const char* const sensor : {"ta", "npu_ambient", "hbm", "soc", "pe"})
    if (const auto c = number_at(text_at(fmt::format("{}.sensor.details.{}", npu, sensor))); c && (*c < 10 || *c > 80)) wrong.push_back(fmt::format("sensor {} is at {} degrees", sensor, *c));
  if (!wrong.empty()) return {Word::failed, join(wrong, "; "), {}};
  if (exit_status != 0) return {Word::unclear, fmt::format("it ended with exit status {}, and its report has no fault", exit_status), {}};
  if (!silent.empty()) return {Word::unclear, "its report does not tell " + join(silent, ", "), {}};
  return {Word::passed, {}, {}};
}

}  // namespace kfab::agent::devices::vendor
