#include "json/redact.hpp"

#include <utility>

namespace kfab::json {

Value redacted(const Value& value, const Redactor& redactor) {
  if (redactor.empty()) return value;
  if (const auto* text = value.as_string()) return redactor.text(*text);
  if (const auto* items = value.as_array()) {
    Array out;
    out.reserve(items->size());
    for (const auto& item : *items) out.push_back(redacted(item, redactor));
    return out;
  }
  if (const auto* object = value.as_object()) {
    std::vector<Member> out;
    out.reserve(object->members().size());
    for (const auto& [key, member] : object->members()) out.emplace_back(key, redacted(member, redactor));
    return Object::from_members(std::move(out));
  }
  return value;
}

Value redacted(Value&& value, const Redactor& redactor) {
  if (redactor.empty()) return std::move(value);
  return redacted(std::as_const(value), redactor);
}

Diagnostics redacted(Diagnostics all, const Redactor& redactor) {
  if (redactor.empty()) return all;
  const auto clean = [&](std::string& text) { text = redactor.text(std::move(text)); };
  for (Diagnostic& one : all) {
    clean(one.message);
    clean(one.label);
    for (auto* list : {&one.help, &one.suggestions})
      for (auto& text : *list) clean(text);
  }
  return all;
}

void RedactingSink::emit(const Event& event) {
  if (redactor_.empty()) return next_.emit(event);
  Event clean = event;
  clean.step = redactor_.text(std::move(clean.step));
  clean.message = redactor_.text(std::move(clean.message));
  next_.emit(clean);
}

}  // namespace kfab::json
