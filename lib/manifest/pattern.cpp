#include "manifest/pattern.hpp"

#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/text.hpp"

namespace kfab::manifest {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }

// The digits of the `which`th number in a name.
std::string_view number_in(std::string_view name, std::size_t which) {
  for (std::size_t p = 0; p < name.size();) {
    if (!digit(name[p])) {
      ++p;
      continue;
    }
    std::size_t end = p;
    while (end < name.size() && digit(name[end])) ++end;
    if (--which == 0) return name.substr(p, end - p);
    p = end;
  }
  return {};
}

Diagnostic problem(std::string message, std::size_t begin, std::size_t end) {
  Diagnostic d = make_diagnostic(code::bad_pattern, std::move(message));
  SourceSpan span;
  span.line = span.end_line = 1;
  span.column = static_cast<std::uint32_t>(begin + 1);
  span.end_column = static_cast<std::uint32_t>(end + 1);
  span.byte_offset = begin;
  d.span = span;
  return d;
}

constexpr std::int64_t largest = 1'000'000'000'000;   // results stay far from overflow

}  // namespace

class PatternParser {
 public:
  explicit PatternParser(std::string_view text) : text_(text) {}

  Result<Pattern> parse() {
    std::string literal;
    const auto flush = [&] {
      if (literal.empty()) return;
      Pattern::Part part;
      part.text = std::move(literal);
      literal.clear();
      pattern_.parts_.push_back(std::move(part));
    };
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if ((c == '{' || c == '}') && at_ + 1 < text_.size() && text_[at_ + 1] == c) {
        literal += c;
        at_ += 2;
      } else if (c == '}') {
        return problem("a '}' has no '{' before it", at_, at_ + 1);
      } else if (c == '{') {
        flush();
        KFAB_TRY_VOID(field());
      } else {
        literal += c;
        ++at_;
      }
    }
    flush();
    return std::move(pattern_);
  }

 private:
  Status field() {
    const std::size_t open = at_++;
    const std::size_t close = text_.find('}', open);
    if (close == std::string_view::npos) return problem("a '{' is not closed", open, text_.size());
    end_ = close;
    Pattern::Part part;
    const std::string_view inside = trim(text_.substr(at_, close - at_));
    pattern_.constant_ = false;
    if (inside == "name" || inside == "rack") {
      part.op = inside == "name" ? Pattern::Op::name : Pattern::Op::rack;
    } else if (const auto which = numbered(inside)) {
      part.op = Pattern::Op::number_text;
      part.which = *which;
    } else {
      part.op = Pattern::Op::evaluate;
      KFAB_TRY_VOID(sum(part, 0));
      skip();
      if (at_ < end_ && text_[at_] == ':') {
        const std::string_view width = trim(text_.substr(at_ + 1, end_ - at_ - 1));
        const auto [stop, bad] = std::from_chars(width.data(), width.data() + width.size(), part.width);
        if (bad != std::errc{} || stop != width.data() + width.size() || width.front() != '0' || part.width < 1 || part.width > 18)
          return problem("after ':' stands a width with a zero before it, such as 03", at_ + 1, end_);
        at_ = end_;
      }
      if (at_ != end_) return problem(fmt::format("'{}' is not expected here", text_[at_]), at_, at_ + 1);
    }
    at_ = close + 1;
    pattern_.parts_.push_back(std::move(part));
    return ok();
  }

  // n1 .. n99
  static std::optional<std::size_t> numbered(std::string_view word) {
    std::size_t which = 0;
    if (word.size() < 2 || word.size() > 3 || word[0] != 'n') return std::nullopt;
    const auto [stop, bad] = std::from_chars(word.data() + 1, word.data() + word.size(), which);
    if (bad != std::errc{} || stop != word.data() + word.size() || which == 0) return std::nullopt;
    return which;
  }

  void skip() {
    while (at_ < end_ && text_[at_] == ' ') ++at_;
  }
  bool take(char c) {
    skip();
    if (at_ >= end_ || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  Status sum(Pattern::Part& part, int depth) {
    KFAB_TRY_VOID(product(part, depth));
    for (;;) {
      const bool plus = take('+');
      if (!plus && !take('-')) return ok();
      KFAB_TRY_VOID(product(part, depth));
      part.program.push_back({plus ? Pattern::Step::add : Pattern::Step::subtract, 0});
    }
  }

  Status product(Pattern::Part& part, int depth) {
    KFAB_TRY_VOID(factor(part, depth));
    for (;;) {
      Pattern::Step step{};
      if (take('*')) step = Pattern::Step::multiply;
      else if (take('/')) step = Pattern::Step::divide;
      else if (take('%')) step = Pattern::Step::remainder;
      else return ok();
      KFAB_TRY_VOID(factor(part, depth));
      part.program.push_back({step, 0});
    }
  }

  Status factor(Pattern::Part& part, int depth) {
    if (depth > 8 || part.program.size() > 64) return problem("the expression is too long", at_, end_);
    if (take('(')) {
      KFAB_TRY_VOID(sum(part, depth + 1));
      if (!take(')')) return problem("a ')' is missing", at_, std::max(end_, at_ + 1));
      return ok();
    }
    skip();
    std::size_t stop = at_;
    while (stop < end_ && (digit(text_[stop]) || (text_[stop] >= 'a' && text_[stop] <= 'z'))) ++stop;
    const std::string_view word = text_.substr(at_, stop - at_);
    if (word == "i") {
      part.program.push_back({Pattern::Step::index, 0});
    } else if (word == "n") {
      part.program.push_back({Pattern::Step::position, 0});
    } else if (const auto which = numbered(word)) {
      part.program.push_back({Pattern::Step::name_number, static_cast<std::int64_t>(*which)});
    } else {
      std::int64_t value = 0;
      const auto [end, bad] = std::from_chars(word.data(), word.data() + word.size(), value);
      if (word.empty() || bad != std::errc{} || end != word.data() + word.size() || value > largest)
        return problem(word.empty() ? "a number is missing here: i, n, n1, n2 or digits"
                                    : fmt::format("'{}' is none of name, rack, i, n, n1, n2, ... and no number", word),
                       at_, std::max(stop, at_ + 1));
      part.program.push_back({Pattern::Step::push, value});
    }
    at_ = stop;
    return ok();
  }

  std::string_view text_;
  std::size_t at_ = 0, end_ = 0;
  Pattern pattern_;
};

Result<Pattern> Pattern::parse(std::string_view text) { return PatternParser(text).parse(); }

Result<std::string> Pattern::operator()(const Inputs& in) const {
  std::string out;
  std::vector<std::int64_t> stack_space;
  const auto no_number = [&](std::size_t which) {
    return make_diagnostic(code::bad_pattern, fmt::format("the name '{}' has no number {}", one_line(in.name, 60), which));
  };
  for (const Part& part : parts_) {
    switch (part.op) {
      case Op::literal: out += part.text; break;
      case Op::name: out += in.name; break;
      case Op::rack: out += in.rack; break;
      case Op::number_text: {
        const std::string_view digits = number_in(in.name, part.which);
        if (digits.empty()) return no_number(part.which);
        out += digits;
        break;
      }
      case Op::evaluate: {
        std::vector<std::int64_t>& stack = stack_space;
        stack.clear();
        for (const Instruction& one : part.program) {
          switch (one.step) {
            case Step::push: stack.push_back(one.operand); continue;
            case Step::index: stack.push_back(static_cast<std::int64_t>(in.index)); continue;
            case Step::position: stack.push_back(static_cast<std::int64_t>(in.index) + 1); continue;
            case Step::name_number: {
              const std::string_view digits = number_in(in.name, static_cast<std::size_t>(one.operand));
              std::int64_t value = 0;
              const auto [end, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
              if (digits.empty() || bad != std::errc{} || value > largest) return no_number(static_cast<std::size_t>(one.operand));
              stack.push_back(value);
              continue;
            }
            default: break;
          }
          const std::int64_t b = stack.back();
          stack.pop_back();
          std::int64_t& a = stack.back();
          if ((one.step == Step::divide || one.step == Step::remainder) && b == 0)
            return make_diagnostic(code::bad_pattern, fmt::format("for '{}' the pattern divides by zero", one_line(in.name, 60)));
          std::int64_t result = 0;
          bool over = false;
          switch (one.step) {
            case Step::add: over = __builtin_add_overflow(a, b, &result); break;
            case Step::subtract: over = __builtin_sub_overflow(a, b, &result); break;
            case Step::multiply: over = __builtin_mul_overflow(a, b, &result); break;
            case Step::divide: result = a / b; break;
            default: result = a % b; break;
          }
          if (over || result > largest || result < -largest)
            return make_diagnostic(code::bad_pattern, fmt::format("for '{}' the pattern gives a number that is too large", one_line(in.name, 60)));
          a = result;
        }
        if (stack.back() < 0)
          return make_diagnostic(code::bad_pattern, fmt::format("for '{}' the pattern gives a negative number", one_line(in.name, 60)));
        char digits[24];
        const auto written = std::to_chars(digits, digits + sizeof digits, stack.back());
        const auto length = static_cast<std::size_t>(written.ptr - digits);
        if (length < static_cast<std::size_t>(part.width)) out.append(static_cast<std::size_t>(part.width) - length, '0');
        out.append(digits, length);
        break;
      }
    }
  }
  return out;
}

}  // namespace kfab::manifest
