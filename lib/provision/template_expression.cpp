#include "provision/template_expression.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::provision::syntax {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

using Kind = Expression::Kind;

ExpressionPtr make(Kind kind, std::size_t offset, std::vector<ExpressionPtr> parts = {}, std::string word = {}) {
  auto out = std::make_unique<Expression>();
  out->kind = kind;
  out->offset = offset;
  out->parts = std::move(parts);
  out->word = std::move(word);
  return out;
}

template <class... Parts>
std::vector<ExpressionPtr> list_of(Parts... parts) {
  std::vector<ExpressionPtr> list;
  (list.push_back(std::move(parts)), ...);
  return list;
}

struct FilterSpec { std::string_view name; std::size_t arguments_min, arguments_max; };
constexpr std::array filters{FilterSpec{"default", 1, 1}, FilterSpec{"join", 0, 1}, FilterSpec{"upper", 0, 0}, FilterSpec{"lower", 0, 0}, FilterSpec{"length", 0, 0}};

// or, and, not, comparisons, filters, in this order of weakness.
class Reader {
 public:
  explicit Reader(Words& words) : words_(words) {}

  ExpressionPtr expression() {
    if (++depth_ > most_nesting) words_.fail_here("a simpler expression");
    ExpressionPtr left = conjunction();
    while (!words_.failed() && words_.at("or")) {
      const std::size_t offset = left->offset;
      words_.next();
      left = make(Kind::either, offset, list_of(std::move(left), conjunction()));
    }
    --depth_;
    return left;
  }

 private:
  ExpressionPtr conjunction() {
    ExpressionPtr left = negation();
    while (!words_.failed() && words_.at("and")) {
      const std::size_t offset = left->offset;
      words_.next();
      left = make(Kind::both, offset, list_of(std::move(left), negation()));
    }
    return left;
  }

  ExpressionPtr negation() {
    const std::size_t offset = words_.token().offset;
    bool negated = false;
    while (!words_.failed() && words_.take("not")) negated = !negated;
    ExpressionPtr inner = comparison();
    return negated ? make(Kind::negate, offset, list_of(std::move(inner))) : std::move(inner);
  }

  ExpressionPtr comparison() {
    ExpressionPtr left = filtered();
    if (words_.failed()) return left;
    const std::size_t offset = left->offset;
    for (const std::string_view sign : {"==", "!=", "<=", ">=", "<", ">"})
      if (words_.take(sign)) return make(Kind::compare, offset, list_of(std::move(left), filtered()), std::string(sign));
    if (words_.take("in")) return make(Kind::in, offset, list_of(std::move(left), filtered()));
    if (words_.take("not")) {
      if (!words_.take("in")) words_.fail_here("'in'");
      return make(Kind::not_in, offset, list_of(std::move(left), filtered()));
    }
    if (words_.take("is")) {
      const bool negated = words_.take("not");
      if (!words_.take("defined")) words_.fail_here("'defined'");
      return make(negated ? Kind::undefined : Kind::defined, offset, list_of(std::move(left)));
    }
    return left;
  }

  ExpressionPtr filtered() {
    ExpressionPtr left = indexed();
    while (!words_.failed() && words_.take("|")) {
      const Token token = words_.token();
      std::string name = words_.take_name("a filter");
      if (words_.failed()) break;
      const auto spec = std::find_if(filters.begin(), filters.end(), [&](const FilterSpec& known) { return known.name == name; });
      if (spec == filters.end()) {
        words_.fail(fmt::format("there is no filter '{}'; known are default, join, upper, lower, length", one_line(name, 40)), token.offset, token.text.size());
        break;
      }
      auto parts = list_of(std::move(left));
      if (words_.take("(")) arguments(")", parts);
      if (!words_.failed() && (parts.size() - 1 < spec->arguments_min || parts.size() - 1 > spec->arguments_max))
        words_.fail(fmt::format("{} takes {}", name, spec->arguments_max == 0 ? "no value" : "one value in parentheses"), token.offset, token.text.size());
      left = make(Kind::filter, token.offset, std::move(parts), std::move(name));
      left->size = token.text.size();
    }
    return left;
  }

  ExpressionPtr indexed() {
    ExpressionPtr left = primary();
    while (!words_.failed() && words_.at("[")) {
      const std::size_t offset = words_.token().offset;
      words_.next();
      ExpressionPtr index = expression();
      if (!words_.failed() && !words_.take("]")) words_.fail_here("']'");
      left = make(Kind::index, offset, list_of(std::move(left), std::move(index)));
      left->size = 1;
    }
    return left;
  }

  void arguments(std::string_view close, std::vector<ExpressionPtr>& parts) {
    if (words_.take(close)) return;
    do parts.push_back(expression());
    while (!words_.failed() && words_.take(","));
    if (!words_.failed() && !words_.take(close)) words_.fail_here(fmt::format("'{}'", close));
  }

