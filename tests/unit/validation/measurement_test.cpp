#include "validation/measurement.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "base/codes/validation.hpp"

using namespace kfab;
using namespace kfab::validation;

namespace {
json::Object measurement(json::Value value) {
  return json::Object{{"type", "measurement"}, {"accelerator", "GPU-1"}, {"device", "cuda"}, {"test", "memory"}, {"metric", "memory.errors"},
                      {"value", std::move(value)}, {"unit", "count"}, {"samples", nullptr}, {"link", nullptr}, {"detail", "x"}};
}
}  // namespace

TEST_CASE("an honest report is read whole") {
  ReportReader reader;
  reader.take(json::Object{{"type", "accelerator"}, {"id", "GPU-1"}, {"device", "cuda"}, {"model", "B200"}, {"index", 3}, {"memory_bytes", 1000}});
  auto full = measurement(2.5);
  full.set("samples", json::Array{1.0, 2}).set("link", "0->1");
  reader.take(full);
  reader.take(measurement(nullptr));
  reader.take(json::Object{{"type", "test_done"}, {"accelerator", "GPU-1"}, {"device", "cuda"}, {"test", "memory"}, {"status", "not_run"},
                           {"code", "KF4005"}, {"reason", "full"}, {"duration_s", 1.5}});
  reader.take(json::Object{{"type", "mismatch"}, {"accelerator", "GPU-1"}, {"device", "cuda"}, {"test", "memory"}, {"where", "byte 8"},
                           {"index", 1}, {"expected", "0x00"}, {"got", "0x01"}, {"mask", "0x01"}, {"second_read", "rm -rf"}, {"count", 7}});
  reader.take(json::Object{{"type", "progress"}, {"step", "x"}});
  const auto report = reader.finish();
  CHECK(report.refused.empty());
  REQUIRE(report.accelerators.size() == 1);
  CHECK(report.accelerators[0].index == 3);
  REQUIRE(report.measurements.size() == 2);
  CHECK(report.measurements[0].value == 2.5);
  CHECK(report.measurements[0].samples.size() == 2);
  CHECK(report.measurements[0].link == "0->1");
  CHECK_FALSE(report.measurements[1].value);
  CHECK(report.statuses[0].state == TestState::not_run);
  CHECK(report.statuses[0].code == "KF4005");
  CHECK(report.mismatches[0].count == 7);
  CHECK(report.mismatches[0].second_read.empty());   // no bit pattern
}

TEST_CASE("hostile reports are refused, not believed") {
  ReportReader reader({.accelerators = 2, .measurements = 3, .statuses = 2, .mismatches = 2, .samples = 4});
  reader.take(json::Value());
  reader.take(json::Value("accelerator"));
  CHECK(reader.report().refused.empty());
  auto other = measurement(1);
  reader.take(other.set("device", "tpu"));
  reader.take(measurement("12"));
  reader.take(measurement(true));
  reader.take(measurement(std::numeric_limits<double>::infinity()));
  reader.take(measurement(1).set("metric", ""));
  CHECK(reader.report().measurements.empty());
  CHECK(reader.report().refused.size() == 5);
  CHECK(reader.report().refused[0].code == code::measurement_refused);

  reader.take(measurement(1).set("samples", json::Array{1, 2, 3, 4, 5}));
  CHECK(reader.report().measurements.back().samples.empty());
  reader.take(measurement(1).set("detail", "\x1b[31mred\x07\n" + std::string(5000, 'x')));
  CHECK(reader.report().measurements.back().detail.find('\x1b') == std::string::npos);
  CHECK(reader.report().measurements.back().detail.size() <= 604);
  for (int i = 0; i < 100; ++i) reader.take(measurement(1));
  CHECK(reader.report().measurements.size() == 3);
  CHECK(reader.report().truncated);
  CHECK(reader.report().refused.size() <= 20);

  reader.take(json::Object{{"type", "test_done"}, {"device", "cuda"}, {"test", "memory"}, {"status", "pass"}});
  CHECK(reader.report().statuses.empty());
  for (int i = 0; i < 2; ++i) reader.take(json::Object{{"type", "accelerator"}, {"id", "GPU-1"}, {"device", "cuda"}});
  CHECK(reader.report().accelerators.size() == 1);
}

TEST_CASE("a report that was kept is read again as it was, and refused like any other where it was tampered with") {
  ReportReader reader;
  for (const auto* id : {"GPU-1", "GPU-2"}) reader.take(json::Object{{"type", "accelerator"}, {"id", id}, {"device", "cuda"}});
  reader.take(json::Object{{"type", "accelerator_done"}, {"accelerator", "GPU-2"}, {"device", "cuda"}});
  reader.take(measurement(1.25).set("link", "0->1"));
  reader.take(measurement(-3).set("detail", "two words"));
  reader.take(measurement(json::Value()).set("link", "1->0").set("detail", "why there is none"));
  for (const auto* id : {"GPU-2", "GPU-1"}) reader.take(measurement(1e-300).set("accelerator", id));
  const TestReport was = reader.finish();
  REQUIRE(was.measurements.size() == 5);

  json::Array kept = messages_of(was);
  const auto text = json::parse(json::dump(json::Value(kept)));   // as the store has it
  REQUIRE(text);
  ReportReader again;
  for (const auto& message : *text->as_array()) again.take(message);
  CHECK(again.report().refused.empty());
  CHECK_FALSE(again.report().accelerators[0].done);
  CHECK(again.report().accelerators[1].done);
  REQUIRE(again.report().measurements.size() == was.measurements.size());
  for (std::size_t i = 0; i < was.measurements.size(); ++i) {
    CAPTURE(i);
    const auto &one = was.measurements[i], &other = again.report().measurements[i];
    CHECK(one.accelerator == other.accelerator);
    CHECK(one.device == other.device);
    CHECK(one.test == other.test);
    CHECK(one.metric == other.metric);
    CHECK(one.unit == other.unit);
    CHECK(one.value == other.value);
    CHECK(one.link == other.link);
    CHECK(one.detail == other.detail);
  }

  const auto figures = [](json::Value rows) { return json::Object{{"type", "figures"}, {"accelerator", "GPU-1"}, {"device", "cuda"}, {"figures", std::move(rows)}}; };
  const auto row = [](json::Value value) { return json::Array{"gemm", "burnin.gemm.tflops", "tflops", std::move(value)}; };
  for (const auto& bad : {json::Value("row"), json::Value(json::Array{"gemm", "burnin.gemm.tflops", "tflops"}), json::Value(row("12")), json::Value(row(std::numeric_limits<double>::quiet_NaN())),
                          json::Value(json::Array{"gemm", 7, "tflops", 1})}) {
    ReportReader hostile;
    hostile.take(figures(json::Array{bad}));
    CHECK(hostile.report().measurements.empty());
    CHECK(hostile.report().refused.size() == 1);
  }
  ReportReader few({.measurements = 2});
  few.take(figures(json::Array{row(1), row(2), row(3)}));
  CHECK(few.report().measurements.size() == 2);
  CHECK(few.report().truncated);
}
