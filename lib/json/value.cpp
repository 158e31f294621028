#include "json/value.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <ostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/codes/store.hpp"
#include "base/text.hpp"

namespace kfab::json {
namespace {

// Bounds of what is read, because nodes and files that others wrote send it: the stack, the memory (a value takes 40
// bytes, an empty array in the text three), and the time that looking a key up takes.
constexpr std::size_t max_depth = 64;
constexpr std::size_t max_values = 2'000'000;
constexpr std::size_t max_members = 4'096;

// Writes a value as text. Our own and not nlohmann's, whose ordered objects look for a key by trying every one.
class Printer {
 public:
  explicit Printer(bool pretty, std::ostream* out = nullptr, const StreamedArray* streamed = nullptr) : pretty_(pretty), out_(out), streamed_(streamed) {}
  std::string text;

  void print(const Value& value) {
    if (streamed_ && &value == streamed_->in) return put_streamed();
    std::visit([this](const auto& v) { put(v); }, value.data());
  }
  void flush() {
    *out_ << text;
    text.clear();
  }

 private:
  void put(std::monostate) { text += "null"; }
  void put(bool v) { text += v ? "true" : "false"; }
  void put(std::int64_t v) { fmt::format_to(std::back_inserter(text), "{}", v); }
  void put(std::uint64_t v) { fmt::format_to(std::back_inserter(text), "{}", v); }
  void put(double v) {
    // The shortest digits that read back as the same number; a whole number keeps ".0" and stays a double.
    if (std::isfinite(v)) text += nlohmann::json(v).dump();
    else text += "null";
  }
  void put(const std::string& v) { quote(is_valid_utf8(v) ? v : replace_invalid_utf8(v)); }
  void put(const Array& array) {
    if (array.empty()) { text += "[]"; return; }
    text += '[';
    ++depth_;
    for (std::size_t i = 0; i < array.size(); ++i) {
      if (i > 0) text += ',';
      new_line();
      print(array[i]);
    }
    --depth_;
    new_line();
    text += ']';
  }
  void put_streamed() {
    bool first = true;
    text += '[';
    ++depth_;
    streamed_->each([&](const Value& element) {
      if (!first) text += ',';
      first = false;
      new_line();
      print(element);
      flush();
    });
    --depth_;
    if (!first) new_line();
    text += ']';
  }
  void put(const Object& object) {
    if (object.empty()) { text += "{}"; return; }
    text += '{';
    ++depth_;
    bool first = true;
    for (const auto& [key, item] : object.members()) {
      if (!first) text += ',';
      first = false;
      new_line();
      put(key);
      text += pretty_ ? ": " : ":";
      print(item);
    }
    --depth_;
    new_line();
    text += '}';
  }
  void new_line() {
    if (!pretty_) return;
    text += '\n';
    text.append(depth_ * 2, ' ');
  }
  void quote(std::string_view v) {
    text += '"';
    for (const char c : v) {
      switch (c) {
        case '"': text += "\\\""; break;
        case '\\': text += "\\\\"; break;
        case '\b': text += "\\b"; break;
        case '\f': text += "\\f"; break;
        case '\n': text += "\\n"; break;
        case '\r': text += "\\r"; break;
        case '\t': text += "\\t"; break;
        default:
          if (static_cast<unsigned char>(c) < 0x20) fmt::format_to(std::back_inserter(text), "\\u{:04x}", static_cast<unsigned>(c));
          else text += c;
      }
    }
    text += '"';
  }

