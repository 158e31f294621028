#include "agent/devices/vendor_stress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <set>

#include <fmt/format.h>

#include "agent/health/kernel_log.hpp"
#include "base/text.hpp"

namespace kfab::agent::devices::vendor {
namespace {

using Word = StressVerdict::Word;

constexpr std::size_t most_lines = 200'000;

bool is_word_character(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// Where `word` stands in `text` by itself, not as a part of a longer one; npos when nowhere.
std::size_t find_word(std::string_view text, std::string_view word, std::size_t from = 0) {
  for (auto at = text.find(word, from); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const auto end = at + word.size();
    if ((at == 0 || !is_word_character(text[at - 1])) && (end == text.size() || !is_word_character(text[end]))) return at;
  }
  return std::string_view::npos;
}

// TRUE or FALSE after `word` and a colon; nothing when neither stands there. `line` is in small letters.
std::optional<bool> flag_after(std::string_view line, std::string_view word) {
  const auto at = find_word(line, word);
  if (at == std::string_view::npos) return std::nullopt;
  auto rest = trim(line.substr(at + word.size()));
  if (rest.empty() || rest.front() != ':') return std::nullopt;
  rest = trim(rest.substr(1));
  if (find_word(rest, "true") == 0) return true;
  return find_word(rest, "false") == 0 ? std::optional(false) : std::nullopt;
}

// The figure after GFLOPS, as tera-operations.
std::optional<double> tflops_in(std::string_view line) {
  const auto at = find_word(line, "gflops");
  if (at == std::string_view::npos) return std::nullopt;
  const auto rest = trim(line.substr(at + 6));
  double value = 0;
  const auto [end, problem] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  return problem == std::errc{} && value > 0 && value < 1e9 ? std::optional(value / 1000) : std::nullopt;
}

// The word in brackets that names the action; times since boot and levels are numbers, or in capitals.
std::string action_in(std::string_view line) {
  for (auto open = line.find('['); open != std::string_view::npos; open = line.find('[', open + 1)) {
    const auto close = line.find(']', open);
    if (close == std::string_view::npos) break;
    const auto inside = trim(line.substr(open + 1, close - open - 1));
    const bool level = std::all_of(inside.begin(), inside.end(), [](unsigned char c) { return std::isupper(c) != 0; });
    const bool time = inside.find_first_not_of("0123456789. ") == std::string_view::npos;
    if (!inside.empty() && !level && !time && inside.substr(0, 5) != "GPU::") return one_line(inside, 120);
  }
  return {};
}

// What a line says without the frame of signs, blanks and colours around it.
std::string within_frame(std::string_view line) {
  std::string plain;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '\x1b') plain += line[i];
    else if (i + 1 < line.size() && line[i + 1] == '[')
      for (i += 2; i < line.size() && std::isalpha(static_cast<unsigned char>(line[i])) == 0;) ++i;
  }
  constexpr std::string_view signs = " \t\r=*-#|+_";
  const auto first = plain.find_first_not_of(signs);
  return first == std::string::npos ? std::string() : plain.substr(first, plain.find_last_not_of(signs) - first + 1);
}

}  // namespace

std::string find_tool(std::string_view name, const std::vector<std::string>& usual) {
  const char* path = std::getenv("PATH");
  auto places = split(path == nullptr ? "" : path, ':');
  places.insert(places.end(), usual.begin(), usual.end());
  for (const auto& place : places)
    if (const std::string at = fmt::format("{}/{}", place, name); !place.empty() && place.front() == '/' && ::access(at.c_str(), X_OK) == 0) return at;
  return {};
}

std::variant<StressRun, std::string> plan_rvs(const std::string& rvs, const Accelerator& accelerator, std::string_view listing) {
  // The suite has a folder for each model, of the model's name: the word that begins with MI and a digit.
  std::string model;
  for (const auto& word : split(accelerator.model, ' '))
    if (word.size() > 3 && word.starts_with("MI") && std::isdigit(static_cast<unsigned char>(word[2])) != 0 &&
        std::all_of(word.begin(), word.end(), [](unsigned char c) { return std::isalnum(c) != 0; }))
      model = word;
  if (model.empty()) return fmt::format("the model '{}' is not one that kfab finds in AMD's validation suite", one_line(accelerator.model, 60));
  const std::string base = rvs.substr(0, rvs.rfind("/bin/"));
  const std::string configuration = fmt::format("{}/share/rocm-validation-suite/conf/{}/gst_single.conf", base, model);
  if (rvs.rfind("/bin/") == std::string::npos || ::access(configuration.c_str(), R_OK) != 0)
    return fmt::format("AMD's validation suite has no stress configuration for {} ({} is not there)", model, configuration);
  // "0000:05:00.0 - GPU[ 2 - 2996] ...": its own numbers, which are not those of amd-smi.
  const std::string slot = health::pci_slot(accelerator.pci_bus_id);
  if (slot.empty()) return "its place on the PCI bus is not known, by which rvs tells it from the others";
  for (const std::string_view line : split_lines(listing)) {
    const auto mark = line.find(" - GPU[");
    if (mark == std::string_view::npos || health::pci_slot(trim(line.substr(0, mark))) != slot) continue;
    const auto inside = line.substr(mark + 7, line.find(']', mark) - mark - 7);
    const auto dash = inside.find('-');
    const auto id = dash == std::string_view::npos ? std::string_view() : trim(inside.substr(dash + 1));
    if (id.empty() || id.size() > 10 || id.find_first_not_of("0123456789") != std::string_view::npos) break;
    return StressRun{{rvs, "-c", configuration, "-i", std::string(id)}, {}, {}, std::string(id), {}};
  }
  return fmt::format("`rvs -g` does not name the GPU at {}", slot);
}

