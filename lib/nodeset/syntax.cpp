#include "nodeset/syntax.hpp"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "base/codes/nodeset.hpp"
#include "base/text.hpp"
#include "nodeset/name.hpp"

namespace kfab::nodeset {
namespace {

constexpr std::size_t max_depth = 64;   // of parentheses

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::optional<Op> operator_of(char c) {
  switch (c) {
    case ',': return Op::unite;
    case '!': return Op::subtract;
    case '&': return Op::intersect;
    case '^': return Op::differ;
    default: return std::nullopt;
  }
}

bool ends_name(char c) { return is_blank(c) || operator_of(c) || c == '(' || c == ')'; }

std::string pad(std::string_view digits, std::size_t width) {
  return std::string(width - std::min(width, digits.size()), '0') + std::string(digits);
}

// Reads ranges at the position it is given; shared by names and by `slice`.
class RangeReader {
 public:
  RangeReader(std::string_view text, std::size_t& at) : text_(text), at_(at) {}

  Result<std::vector<Range>> read() {
    std::vector<Range> ranges;
    for (;;) {
      KFAB_TRY(range, read_one());
      ranges.push_back(range);
      skip_blanks();
      if (at_ == text_.size() || text_[at_] == ']') return ranges;
      if (text_[at_] != ',') return unexpected();
      ++at_;
    }
  }

 private:
  struct Digits { std::string_view text; Place place; };

  void skip_blanks() { while (at_ < text_.size() && is_blank(text_[at_])) ++at_; }

  Diagnostic fail(Place place, Code code, std::string message) const { return at_place(text_, place, code, std::move(message)); }

  Diagnostic unexpected() const {
    if (at_ == text_.size()) return fail({at_, at_}, code::nodeset_syntax, "the expression ends where a number is expected");
    const char c = text_[at_];
    if (c == ']' || c == ',') return fail({at_, at_ + 1}, code::nodeset_syntax, fmt::format("a number is missing before '{}'", c));
    if (c == '-') return fail({at_, at_ + 1}, code::nodeset_syntax, "a number is missing before '-': there are no negative numbers in node names");
    std::size_t end = at_ + 1;   // all bytes of one UTF-8 character
    while (end < text_.size() && (static_cast<unsigned char>(text_[end]) & 0xC0) == 0x80) ++end;
    return fail({at_, end}, code::nodeset_syntax, fmt::format("'{}' cannot stand in a range of numbers", one_line(text_.substr(at_, end - at_))));
  }

  Result<Digits> read_digits() {
    skip_blanks();
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
    if (at_ == begin) return unexpected();
    if (at_ - begin > max_width)
      return fail({begin, at_}, code::nodeset_syntax, fmt::format("a number of {} digits: at most {} are allowed", at_ - begin, max_width));
    return Digits{text_.substr(begin, at_ - begin), {begin, at_}};
  }

