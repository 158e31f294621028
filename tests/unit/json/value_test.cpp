#include "json/value.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <sstream>

#include "base/codes/store.hpp"
#include "json/diagnostic.hpp"

using namespace kfab;
using json::Array;
using json::Object;
using json::Value;

namespace {

std::string round_trip(std::string_view text) {
  const auto parsed = json::parse(text);
  return parsed ? json::dump(*parsed) : "error: " + parsed.error().message;
}

bool refused(std::string_view text) {
  const auto parsed = json::parse(text);
  return !parsed && parsed.error().code == code::bad_json && !parsed.error().message.empty();
}

}  // namespace

TEST_CASE("documents come back as they were") {
  for (const char* text : {R"({"b":1,"a":[true,false,null,"x"],"c":{}})", "[]", "{}", "null", "true", "-7", "9223372036854775807",
                           "18446744073709551615", "-9223372036854775808", "1.5", R"("\"\\\b\f\n\r\t\u0001")", R"("한국")", "0.1", "1e+300"}) {
    INFO(text);
    CHECK(round_trip(text) == text);
  }
  CHECK(round_trip(" { \"a\" : 1 } ") == R"({"a":1})");
  CHECK(round_trip("5.0") == "5.0");
  CHECK(round_trip("\"\\ud55c\"") == "\"한\"");
}

TEST_CASE("members keep the order in which they were set") {
  Object object{{"z", 1}};
  object.set("a", 2).set("z", 3).set("m", nullptr);
  CHECK(json::dump(object) == R"({"z":3,"a":2,"m":null})");
  CHECK(object.find("a") != nullptr);
  CHECK(object.find("q") == nullptr);
  CHECK(round_trip(R"({"a":1,"b":2,"a":3,"a":4,"c":5,"b":6})") == R"({"a":4,"b":6,"c":5})");
}

TEST_CASE("indented output") {
  const Value value = Object{{"a", Array{1, Object{}, Array{}}}, {"b", Object{{"c", "x"}}}};
  CHECK(json::dump_pretty(value) == "{\n  \"a\": [\n    1,\n    {},\n    []\n  ],\n  \"b\": {\n    \"c\": \"x\"\n  }\n}");
}

TEST_CASE("an array that is written element by element reads as if it had been there") {
  const Array elements{1, Object{{"k", Array{}}}, "x", Array{true}};
  for (const std::size_t count : {0UL, 1UL, 4UL})
    for (const bool pretty : {true, false}) {
      const Array some(elements.begin(), elements.begin() + static_cast<std::ptrdiff_t>(count));
      const Value whole = Object{{"a", Array{}}, {"b", Object{{"rows", some}, {"c", Array{}}}}, {"d", 1}};
      const Value document = Object{{"a", Array{}}, {"b", Object{{"rows", Array{}}, {"c", Array{}}}}, {"d", 1}};
      const json::StreamedArray streamed{&document["b"]["rows"], [&](const auto& element) {
                                           for (const Value& one : some) element(one);
                                         }};
      std::ostringstream out, plain;
      json::write(out, document, pretty, streamed);
      json::write(plain, whole, pretty);
      CHECK(out.str() == (pretty ? json::dump_pretty(whole) : json::dump(whole)));
      CHECK(plain.str() == (pretty ? json::dump_pretty(whole) : json::dump(whole)));
    }
}

TEST_CASE("what JSON cannot say is null or replaced") {
  CHECK(json::dump(std::numeric_limits<double>::quiet_NaN()) == "null");
  CHECK(json::dump(std::numeric_limits<double>::infinity()) == "null");
  CHECK(json::dump("a\xff\xc3") == "\"a\xEF\xBF\xBD\xEF\xBF\xBD\"");
  CHECK(json::dump(std::optional<int>()) == "null");
  CHECK(json::dump(std::optional<int>(4)) == "4");
  CHECK(json::dump(std::string("a\0b", 3)) == "\"a\\u0000b\"");
  CHECK(json::dump(0.1 + 0.2) == "0.30000000000000004");
}