  ExpressionPtr primary() {
    const Token token = words_.token();
    auto out = make(Kind::literal, token.offset);
    out->size = token.text.size();
    switch (token.kind) {
      case Token::Kind::text: out->value = token.text; break;
      case Token::Kind::number: out->value = number(token); break;
      case Token::Kind::name: read_word(token.text, *out); break;
      case Token::Kind::sign:
        if (token.text == "(") {
          words_.next();
          out = expression();
          if (!words_.failed() && !words_.take(")")) words_.fail_here("')'");
          return out;
        }
        if (token.text == "[") {
          words_.next();
          out->kind = Kind::list;
          arguments("]", out->parts);
          return out;
        }
        [[fallthrough]];
      case Token::Kind::end: words_.fail_here("a name or a value"); return out;
    }
    words_.next();
    return out;
  }

  void read_word(std::string_view word, Expression& out) {
    static constexpr std::array<std::string_view, 6> keywords{"and", "or", "not", "in", "is", "defined"};
    if (word == "true" || word == "True") out.value = true;
    else if (word == "false" || word == "False") out.value = false;
    else if (std::find(keywords.begin(), keywords.end(), word) != keywords.end()) words_.fail_here("a name or a value");
    else {
      out.kind = Kind::name;
      out.word = word;
    }
  }

  json::Value number(const Token& token) {
    const char* const end = token.text.data() + token.text.size();
    std::int64_t whole = 0;
    if (const auto [at, wrong] = std::from_chars(token.text.data(), end, whole); wrong == std::errc{} && at == end) return whole;
    double fraction = 0;
    if (const auto [at, wrong] = std::from_chars(token.text.data(), end, fraction); wrong == std::errc{} && at == end) return fraction;
    words_.fail(fmt::format("'{}' is no number", one_line(token.text, 40)), token.offset, token.text.size());
    return {};
  }

  Words& words_;
  std::size_t depth_ = 0;
};

}  // namespace

Words::Words(std::string_view whole, std::size_t begin, std::size_t end) : whole_(whole), at_(begin), end_(end) { next(); }

void Words::fail(std::string message, std::size_t offset, std::size_t size) {
  if (!problem_) problem_ = problem_at(code::template_syntax, std::move(message), whole_, offset, std::max<std::size_t>(size, 1));
}

void Words::fail_here(std::string_view expected) {
  fail(token_.kind == Token::Kind::end ? fmt::format("{} is missing", expected)
                                       : fmt::format("{} was expected, found '{}'", expected, one_line(token_.text, 40)),
       token_.offset, token_.text.size());
}

bool Words::at(std::string_view sign_or_word) const {
  return (token_.kind == Token::Kind::name || token_.kind == Token::Kind::sign) && token_.text == sign_or_word;
}

bool Words::take(std::string_view sign_or_word) {
  if (!at(sign_or_word)) return false;
  next();
  return true;
}

std::string Words::take_name(std::string_view what) {
  if (token_.kind != Token::Kind::name) {
    fail_here(what);
    return {};
  }
  std::string name(token_.text);
  next();
  return name;
}

void Words::expect_end() {
  if (!failed() && token_.kind != Token::Kind::end) fail(fmt::format("'{}' was not expected here", one_line(token_.text, 40)), token_.offset, token_.text.size());
}

void Words::next() {
  while (at_ < end_ && (whole_[at_] == ' ' || whole_[at_] == '\t')) ++at_;
  token_ = {Token::Kind::end, {}, at_};
  if (at_ >= end_ || failed()) return;
  const char c = whole_[at_];
  if (is_letter(c)) return read_name();
  if (is_digit(c) || (c == '-' && at_ + 1 < end_ && is_digit(whole_[at_ + 1]))) return read_number();
  if (c == '\'' || c == '"') return read_text(c);
  for (const std::string_view sign : {"==", "!=", "<=", ">="})
    if (whole_.substr(at_, 2) == sign) return take_token(Token::Kind::sign, 2);
  if (std::string_view("<>()[],|=").find(c) != std::string_view::npos) return take_token(Token::Kind::sign, 1);
  fail(fmt::format("'{}' has no meaning here", one_line(whole_.substr(at_, 1), 4)), at_, 1);
}

void Words::take_token(Token::Kind kind, std::size_t size) {
  token_ = {kind, whole_.substr(at_, size), at_};
  at_ += size;
}

// a.b-c.d: names of variables may have a minus within, and dots between parts.
void Words::read_name() {
  std::size_t size = 1;
  while (at_ + size < end_) {
    const char c = whole_[at_ + size];
    const bool joins = (c == '.' || c == '-') && at_ + size + 1 < end_ && (is_letter(whole_[at_ + size + 1]) || (c == '-' && is_digit(whole_[at_ + size + 1])));
    if (!is_letter(c) && !is_digit(c) && !joins) break;
    ++size;
  }
  take_token(Token::Kind::name, size);
}

void Words::read_number() {
  std::size_t size = 1;
  while (at_ + size < end_ && (is_digit(whole_[at_ + size]) || whole_[at_ + size] == '.')) ++size;
  take_token(Token::Kind::number, size);
}

void Words::read_text(char quote) {
  const auto close = whole_.find(quote, at_ + 1);
  if (close == std::string_view::npos || close >= end_) return fail("a text is not closed", at_, 1);
  token_ = {Token::Kind::text, whole_.substr(at_ + 1, close - at_ - 1), at_};
  at_ = close + 1;
}

ExpressionPtr read_expression(Words& words) { return Reader(words).expression(); }

}  // namespace kfab::provision::syntax
