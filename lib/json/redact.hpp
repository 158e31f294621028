#pragma once

#include "base/diagnostic.hpp"
#include "base/event.hpp"
#include "base/redact.hpp"
#include "json/value.hpp"

namespace kfab::json {

// Every string of a value, keys aside, without the secrets that the redactor knows.
Value redacted(const Value&, const Redactor&);
Value redacted(Value&&, const Redactor&);   // without a copy where there is no secret: results can be large
Diagnostics redacted(Diagnostics, const Redactor&);

// Hands events on without them.
class RedactingSink final : public EventSink {
 public:
  RedactingSink(EventSink& next, const Redactor& redactor) : next_(next), redactor_(redactor) {}
  void emit(const Event&) override;

 private:
  EventSink& next_;
  const Redactor& redactor_;
};

}  // namespace kfab::json
