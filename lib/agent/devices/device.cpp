#include "agent/devices/device.hpp"

#include <algorithm>
#include <cmath>

#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::agent::devices {

json::Value to_json(const Accelerator& a) {
  return json::Object{{"type", "accelerator"},
                      {"id", a.id},
                      {"device", a.device},
                      {"index", a.index},
                      {"model", a.model},
                      {"numa_node", a.numa_node},
                      {"memory_bytes", a.memory_bytes},
                      {"pci_bus_id", a.pci_bus_id},
                      {"compute_capability", a.compute_capability},
                      {"driver", a.driver},
                      {"detail", a.detail}};
}

Accelerator accelerator_from_json(const json::Value& document) {
  const auto word = [&](std::string_view key) { return one_line(document.string_or(key), 128); };
  Accelerator out;
  out.id = word("id");
  out.device = word("device");
  out.model = word("model");
  out.index = int(std::clamp<std::int64_t>(document.int_or("index", 0), 0, 1'000'000));
  out.numa_node = int(std::clamp<std::int64_t>(document.int_or("numa_node", -1), -1, 1'000'000));
  out.memory_bytes = document["memory_bytes"].as_uint().value_or(0);
  out.pci_bus_id = word("pci_bus_id");
  out.compute_capability = word("compute_capability");
  out.driver = word("driver");
  out.detail = word("detail");
  return out;
}

std::string_view to_string(Family family) {
  switch (family) {
    case Family::health: return "health";
    case Family::burnin: return "burnin";
    case Family::memory: return "memory";
    case Family::bandwidth: return "bandwidth";
  }
  return "";
}

namespace {

std::vector<std::string> words_at(const json::Value& document, std::string_view key) {
  std::vector<std::string> out;
  for (const auto& item : document.array_at(key)) {
    if (const auto* word = item.as_string(); word && out.size() < 1024) out.push_back(one_line(*word, 100));
  }
  return out;
}

double clamped(double value, double least, double most) {
  return std::isfinite(value) ? std::clamp(value, least, most) : least;
}

}  // namespace

Result<TestRequest> read_request(const json::Value& document) {
  TestRequest out;
  out.device = document.string_or("device");
  if (out.device != "cpu" && out.device != "cuda" && out.device != "vendor")
    return error(code::unknown_test_device, "there is no test device '" + one_line(out.device, 40) + "'");
  out.vendor = one_line(document.string_or("vendor"), 40);
  out.level = one_line(document.string_or("level", "quick"), 20);
  auto families = words_at(document, "families");
  if (families.empty()) for (const auto family : all_families) families.emplace_back(to_string(family));
  for (const auto& word : families) {
    bool known = false;
    for (const auto family : all_families) {
      if (word != to_string(family)) continue;
      known = true;
      if (std::find(out.families.begin(), out.families.end(), family) == out.families.end()) out.families.push_back(family);
    }
    if (!known) return error(code::unknown_test_family, "there is no family of tests '" + word + "'");
  }
  out.duration_s = clamped(document.double_or("duration_s", 30), 0.1, 30.0 * 86400);
  out.threads = int(std::clamp<std::int64_t>(document.int_or("threads", 0), 0, 4096));
  if (const double fraction = document.double_or("memory_fraction", 0); fraction > 0)
    out.memory_fraction = clamped(fraction, 0.01, 0.98);
  out.memory_cap_bytes = std::uint64_t(std::clamp<std::int64_t>(document.int_or("memory_cap_mib", 0), 0, 1 << 26)) << 20;
  out.precisions = words_at(document, "precisions");
  out.patterns = words_at(document, "patterns");
  out.accelerators = words_at(document, "accelerators");
  out.samples = int(std::clamp<std::int64_t>(document.int_or("samples", 10), 1, 10'000));
  out.buffer_bytes = std::uint64_t(std::clamp<std::int64_t>(document.int_or("buffer_mib", 0), 0, 1 << 20)) << 20;
  out.second_engine = document.bool_or("second_engine", true);
  for (const auto& kernel : document.array_at("kernels"))
    if (out.kernels.size() < 64)
      out.kernels.push_back({one_line(kernel.string_or("name"), 60), one_line(kernel.string_or("reason"), 300), kernel.bool_or("proven", false), kernel.bool_or("wrong", false)});
  out.silence_s = clamped(document.double_or("silence_s", 120), 1, 3600);
  out.sick = words_at(document, "sick");
  KFAB_TRY(load, read_load_shape(document));
  out.load = load;
  return out;
}

json::Value to_json(const TestRequest& request) {
  const auto list = [](const std::vector<std::string>& words) { return json::Array(words.begin(), words.end()); };
  json::Array families;
  for (const auto family : request.families) families.emplace_back(to_string(family));
  json::Array kernels;
  for (const auto& kernel : request.kernels) kernels.emplace_back(json::Object{{"name", kernel.name}, {"reason", kernel.reason}, {"proven", kernel.proven}, {"wrong", kernel.wrong}});
  return json::Object{{"device", request.device},
                      {"vendor", request.vendor},
                      {"level", request.level},
                      {"kernels", kernels},
                      {"load", to_string(request.load.kind)},
                      {"period_s", request.load.period_s},
                      {"duty", request.load.duty},
                      {"start_at", request.load.start_at},
                      {"start_tolerance_s", request.load.start_tolerance_s},
                      {"families", families},
                      {"duration_s", request.duration_s},
                      {"threads", request.threads},
                      {"memory_fraction", request.memory_fraction},
                      {"memory_cap_mib", request.memory_cap_bytes >> 20},
                      {"precisions", list(request.precisions)},
                      {"patterns", list(request.patterns)},
                      {"accelerators", list(request.accelerators)},
                      {"samples", request.samples},
                      {"silence_s", request.silence_s},
                      {"sick", list(request.sick)},
                      {"buffer_mib", request.buffer_bytes >> 20},
                      {"second_engine", request.second_engine}};
}

void TestSink::progress(std::string_view step, double done, double total, std::string_view message) {
  emit(json::Object{{"type", "progress"}, {"step", step}, {"done", done}, {"total", total}, {"message", message}});
}

void TestSink::measurement(std::string_view test, std::string_view metric, json::Value value, std::string_view unit,
                           std::string_view detail, const std::vector<double>& samples, std::string_view link) {
  emit(json::Object{{"type", "measurement"},
                    {"test", test},
                    {"metric", metric},
                    {"value", std::move(value)},
                    {"unit", unit},
                    {"samples", samples.empty() ? json::Value() : json::Value(json::Array(samples.begin(), samples.end()))},
                    {"link", link.empty() ? json::Value() : json::Value(link)},
                    {"detail", detail}});
}

void TestSink::test_done(std::string_view test, std::string_view status, double duration_s, std::string_view reason,
                         std::string_view code) {
  emit(json::Object{{"type", "test_done"},
                    {"test", test},
                    {"status", status},
                    {"code", code.empty() ? json::Value() : json::Value(code)},
                    {"reason", reason},
                    {"duration_s", duration_s}});
}

std::unique_ptr<Device> make_device(std::string_view kind, std::string_view vendor) {
  if (kind == "cpu") return make_cpu_device();
  if (kind == "cuda") return make_cuda_device();
  if (kind == "vendor") return make_vendor_device(std::string(vendor));
  return nullptr;
}

}  // namespace kfab::agent::devices