  bool pretty_;
  std::size_t depth_ = 0;
  std::ostream* out_;                // null: all of it stays in `text`
  const StreamedArray* streamed_;
};

std::string print(const Value& value, bool pretty) {
  Printer printer(pretty);
  printer.print(value);
  return std::move(printer.text);
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
  bool start_object(std::size_t) override { return open(Members()); }
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
  using Members = std::vector<Member>;
  struct Level { std::variant<Array, Members> content; std::string key; };

  bool refuse(std::string why) {
    problem_ = std::move(why);
    return false;
  }
  bool open(std::variant<Array, Members> content) {
    if (open_.size() >= max_depth) return refuse(fmt::format("nested deeper than {}", max_depth));
    open_.push_back({std::move(content), {}});
    return true;
  }
  bool close() {
    auto content = std::move(open_.back().content);
    open_.pop_back();
    if (auto* array = std::get_if<Array>(&content)) return put(Value(std::move(*array)));
    auto& members = std::get<Members>(content);
    drop_repeated(members);
    return put(Value(Object::from_members(std::move(members))));
  }
  bool put(Value value) {
    if (++values_ > max_values) return refuse(fmt::format("more than {} values", max_values));
    if (open_.empty()) { root = std::move(value); return true; }
    Level& level = open_.back();
    if (auto* array = std::get_if<Array>(&level.content)) { array->push_back(std::move(value)); return true; }
    auto& members = std::get<Members>(level.content);
    if (members.size() >= max_members) return refuse(fmt::format("more than {} members in one object", max_members));
    members.emplace_back(std::move(level.key), std::move(value));
    return true;
  }

  // Of members with one name the last value counts, at the place of the first. Sorted, so that a document cannot make
  // the search for its keys quadratic.
  static void drop_repeated(Members& members) {
    std::vector<std::size_t> order(members.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      const int by_name = members[a].first.compare(members[b].first);
      return by_name != 0 ? by_name < 0 : a < b;
    });
    std::vector<char> dropped(members.size(), 0);
    bool any = false;
    for (std::size_t i = 1, first = 0; i < order.size(); ++i) {
      if (members[order[i]].first != members[order[first]].first) { first = i; continue; }
      members[order[first]].second = std::move(members[order[i]].second);
      dropped[order[i]] = 1;
      any = true;
    }
    if (!any) return;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (dropped[i]) continue;
      if (kept != i) members[kept] = std::move(members[i]);
      ++kept;
    }
    members.resize(kept);
  }

  std::vector<Level> open_;
  std::size_t values_ = 0;
  std::string problem_;
};

}  // namespace

Object::Object() = default;
Object::Object(const Object&) = default;
Object::Object(Object&&) noexcept = default;
Object& Object::operator=(const Object&) = default;
Object& Object::operator=(Object&&) noexcept = default;
Object::~Object() = default;

Value::Value() = default;
Value::Value(const Value&) = default;
Value::Value(Value&&) noexcept = default;
Value& Value::operator=(const Value&) = default;
Value& Value::operator=(Value&&) noexcept = default;
Value::~Value() = default;
Value::Value(std::nullptr_t) {}
Value::Value(bool v) : data_(v) {}
Value::Value(int v) : data_(std::int64_t{v}) {}
Value::Value(unsigned v) : data_(std::int64_t{v}) {}
Value::Value(long v) : data_(std::int64_t{v}) {}
Value::Value(long long v) : data_(std::int64_t{v}) {}
Value::Value(unsigned long v) : data_(std::uint64_t{v}) {}
Value::Value(unsigned long long v) : data_(std::uint64_t{v}) {}
Value::Value(double v) : data_(v) {}
Value::Value(const char* v) : data_(std::string(v)) {}
Value::Value(std::string v) : data_(std::move(v)) {}
Value::Value(std::string_view v) : data_(std::string(v)) {}
Value::Value(Array v) : data_(std::move(v)) {}
Value::Value(Object v) : data_(std::move(v)) {}

Object::Object(std::initializer_list<Member> members) : members_(members) {}

Object Object::from_members(std::vector<Member> members) {
  Object object;
  object.members_ = std::move(members);
  return object;
}

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

std::string dump(const Value& value) { return print(value, false); }
std::string dump_pretty(const Value& value) { return print(value, true); }

void write(std::ostream& out, const Value& value, bool pretty, const StreamedArray& streamed) {
  Printer printer(pretty, &out, streamed.in ? &streamed : nullptr);
  printer.print(value);
  printer.flush();
}

Result<Value> parse(std::string_view text, std::size_t max_bytes) {
  if (text.size() > max_bytes) return error(code::bad_json, fmt::format("JSON document of {} bytes is larger than {}", text.size(), max_bytes));
  Builder builder;
  if (!nlohmann::json::sax_parse(text, &builder)) return error(code::bad_json, "not a JSON document: " + builder.problem());
  return std::move(builder.root);
}

}  // namespace kfab::json