  bool accept(char c) {
    skip_blanks();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  Result<Range> read_one() {
    KFAB_TRY(first, read_digits());
    Range range{read_number(first.text), read_number(first.text), 1, false};
    range.padded = is_padded(range.first);
    if (!accept('-')) return range;
    KFAB_TRY(last, read_digits());
    range.last = read_number(last.text);
    const Place whole{first.place.begin, last.place.end};
    if (range.last.value < range.first.value) {
      auto d = fail(whole, code::nodeset_syntax, fmt::format("the range {}-{} runs backwards", first.text, last.text));
      d.suggestions.push_back(fmt::format("{}-{}", last.text, first.text));
      return d;
    }
    range.padded = is_padded(range.first) || is_padded(range.last);
    if (range.padded && range.first.width != range.last.width) return padding_mismatch(first, last, whole);
    if (!accept('/')) return range;
    KFAB_TRY(step, read_digits());
    range.step = read_number(step.text).value;
    if (range.step == 0) return fail(step.place, code::nodeset_syntax, "the step of a range cannot be 0");
    return range;
  }

  Diagnostic padding_mismatch(const Digits& first, const Digits& last, Place whole) const {
    auto d = fail(whole, code::nodeset_padding,
                  fmt::format("{} has {} and {} has {}, and one of them is padded with zeros", first.text,
                              plural(static_cast<long long>(first.text.size()), "digit"), last.text,
                              plural(static_cast<long long>(last.text.size()), "digit")));
    const std::size_t width = std::max(first.text.size(), last.text.size());
    d.suggestions.push_back(pad(first.text, width) + "-" + pad(last.text, width));
    d.suggestions.push_back(fmt::format("{}-{}", read_number(first.text).value, read_number(last.text).value));
    return d;
  }

  std::string_view text_;
  std::size_t& at_;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<std::vector<Term::Next>> parse() {
    skip_blanks();
    if (done()) return fail({0, text_.size()}, "the node set is empty");
    KFAB_TRY(terms, parse_set(0));
    if (!done()) return fail({at_, at_ + 1}, "')' without a '(' before it");
    return terms;
  }

 private:
  bool done() const { return at_ == text_.size(); }
  char peek() const { return text_[at_]; }
  Diagnostic fail(Place place, std::string message) const {
    return at_place(text_, place, code::nodeset_syntax, std::move(message));
  }
  bool skip_blanks() {
    const std::size_t before = at_;
    while (!done() && is_blank(peek())) ++at_;
    return at_ != before;
  }

  Result<std::vector<Term::Next>> parse_set(std::size_t depth) {
    std::vector<Term::Next> terms;
    Op op = Op::unite;
    for (;;) {
      KFAB_TRY(term, parse_term(depth));
      terms.push_back({op, std::move(term)});
      const bool blanks = skip_blanks();
      if (done() || peek() == ')') return terms;
      op = Op::unite;
      if (const auto given = operator_of(peek())) {
        op = *given;
        ++at_;
        skip_blanks();
      } else if (!blanks) {
        return fail({at_, at_ + 1}, fmt::format("an operator is missing before '{}'", one_line(text_.substr(at_, 1))));
      }
    }
  }

  Result<Term> parse_term(std::size_t depth) {
    if (done()) return missing_term();
    if (peek() == ')' || operator_of(peek())) return missing_term();
    if (peek() == '(') return parse_parentheses(depth);
    Term term;
    term.place.begin = at_;
    if (peek() == '@') {
      ++at_;
      term.kind = Term::Kind::group;
      if (!done() && peek() == '@') {
        ++at_;
        term.kind = Term::Kind::source_names;
      }
    }
    KFAB_TRY(pieces, parse_pieces());
    term.pieces = std::move(pieces);
    term.place.end = at_;
    if (term.kind == Term::Kind::group && term.pieces.empty()) return fail(term.place, "a group name is missing after '@'");
    KFAB_TRY_VOID(check_term(term));
    return term;
  }

  Diagnostic missing_term() const {
    if (done()) {
      const std::size_t last = text_.find_last_not_of(" \t\n\v\f\r");
      return fail({last, last + 1}, fmt::format("a name is missing after '{}'", text_[last]));
    }
    return fail({at_, at_ + 1}, fmt::format("a name is missing before '{}'", peek()));
  }

  Result<Term> parse_parentheses(std::size_t depth) {
    Term term;
    term.kind = Term::Kind::parentheses;
    term.place.begin = at_;
    if (depth == max_depth) return fail({at_, at_ + 1}, fmt::format("parentheses nested deeper than {}", max_depth));
    ++at_;
    skip_blanks();
    if (done()) return fail({term.place.begin, term.place.begin + 1}, "'(' without a ')' after it");
    KFAB_TRY(inside, parse_set(depth + 1));
    if (done()) return fail({term.place.begin, term.place.begin + 1}, "'(' without a ')' after it");
    ++at_;   // the ')' at which parse_set stopped
    term.inside = std::move(inside);
    term.place.end = at_;
    return term;
  }

  Result<std::vector<Piece>> parse_pieces() {
    std::vector<Piece> pieces;
    while (!done() && !ends_name(peek())) {
      const char c = peek();
      Piece piece;
      piece.place.begin = at_;
      if (c == '[') {
        KFAB_TRY(ranges, parse_brackets());
        piece.kind = Piece::Kind::ranges;
        piece.ranges = std::move(ranges);
      } else if (c == ']') {
        return fail({at_, at_ + 1}, "']' without a '[' before it");
      } else if (c == '@') {
        auto d = fail({at_, at_ + 1}, "'@' inside a name");
        d.help.push_back("a user is no part of a node's name: say it in the manifest or with --user");
        return d;
      } else if (c == '*' || c == '?') {
        piece.kind = c == '*' ? Piece::Kind::any : Piece::Kind::one;
        ++at_;
      } else {
        while (!done() && !ends_name(peek()) && std::string_view("[]@*?").find(peek()) == std::string_view::npos)
          piece.text += text_[at_++];
      }
      piece.place.end = at_;
      pieces.push_back(std::move(piece));
    }
    return pieces;
  }

  Result<std::vector<Range>> parse_brackets() {
    const std::size_t open = at_++;
    auto ranges = RangeReader(text_, at_).read();
    if (!ranges && done()) return fail({open, open + 1}, "'[' without a ']' after it");
    if (!ranges) return ranges;
    if (done()) return fail({open, open + 1}, "'[' without a ']' after it");
    ++at_;
    return ranges;
  }

  Status check_term(const Term& term) const {
    const auto& pieces = term.pieces;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (pieces[i].kind != Piece::Kind::text) continue;
      // A leading dash is a fault of the whole name only; inside, any text is checked for its bytes and its numbers.
      const std::string_view text = pieces[i].text;
      const bool dash_inside = i > 0 && text.front() == '-';
      const auto fault = find_name_fault(dash_inside ? "x" + std::string(text) : std::string(text));
      if (fault) return name_fault(term, pieces[i], *fault);
    }
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (pieces[i].kind != Piece::Kind::ranges) continue;
      std::size_t next = i + 1;
      if (next < pieces.size() && is_all_digits(pieces[next])) ++next;
      if (next < pieces.size() && pieces[next].kind == Piece::Kind::ranges) return reopened(pieces[i], pieces[next]);
      const bool digits_follow = i + 1 < pieces.size() && pieces[i + 1].kind == Piece::Kind::text && is_digit(pieces[i + 1].text.front());
      const bool stepped = std::any_of(pieces[i].ranges.begin(), pieces[i].ranges.end(), [](const Range& r) { return r.step != 1; });
      if (digits_follow && stepped) return fail(pieces[i].place, "a range with a step cannot be followed by digits");
      const bool digits_lead = i > 0 && pieces[i - 1].kind == Piece::Kind::text && is_digit(pieces[i - 1].text.back());
      if (digits_lead) KFAB_TRY_VOID(check_after_digits(pieces[i - 1], pieces[i]));
    }
    return ok();
  }

