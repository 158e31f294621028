#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.hpp"

namespace kfab::json {

class Value;
using Array = std::vector<Value>;
using Member = std::pair<std::string, Value>;

// A JSON object whose members keep the order in which they were set: the order of declaration is the order of output.
class Object {
 public:
  // Written in the .cpp, as those of Value are: half of all sources would else compile the same copies and destructors again.
  Object();
  Object(const Object&);
  Object(Object&&) noexcept;
  Object& operator=(const Object&);
  Object& operator=(Object&&) noexcept;
  ~Object();
  Object(std::initializer_list<Member> members);
  // Of members whose names are known to differ; `set` looks at every member there is, which for many takes long.
  static Object from_members(std::vector<Member> members);
  // Sets or replaces. Returns *this, so that an object is built in one expression.
  Object& set(std::string key, Value value);
  const Value* find(std::string_view key) const;   // null when there is none
  const std::vector<Member>& members() const { return members_; }
  bool empty() const { return members_.empty(); }

 private:
  std::vector<Member> members_;
};

// Any JSON value. Integers keep 64 bits; a number that is not finite is written as null, for JSON has none.
class Value {
 public:
  Value();   // null
  Value(const Value&);
  Value(Value&&) noexcept;
  Value& operator=(const Value&);
  Value& operator=(Value&&) noexcept;
  ~Value();
  Value(std::nullptr_t);
  Value(bool v);
  Value(int v);
  Value(unsigned v);
  Value(long v);
  Value(long long v);
  Value(unsigned long v);
  Value(unsigned long long v);
  Value(double v);
  Value(const char* v);
  Value(std::string v);
  Value(std::string_view v);
  Value(Array v);
  Value(Object v);
  template <class T>
  Value(const std::optional<T>& v) { if (v) *this = Value(*v); }   // nothing is null, never absent

  bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_string() const { return std::holds_alternative<std::string>(data_); }
  bool is_array() const { return std::holds_alternative<Array>(data_); }
  bool is_object() const { return std::holds_alternative<Object>(data_); }
  bool is_number() const;

  // What it holds, if it is of that kind; numbers convert to each other where they fit.
  std::optional<bool> as_bool() const;
  std::optional<std::int64_t> as_int() const;
  std::optional<std::uint64_t> as_uint() const;
  std::optional<double> as_double() const;
  const std::string* as_string() const { return std::get_if<std::string>(&data_); }
  const Array* as_array() const { return std::get_if<Array>(&data_); }
  const Object* as_object() const { return std::get_if<Object>(&data_); }

  // The member, or a null value when this is no object or has none: reading untrusted documents needs no checks
  // before each step, and what is missing reads as null.
  const Value& operator[](std::string_view key) const;
  std::string string_or(std::string_view key, std::string_view fallback = {}) const;
  std::int64_t int_or(std::string_view key, std::int64_t fallback) const;
  double double_or(std::string_view key, double fallback) const;
  bool bool_or(std::string_view key, bool fallback) const;
  const Array& array_at(std::string_view key) const;   // empty when absent

  using Data = std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, Array, Object>;
  const Data& data() const { return data_; }

 private:
  Data data_;
};

// One line, or indented by two. Invalid UTF-8 is replaced by U+FFFD. No final newline.
std::string dump(const Value&);
std::string dump_pretty(const Value&);

// An array whose elements are made one at a time while it is written, because all together they would fill the memory. It stands where
// the empty array `in` stands in the document; `each` hands every element to its argument, in order.
struct StreamedArray {
  const Value* in = nullptr;
  std::function<void(const std::function<void(const Value&)>& element)> each;
};
// The same text, written while it is made.
void write(std::ostream&, const Value&, bool pretty, const StreamedArray& = {});

// Reads one document. Errors: bad_json, with the byte offset. Because this reads what nodes send, nesting deeper than
// 64, more than 2 million values, more than 4,096 members in one object and documents past `max_bytes` are refused. Of
// members with one name the last counts.
Result<Value> parse(std::string_view text, std::size_t max_bytes = std::size_t{64} << 20);

}  // namespace kfab::json
