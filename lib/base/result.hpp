#pragma once

#include <cassert>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/diagnostic.hpp"

namespace kfab {

// A value, or the one diagnostic that says why there is none. Errors are values everywhere below cli/; nothing
// throws across a folder's edge.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Diagnostic error) : state_(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return state_.index() == 0; }
  bool has_value() const { return state_.index() == 0; }

  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Diagnostic& error() const& { return *std::get_if<1>(&state_); }
  Diagnostic&& error() && { return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, Diagnostic> state_;
};

struct Nothing {};
using Status = Result<Nothing>;   // done, or why not
inline Status ok() { return Nothing{}; }

inline Diagnostic error(Code code, std::string message) { return make_diagnostic(code, std::move(message)); }

// KFAB_TRY(name, expr): `name` is the value of the Result, or the enclosing function returns its error.
#define KFAB_TRY_JOIN2(a, b) a##b
#define KFAB_TRY_JOIN(a, b) KFAB_TRY_JOIN2(a, b)
#define KFAB_TRY(name, expr)                                              \
  auto KFAB_TRY_JOIN(kfab_try_, __LINE__) = (expr);                       \
  if (!KFAB_TRY_JOIN(kfab_try_, __LINE__)) return std::move(KFAB_TRY_JOIN(kfab_try_, __LINE__)).error(); \
  auto name = std::move(KFAB_TRY_JOIN(kfab_try_, __LINE__)).value()
#define KFAB_TRY_VOID(expr)                                    \
  do {                                                         \
    auto kfab_try_status = (expr);                             \
    if (!kfab_try_status) return std::move(kfab_try_status).error(); \
  } while (false)

}  // namespace kfab
