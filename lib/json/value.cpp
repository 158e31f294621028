#include "json/value.hpp"

#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace kfab::json {
namespace {

using Ordered = nlohmann::ordered_json;
constexpr std::size_t max_depth = 64;

template <class... Fs>
struct Overloaded : Fs... { using Fs::operator()...; };
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

Ordered to_nlohmann(const Value& value) {
  return std::visit(Overloaded{
                        [](std::monostate) { return Ordered(nullptr); },
                        [](double v) { return std::isfinite(v) ? Ordered(v) : Ordered(nullptr); },
                        [](const Array& array) {
                          Ordered out = Ordered::array();
                          for (const Value& item : array) out.push_back(to_nlohmann(item));
                          return out;
                        },
                        [](const Object& object) {
                          Ordered out = Ordered::object();
                          for (const auto& [key, item] : object.members()) out.emplace(key, to_nlohmann(item));
                          return out;
                        },
                        [](const auto& v) { return Ordered(v); },
                    },
                    value.data());
}

// Builds a Value from nlohmann's events, so that depth is bounded before anything recurses.
class Builder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return put(Value()); }
  bool boolean(bool v) override { return put(Value(v)); }
  bool number_integer(number_integer_t v) override { return put(Value(static_cast<long long>(v))); }
  bool number_unsigned(number_unsigned_t v) override {
    constexpr auto top = static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max());
    return put(v <= top ? Value(static_cast<long long>(v)) : Value(static_cast<unsigned long long>(v)));
  }
  bool number_float(number_float_t v, const string_t&) override { return put(Value(v)); }
  bool string(string_t& v) override { return put(Value(std::move(v))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Object()); }
  bool start_array(std::size_t) override { return open(Array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& v) override { open_.back().key = std::move(v); return true; }
  bool parse_error(std::size_t at, const std::string&, const nlohmann::detail::exception& e) override {
    problem_ = fmt::format("byte {}: {}", at, e.what());
    return false;
  }

  Value root;
  const std::string& problem() const { return problem_; }

 private:
  struct Level { std::variant<Array, Object> content; std::string key; };

  bool open(std::variant<Array, Object> content) {
    if (open_.size() >= max_depth) { problem_ = fmt::format("nested deeper than {}", max_depth); return false; }
    open_.push_back({std::move(content), {}});
    return true;
  }
  bool close() {
    Value done = std::visit([](auto& content) { return Value(std::move(content)); }, open_.back().content);
    open_.pop_back();
    return put(std::move(done));
  }
  bool put(Value value) {
    if (open_.empty()) { root = std::move(value); return true; }
    Level& level = open_.back();
    if (auto* array = std::get_if<Array>(&level.content)) array->push_back(std::move(value));
    else std::get<Object>(level.content).set(std::move(level.key), std::move(value));
    return true;
  }

  std::vector<Level> open_;
  std::string problem_;
};

}  // namespace

Object::Object(std::initializer_list<Member> members) : members_(members) {}

Object& Object::set(std::string key, Value value) {
  for (auto& [name, old] : members_)
    if (name == key) { old = std::move(value); return *this; }
  members_.emplace_back(std::move(key), std::move(value));
  return *this;
}

const Value* Object::find(std::string_view key) const {
  for (const auto& [name, value] : members_)
    if (name == key) return &value;
  return nullptr;
}

bool Value::is_number() const {
  return std::holds_alternative<std::int64_t>(data_) || std::holds_alternative<std::uint64_t>(data_) ||
         std::holds_alternative<double>(data_);
}

std::optional<bool> Value::as_bool() const {
  if (const auto* v = std::get_if<bool>(&data_)) return *v;
  return std::nullopt;
}

std::optional<std::int64_t> Value::as_int() const {
  if (const auto* v = std::get_if<std::int64_t>(&data_)) return *v;
  if (const auto* v = std::get_if<std::uint64_t>(&data_); v && *v <= std::uint64_t{std::numeric_limits<std::int64_t>::max()})
    return static_cast<std::int64_t>(*v);
  if (const auto* v = std::get_if<double>(&data_); v && std::trunc(*v) == *v && std::fabs(*v) < 9.0e15)
    return static_cast<std::int64_t>(*v);
  return std::nullopt;
}

std::optional<std::uint64_t> Value::as_uint() const {
  if (const auto* v = std::get_if<std::uint64_t>(&data_)) return *v;
  if (const auto v = as_int(); v && *v >= 0) return static_cast<std::uint64_t>(*v);
  return std::nullopt;
}

std::optional<double> Value::as_double() const {
  if (const auto* v = std::get_if<double>(&data_)) return *v;
  if (const auto* v = std::get_if<std::int64_t>(&data_)) return static_cast<double>(*v);
  if (const auto* v = std::get_if<std::uint64_t>(&data_)) return static_cast<double>(*v);
  return std::nullopt;
}

const Value& Value::operator[](std::string_view key) const {
  static const Value null;
  const Object* object = as_object();
  const Value* found = object ? object->find(key) : nullptr;
  return found ? *found : null;
}

std::string Value::string_or(std::string_view key, std::string_view fallback) const {
  const std::string* text = (*this)[key].as_string();
  return text ? *text : std::string(fallback);
}
std::int64_t Value::int_or(std::string_view key, std::int64_t fallback) const { return (*this)[key].as_int().value_or(fallback); }
double Value::double_or(std::string_view key, double fallback) const { return (*this)[key].as_double().value_or(fallback); }
bool Value::bool_or(std::string_view key, bool fallback) const { return (*this)[key].as_bool().value_or(fallback); }

const Array& Value::array_at(std::string_view key) const {
  static const Array none;
  const Array* array = (*this)[key].as_array();
  return array ? *array : none;
}

std::string dump(const Value& value) { return to_nlohmann(value).dump(-1, ' ', false, Ordered::error_handler_t::replace); }
std::string dump_pretty(const Value& value) { return to_nlohmann(value).dump(2, ' ', false, Ordered::error_handler_t::replace); }

Result<Value> parse(std::string_view text, std::size_t max_bytes) {
  if (text.size() > max_bytes) return error(Code::bad_json, fmt::format("JSON document of {} bytes is larger than {}", text.size(), max_bytes));
  Builder builder;
  if (!nlohmann::json::sax_parse(text, &builder)) return error(Code::bad_json, "not a JSON document: " + builder.problem());
  return std::move(builder.root);
}

}  // namespace kfab::json