StressVerdict read_rvs(std::string_view text, std::string_view device, int exit_status) {
  std::set<std::string> begun, told;
  int wrong = 0;
  std::string first_wrong, problem;
  std::optional<double> best;
  std::size_t lines = 0;
  for (const std::string_view line : split_lines(text)) {
    if (++lines > most_lines) {
      problem = "it said more than kfab reads";
      break;
    }
    const std::string lower = to_lower(std::string(line.substr(0, 2000)));
    if (const auto at = lower.find("action name"); at != std::string::npos) {
      const auto colon = line.find(':', at);
      if (colon != std::string_view::npos) begun.insert(one_line(trim(line.substr(colon + 1)), 120));
      continue;
    }
    if (line.find("[ERROR") != std::string_view::npos && problem.empty()) problem = one_line(line, 160);
    if (find_word(line, device) == std::string_view::npos) continue;   // another GPU's, or nobody's
    if (const auto tflops = tflops_in(lower); tflops && *tflops > best.value_or(0)) best = tflops;
    const auto met = flag_after(lower, "met"), pass = flag_after(lower, "pass");
    if (!met && !pass) continue;
    told.insert(action_in(line));
    if (!met.value_or(true) || !pass.value_or(true)) {
      ++wrong;
      if (first_wrong.empty()) first_wrong = one_line(line, 160);
    }
  }
  if (wrong > 0) return {Word::failed, fmt::format("{} of its results were missed, first: {}", wrong, first_wrong), best};
  if (exit_status != 0) return {Word::unclear, fmt::format("it ended with exit status {} and told no failed result", exit_status), best};
  if (!problem.empty()) return {Word::unclear, problem, best};
  if (begun.empty() || told.empty()) return {Word::unclear, "it told no result of this GPU", best};
  for (const auto& action : begun)
    if (!told.contains(action)) return {Word::unclear, fmt::format("its action {} told no result of this GPU", action), best};
  return {Word::passed, {}, best};
}

std::variant<StressRun, std::string> plan_hl_qual(const std::string& hl_qual, const Accelerator& accelerator, double seconds) {
  struct Row { std::string_view model, option; };
  static constexpr Row rows[] = {{"HL-225", "-gaudi2"}, {"HL-288", "-gaudi2"}, {"HL-325", "-gaudi3"}, {"HL-328", "-gaudi3"}, {"HL-338", "-gaudi3"}};
  const auto row = std::find_if(std::begin(rows), std::end(rows), [&](const Row& r) { return accelerator.model.find(r.model) != std::string::npos; });
  if (row == std::end(rows)) return fmt::format("the model '{}' is not one for which kfab knows hl_qual's option", one_line(accelerator.model, 60));
  if (health::pci_slot(accelerator.pci_bus_id).empty()) return "its place on the PCI bus is not known, by which hl_qual is told which one to load";
  StressRun run;
  run.argv = {hl_qual, std::string(row->option), "-c", accelerator.pci_bus_id, "-rmod", "serial", "-dis_mon", "-s", "-t", std::to_string(std::max(10, static_cast<int>(seconds)))};
  run.environment = {"__python_cmd=python3"};
  run.directory = hl_qual.substr(0, hl_qual.rfind('/'));
  run.device = accelerator.pci_bus_id;
  return run;
}

StressVerdict read_hl_qual(std::string_view text, int exit_status) {
  constexpr int most_frame_lines = 3;   // between the heading of the report and its verdict
  int headings = 0, passed = 0, failed = 0, frame = -1;
  std::string first_failed;
  std::size_t lines = 0;
  for (const std::string_view line : split_lines(text)) {
    if (++lines > most_lines) return {Word::unclear, "it said more than kfab reads", {}};
    const std::string lower = to_lower(std::string(line.substr(0, 2000)));
    if (find_word(lower, "failed") != std::string::npos && first_failed.empty()) first_failed = one_line(line, 160);
    if (within_frame(lower) == "hl qual report") {
      ++headings;
      frame = 0;
      continue;
    }
    if (frame < 0 || ++frame > most_frame_lines) continue;
    const std::string verdict = within_frame(line);
    if (verdict.empty()) continue;
    passed += verdict == "PASSED";
    failed += verdict == "FAILED";
    frame = -1;   // the first line with a word in it, whatever the word
  }
  if (headings == 0) return {Word::unclear, fmt::format("there is no report of hl_qual in what it said; exit status {}", exit_status), {}};
  if (passed + failed != headings) return {Word::unclear, "its report has no verdict below its heading", {}};
  if (failed > 0 && exit_status != 0) return {Word::failed, first_failed, {}};
  if (failed > 0) return {Word::unclear, "it tells of a failure and ended with exit status 0: " + first_failed, {}};
  if (exit_status != 0) return {Word::unclear, fmt::format("its report says PASSED, and it ended with exit status {}", exit_status), {}};
  if (!first_failed.empty()) return {Word::unclear, "its report says PASSED, and of a part: " + first_failed, {}};
  return {Word::passed, {}, {}};
}

}  // namespace kfab::agent::devices::vendor
