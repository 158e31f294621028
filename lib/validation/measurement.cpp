#include "validation/measurement.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::validation {
namespace {

constexpr std::size_t most_refusals = 20;
constexpr std::size_t id_chars = 128, detail_chars = 600, unit_chars = 40, link_chars = 80;
// The cells of a figure in a report that is kept; those that are empty at the end are left out.
enum FigureCell : std::size_t { figure_test, figure_metric, figure_unit, figure_value, figure_link, figure_detail };

bool known_device(std::string_view device) { return device == "cpu" || device == "cuda" || device == "vendor"; }

std::string word(const json::Value& message, std::string_view key, std::size_t chars = id_chars) {
  return one_line(message.string_or(key), chars);
}
std::uint64_t count(const json::Value& message, std::string_view key) { return message[key].as_uint().value_or(0); }

std::optional<TestState> state_of(std::string_view text) {
  for (const auto state : {TestState::ran, TestState::not_run, TestState::failed})
    if (text == to_string(state)) return state;
  return std::nullopt;
}

// Bit patterns are hexadecimal words and nothing else.
std::string bits(const json::Value& message, std::string_view key) {
  const std::string text = message.string_or(key);
  const bool hex = text.size() > 2 && text.size() <= 34 && text.rfind("0x", 0) == 0 &&
                   text.find_first_not_of("0123456789abcdefABCDEF", 2) == std::string::npos;
  return hex ? text : std::string();
}

// 90 of "9.0"; 0 of what is none.
int capability_of(const std::string& text) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto dot = text.find('.');
  if (dot == std::string::npos || dot < 1 || dot > 2 || text.size() != dot + 2 || !digit(text[0]) || !digit(text[dot - 1]) || !digit(text[dot + 1])) return 0;
  return (dot == 2 ? (text[0] - '0') * 10 + text[1] - '0' : text[0] - '0') * 10 + text[dot + 1] - '0';
}

// Figures that follow each other are of the same accelerator for the most part. A site's are millions: as objects with the names of
// their members they would fill three times the room.
void add_figures(const TestReport& report, json::Array& out) {
  const auto& all = report.measurements;
  for (std::size_t from = 0, to; from < all.size(); from = to) {
    json::Array rows;
    for (to = from; to < all.size() && all[to].accelerator == all[from].accelerator && all[to].device == all[from].device; ++to) {
      json::Array row{all[to].test, all[to].metric, all[to].unit, all[to].value};
      if (!all[to].link.empty() || !all[to].detail.empty()) row.emplace_back(all[to].link);
      if (!all[to].detail.empty()) row.emplace_back(all[to].detail);
      rows.emplace_back(std::move(row));
    }
    out.push_back(json::Object{{"type", "figures"}, {"accelerator", all[from].accelerator}, {"device", all[from].device}, {"figures", std::move(rows)}});
  }
}

}  // namespace

std::string_view to_string(TestState state) {
  switch (state) {
    case TestState::ran: return "ran";
    case TestState::not_run: return "not_run";
    case TestState::failed: return "failed";
  }
  return "";
}

void ReportReader::refuse(std::string why) {
  if (report_.refused.size() < most_refusals) report_.refused.push_back(make_diagnostic(code::measurement_refused, std::move(why)));
}

void ReportReader::keep(Measurement one, const json::Value& value) {
  if (one.metric.empty() || one.accelerator.empty()) return refuse("a measurement names no metric or no accelerator");
  if (!value.is_null()) {
    one.value = value.is_number() ? value.as_double() : std::nullopt;
    if (!one.value || !std::isfinite(*one.value)) return refuse("measurement " + one.metric + " has a value that is no finite number");
  }
  report_.measurements.push_back(std::move(one));
}

bool ReportReader::take(const json::Value& message) {
  static constexpr std::array types{"accelerator", "measurement", "figures", "test_done", "mismatch", "versions", "accelerator_done", "refused"};
  const std::string type = message.string_or("type");
  if (std::find(types.begin(), types.end(), type) == types.end()) return false;
  read(message, type);
  return true;
}