TEST_CASE("values convert only where they fit") {
  CHECK(Value(3.0).as_int() == 3);
  CHECK_FALSE(Value(3.5).as_int());
  CHECK_FALSE(Value(1e300).as_int());
  CHECK_FALSE(Value(std::numeric_limits<std::uint64_t>::max()).as_int());
  CHECK(Value(std::numeric_limits<std::uint64_t>::max()).as_uint() == std::numeric_limits<std::uint64_t>::max());
  CHECK_FALSE(Value(-1).as_uint());
  CHECK(Value(7).as_double() == 7.0);
  CHECK_FALSE(Value("7").as_int());
  CHECK_FALSE(Value(1).as_bool());
  CHECK(Value(true).as_bool() == true);
}

TEST_CASE("reading what is missing gives null and the fallback") {
  const Value value = *json::parse(R"({"s":"x","i":4,"d":1.5,"b":true,"a":[1],"o":{"k":"v"}})");
  CHECK(value.string_or("s") == "x");
  CHECK(value.string_or("i", "none") == "none");
  CHECK(value.int_or("i", 0) == 4);
  CHECK(value.int_or("nope", -1) == -1);
  CHECK(value.double_or("i", 0) == 4.0);
  CHECK(value.bool_or("b", false));
  CHECK(value.array_at("a").size() == 1);
  CHECK(value.array_at("s").empty());
  CHECK(value["o"]["k"].as_string() != nullptr);
  CHECK(value["o"]["k"]["deeper"]["still"].is_null());
  CHECK(Value(1)["x"].is_null());
}

TEST_CASE("broken documents are refused with the place") {
  for (const char* text : {"", " ", "{", "[1,", "{\"a\":}", "{\"a\" 1}", "nul", "01", "1 2", "'a'", "[1]]", "\"\\x\"", "\"a", "{\"a\":1,}", "\"\n\"",
                           "1e999", "\"\\ud800\"", "\"\xff\"", "NaN", "//x\n1"}) {
    INFO(text);
    CHECK(refused(text));
  }
  CHECK(json::parse("[1,x]").error().message.find("byte") != std::string::npos);
}

TEST_CASE("hostile documents are bounded in depth, size, members and time") {
  CHECK(json::parse(std::string(64, '[') + std::string(64, ']')));
  CHECK(refused(std::string(65, '[') + std::string(65, ']')));
  CHECK(refused(std::string(1'000'000, '[')));
  CHECK_FALSE(json::parse("[1,2,3]", 4));
  const auto object_of = [](int members, int from) {
    std::string text = "{";
    for (int i = 0; i < members; ++i) text += (i > 0 ? ",\"same length " : "\"same length ") + std::to_string(100'000 + from + i) + "\":0";
    return text + "}";
  };
  CHECK(json::parse(object_of(4096, 0)));
  CHECK(refused(object_of(4097, 0)));
  std::string zeros = "[0";
  for (int i = 0; i < 2'000'000; ++i) zeros += ",0";
  CHECK(refused(zeros + "]"));
  // Were each key looked for among the others, this would be 335 million comparisons.
  std::string many = "[" + object_of(4096, 0);
  for (int i = 1; i < 40; ++i) many += "," + object_of(4096, i);
  CHECK(json::parse(many + "]"));
}

TEST_CASE("a diagnostic has every key") {
  Diagnostic d = make_diagnostic(code::bad_json, "wrong");
  const Value bare = json::to_json(d);
  CHECK(bare.string_or("code") == "KF6004");
  CHECK(bare["line"].is_null());
  CHECK(bare["help"].is_array());
  d.span = SourceSpan{"f.yaml", 3, 4, 3, 9, 40};
  d.help = {"do this"};
  const Value placed = json::to_json(d);
  CHECK(placed.int_or("column", 0) == 4);
  CHECK(placed.int_or("end_column", 0) == 9);
  CHECK(placed.int_or("byte_offset", 0) == 40);
  CHECK(placed.string_or("file") == "f.yaml");
  CHECK(placed.array_at("help").size() == 1);
  CHECK(placed.as_object()->members().size() == bare.as_object()->members().size());
  CHECK_FALSE(placed.string_or("next_step").empty());
}