  // n1[8-12]: five nodes n18, n19, n110 to n112 by one reading, the 95 nodes n18 to n112 by another.
  Status check_after_digits(const Piece& lead, const Piece& ranges) const {
    for (const Range& range : ranges.ranges) {
      if (range.first.width == range.last.width) continue;
      auto d = at_place(text_, {lead.place.end - 1, ranges.place.end}, code::nodeset_padding,
                        fmt::format("{}-{} directly after a digit goes from {} to {}, which tools read differently",
                                    range.first.value, range.last.value, plural(static_cast<long long>(range.first.width), "digit"),
                                    plural(static_cast<long long>(range.last.width), "digit")));
      d.help.push_back("write the whole number inside the brackets, such as n[18-19,110-112]");
      return d;
    }
    return ok();
  }

  static bool is_all_digits(const Piece& piece) {
    return piece.kind == Piece::Kind::text && std::all_of(piece.text.begin(), piece.text.end(), is_digit);
  }

  Diagnostic name_fault(const Term& term, const Piece& piece, const NameFault& fault) const {
    const std::size_t begin = std::min(piece.place.begin + fault.at, piece.place.end);
    auto d = at_place(text_, {begin, std::min(begin + fault.length, piece.place.end)}, code::bad_node_name, fault.message);
    if (piece.text.front() == '-' && begin == term.place.begin) d.help.push_back("to leave nodes out write '!' before them: n[1-5]!n3");
    return d;
  }

  Diagnostic reopened(const Piece& first, const Piece& second) const {
    auto d = fail(second.place, "a bracket directly after a bracket is read differently by every tool");
    d.help.push_back(fmt::format("put a text between the two, or write one range of the whole numbers, after {}",
                                 one_line(text_.substr(first.place.begin, first.place.end - first.place.begin), 40)));
    return d;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

Diagnostic at_place(std::string_view expression, Place place, Code code, std::string message) {
  Diagnostic d = error(code, std::move(message));
  SourceSpan span;
  span.byte_offset = place.begin;
  std::size_t line_start = 0;
  std::uint32_t line = 1;
  const auto point = [&](std::size_t to, std::uint32_t& out_line, std::uint32_t& out_column) {
    for (auto newline = expression.find('\n', line_start); newline < to; newline = expression.find('\n', line_start)) {
      line_start = newline + 1;
      ++line;
    }
    out_line = line;
    out_column = static_cast<std::uint32_t>(code_points(expression.substr(line_start, to - line_start)) + 1);
  };
  point(place.begin, span.line, span.column);
  point(place.end, span.end_line, span.end_column);
  d.span = span;
  return d;
}

Result<std::vector<Range>> parse_ranges(std::string_view expression, std::size_t& at) { return RangeReader(expression, at).read(); }

Result<std::vector<Term::Next>> parse_syntax(std::string_view expression) { return Parser(expression).parse(); }

}  // namespace kfab::nodeset