void ReportReader::read(const json::Value& message, const std::string& type) {
  if (type == "refused") return refuse(word(message, "reason", detail_chars));   // of a report that was kept
  const std::string device = word(message, "device");
  if (!known_device(device)) return refuse("a message of type " + type + " is of an unknown device '" + one_line(device, 40) + "'");
  const auto full = [&](std::size_t size, std::size_t limit) {
    if (size < limit) return false;
    if (!report_.truncated) refuse("more messages of type " + type + " than " + std::to_string(limit));
    return report_.truncated = true;
  };

  if (type == "accelerator") {
    if (full(report_.accelerators.size(), limits_.accelerators)) return;
    Accelerator one;
    one.id = word(message, "id");
    one.device = device;
    if (one.id.empty()) return refuse("an accelerator has no id");
    for (const auto& known : report_.accelerators)
      if (known.id == one.id && known.device == device) return refuse("accelerator " + one.id + " was told of twice");
    one.model = word(message, "model");
    one.pci_bus_id = word(message, "pci_bus_id");
    one.detail = word(message, "detail", detail_chars);
    one.index = int(std::clamp<std::int64_t>(message.int_or("index", 0), 0, 1'000'000));
    one.numa_node = int(std::clamp<std::int64_t>(message.int_or("numa_node", -1), -1, 1'000'000));
    one.memory_bytes = count(message, "memory_bytes");
    one.capability = capability_of(message.string_or("compute_capability"));
    report_.accelerators.push_back(std::move(one));
  } else if (type == "accelerator_done") {
    const std::string id = word(message, "accelerator");
    for (auto& known : report_.accelerators)
      if (known.id == id && known.device == device) known.done = true;
  } else if (type == "versions") {
    const std::string id = word(message, "accelerator");
    const auto* told = message["versions"].as_object();
    for (auto& known : report_.accelerators) {
      if (known.id != id || known.device != device || !told) continue;
      for (const auto& [key, value] : told->members())
        if (const auto* text = value.as_string(); text && known.versions.size() < 32) known.versions[one_line(key, 40)] = one_line(*text, id_chars);
    }
  } else if (type == "measurement") {
    if (full(report_.measurements.size(), limits_.measurements)) return;
    Measurement one;
    one.accelerator = word(message, "accelerator");
    one.device = device;
    one.test = word(message, "test");
    one.metric = word(message, "metric");
    one.unit = word(message, "unit", unit_chars);
    one.link = word(message, "link", link_chars);
    one.detail = word(message, "detail", detail_chars);
    for (const auto& sample : message.array_at("samples")) {
      const auto number = sample.is_number() ? sample.as_double() : std::nullopt;
      if (one.samples.size() >= limits_.samples || ++samples_ > limits_.samples_in_all || !number || !std::isfinite(*number)) {
        refuse("measurement " + one.metric + " has too many samples, or one that is no finite number");
        one.samples.clear();
        break;
      }
      one.samples.push_back(*number);
    }
    keep(std::move(one), message["value"]);
  } else if (type == "figures") {
    const std::string accelerator = word(message, "accelerator");
    for (const auto& row : message.array_at("figures")) {
      if (full(report_.measurements.size(), limits_.measurements)) return;
      const auto* cells = row.as_array();
      if (!cells || cells->size() <= figure_value) {
        refuse("a figure of a kept report is no row of " + std::to_string(figure_value + 1) + " cells or more");
        continue;
      }
      const auto cell = [&](std::size_t at, std::size_t chars) {
        const auto* text = at < cells->size() ? (*cells)[at].as_string() : nullptr;
        return text ? one_line(*text, chars) : std::string();
      };
      keep({accelerator, device, cell(figure_test, id_chars), cell(figure_metric, id_chars), cell(figure_unit, unit_chars), {}, {}, cell(figure_link, link_chars), cell(figure_detail, detail_chars)},
           (*cells)[figure_value]);
    }
  } else if (type == "test_done") {
    if (full(report_.statuses.size(), limits_.statuses)) return;
    TestStatus one;
    one.accelerator = word(message, "accelerator");
    one.device = device;
    one.test = word(message, "test");
    const auto state = state_of(message.string_or("status"));
    if (!state || one.test.empty()) return refuse("the end of a test has no test or no known status");
    one.state = *state;
    one.reason = word(message, "reason", detail_chars);
    if (const auto code = parse_code(message.string_or("code"))) one.code = kfab::to_string(*code);
    one.duration_s = std::clamp(message.double_or("duration_s", 0), 0.0, 1e9);
    report_.statuses.push_back(std::move(one));
  } else {
    if (full(report_.mismatches.size(), limits_.mismatches)) return;
    Mismatch one;
    one.accelerator = word(message, "accelerator");
    one.device = device;
    one.test = word(message, "test");
    one.where = word(message, "where", detail_chars);
    one.index = count(message, "index");
    one.stride = count(message, "stride");
    one.count = std::max<std::uint64_t>(1, count(message, "count"));
    one.expected = bits(message, "expected");
    one.got = bits(message, "got");
    one.mask = bits(message, "mask");
    one.second_read = bits(message, "second_read");
    report_.mismatches.push_back(std::move(one));
  }
}

json::Array messages_of(const TestReport& report) {
  json::Array out;
  const auto text_or_null = [](const std::string& text) { return text.empty() ? json::Value() : json::Value(text); };
  for (const auto& a : report.accelerators) {
    out.push_back(json::Object{{"type", "accelerator"}, {"id", a.id}, {"device", a.device}, {"index", a.index}, {"model", a.model}, {"numa_node", a.numa_node},
                               {"memory_bytes", a.memory_bytes}, {"pci_bus_id", a.pci_bus_id}, {"detail", a.detail},
                               {"compute_capability", a.capability ? json::Value(std::to_string(a.capability / 10) + "." + std::to_string(a.capability % 10)) : json::Value()}});
    if (a.done) out.push_back(json::Object{{"type", "accelerator_done"}, {"accelerator", a.id}, {"device", a.device}});
    if (a.versions.empty()) continue;
    json::Object versions;
    for (const auto& [key, value] : a.versions) versions.set(key, value);
    out.push_back(json::Object{{"type", "versions"}, {"accelerator", a.id}, {"device", a.device}, {"versions", std::move(versions)}});
  }
  add_figures(report, out);
  for (const auto& s : report.statuses)
    out.push_back(json::Object{{"type", "test_done"}, {"accelerator", s.accelerator}, {"device", s.device}, {"test", s.test}, {"status", to_string(s.state)},
                               {"code", text_or_null(s.code)}, {"reason", s.reason}, {"duration_s", s.duration_s}});
  for (const auto& m : report.mismatches)
    out.push_back(json::Object{{"type", "mismatch"}, {"accelerator", m.accelerator}, {"device", m.device}, {"test", m.test}, {"where", m.where}, {"index", m.index},
                               {"stride", m.stride}, {"count", m.count}, {"expected", m.expected}, {"got", m.got}, {"mask", m.mask}, {"second_read", m.second_read}});
  for (const auto& r : report.refused) out.push_back(json::Object{{"type", "refused"}, {"reason", r.message}});
  return out;
}

}  // namespace kfab::validation
