#include "provision/template_syntax.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::provision::syntax {
namespace {

constexpr std::string_view escaped_opening = "{{{{";

SourceSpan span_at(std::string_view text, std::size_t offset, std::size_t size) {
  const std::string_view before = text.substr(0, offset);
  const auto newline = before.rfind('\n');
  SourceSpan span;
  span.line = span.end_line = static_cast<std::uint32_t>(1 + std::count(before.begin(), before.end(), '\n'));
  span.column = static_cast<std::uint32_t>(1 + code_points(newline == std::string_view::npos ? before : before.substr(newline + 1)));
  span.end_column = span.column + static_cast<std::uint32_t>(code_points(text.substr(offset, size)));
  span.byte_offset = offset;
  return span;
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

struct Token {
  enum class Kind { name, text, number, sign, end };
  Kind kind = Kind::end;
  std::string_view text;       // as written; of a text without its quotes
  std::size_t offset = 0;
};

// What a tag's words say. The first thing that is wrong ends it.
class Words {
 public:
  Words(std::string_view whole, std::size_t begin, std::size_t end) : whole_(whole), at_(begin), end_(end) { next(); }

  const Token& token() const { return token_; }
  bool failed() const { return problem_.has_value(); }
  std::optional<Diagnostic>& problem() { return problem_; }
  void fail(std::string message, std::size_t offset, std::size_t size) {
    if (!problem_) problem_ = problem_at(code::template_syntax, std::move(message), whole_, offset, std::max<std::size_t>(size, 1));
  }
  void fail_here(std::string_view expected) {
    fail(token_.kind == Token::Kind::end ? fmt::format("{} is missing", expected)
                                         : fmt::format("{} was expected, found '{}'", expected, one_line(token_.text, 40)),
         token_.offset, token_.text.size());
  }
  bool take(std::string_view sign_or_word) {
    if ((token_.kind != Token::Kind::sign && token_.kind != Token::Kind::name) || token_.text != sign_or_word) return false;
    next();
    return true;
  }
  bool at(std::string_view word) const { return (token_.kind == Token::Kind::name || token_.kind == Token::Kind::sign) && token_.text == word; }
  std::string take_name(std::string_view what) {
    if (token_.kind != Token::Kind::name) {
      fail_here(what);
      return {};
    }
    std::string name(token_.text);
    next();
    return name;
  }
  void expect_end() {
    if (!failed() && token_.kind != Token::Kind::end) fail(fmt::format("'{}' was not expected here", one_line(token_.text, 40)), token_.offset, token_.text.size());
  }

  void next() {
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

 private:
  void take_token(Token::Kind kind, std::size_t size) {
    token_ = {kind, whole_.substr(at_, size), at_};
    at_ += size;
  }
  // a.b-c.d: names of variables may have a minus within, and dots between parts.
  void read_name() {
    std::size_t size = 1;
    while (at_ + size < end_) {
      const char c = whole_[at_ + size];
      const bool joins = (c == '.' || c == '-') && at_ + size + 1 < end_ && (is_letter(whole_[at_ + size + 1]) || (c == '-' && is_digit(whole_[at_ + size + 1])));
      if (!is_letter(c) && !is_digit(c) && !joins) break;
      ++size;
    }
    take_token(Token::Kind::name, size);
  }
  void read_number() {
    std::size_t size = 1;
    while (at_ + size < end_ && (is_digit(whole_[at_ + size]) || whole_[at_ + size] == '.')) ++size;
    take_token(Token::Kind::number, size);
  }
  void read_text(char quote) {
    const auto close = whole_.find(quote, at_ + 1);
    if (close == std::string_view::npos || close >= end_) return fail("a text is not closed", at_, 1);
    token_ = {Token::Kind::text, whole_.substr(at_ + 1, close - at_ - 1), at_};
    at_ = close + 1;
  }

  std::string_view whole_;
  std::size_t at_, end_;
  Token token_;
  std::optional<Diagnostic> problem_;
};

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

// A tag as it stands in the text: from `begin` to `end`, its words within.
struct Tag {
  bool statement = false;
  std::size_t begin = 0, end = 0, words_begin = 0, words_end = 0;
  bool trims_before = false, trims_after = false;
};

class Parser {
 public:
  Parser(std::string_view text, Diagnostics& problems) : text_(text), problems_(problems) {}

  std::optional<Blocks> parse() {
    Open root;
    open_.push_back(std::move(root));
    bool good = true;
    std::size_t at = 0;
    bool trim = false;   // the text that follows begins without its blanks
    while (at < text_.size()) {
      const std::size_t next = next_opening(at);
      std::string_view plain = text_.substr(at, next - at);
      const bool literal = next < text_.size() && text_.substr(next).starts_with(escaped_opening);
      std::optional<Tag> tag;
      if (next < text_.size() && !literal) {
        tag = read_tag(next);
        if (!tag) {
          good = false;
          add_text(plain, trim, false);
          at = next + 2;
          continue;
        }
        if (tag->statement) take_line(*tag, plain, at);
      }
      add_text(plain, trim, tag && tag->trims_before);
      trim = tag && tag->trims_after;
      if (next >= text_.size()) break;
      if (literal) {
        add_text("{{", false, false);
        at = next + escaped_opening.size();
        continue;
      }
      good = handle(*tag) && good;
      at = tag->end;
    }
    while (open_.size() > 1) {
      const Open& left = open_.back();
      problems_.push_back(problem_at(code::template_syntax, fmt::format("this {} is not closed by {}", left.word, left.word == "for" ? "endfor" : "endif"),
                                     text_, left.block.offset, left.block.size));
      open_.pop_back();
      good = false;
    }
    if (!good) return std::nullopt;
    return std::move(open_.front().block.body);
  }

 private:
  struct Open {
    std::string word;    // "for" or "if"; empty for the whole
    Block block;
    bool has_else = false;
  };

  Blocks& body() {
    Open& open = open_.back();
    return open.word == "if" ? open.block.branches.back().body : open.block.body;
  }

  std::size_t next_opening(std::size_t at) const {
    const auto output = text_.find("{{", at), statement = text_.find("{%", at);
    return std::min({output, statement, text_.size()});
  }

  std::optional<Tag> read_tag(std::size_t begin) {
    Tag tag;
    tag.begin = begin;
    tag.statement = text_[begin + 1] == '%';
    const std::string_view closing = tag.statement ? "%}" : "}}";
    const auto close = find_close(begin + 2, closing);
    if (close == std::string_view::npos) {
      problems_.push_back(problem_at(code::template_syntax, tag.statement ? "a tag is not closed on its line" : "a placeholder is not closed on its line", text_, begin, 2));
      return std::nullopt;
    }
    tag.words_begin = begin + 2;
    tag.words_end = close;
    tag.end = close + 2;
    if (tag.words_begin < close && text_[tag.words_begin] == '-' && !(tag.words_begin + 1 < close && is_digit(text_[tag.words_begin + 1]))) tag.trims_before = true, ++tag.words_begin;
    if (tag.words_end > tag.words_begin && text_[close - 1] == '-') tag.trims_after = true, --tag.words_end;
    return tag;
  }

  // Texts in quotes may hold what would close the tag.
  std::size_t find_close(std::size_t at, std::string_view closing) const {
    char quote = 0;
    for (; at < text_.size() && text_[at] != '\n'; ++at) {
      if (quote != 0) quote = text_[at] == quote ? '\0' : quote;
      else if (text_[at] == '\'' || text_[at] == '"') quote = text_[at];
      else if (text_.substr(at, 2) == closing) return at;
    }
    return std::string_view::npos;
  }

  // A statement that has its line to itself takes the whole line with it.
  void take_line(Tag& tag, std::string_view& plain, std::size_t plain_begin) const {
    const auto blank = [](char c) { return c == ' ' || c == '\t'; };
    std::size_t before = plain.size();
    while (before > 0 && blank(plain[before - 1])) --before;
    const bool begins = before > 0 ? plain[before - 1] == '\n' : plain_begin == 0 || text_[plain_begin - 1] == '\n';
    std::size_t after = tag.end;
    while (after < text_.size() && (blank(text_[after]) || text_[after] == '\r')) ++after;
    const bool ends = after == text_.size() || text_[after] == '\n';
    if (!begins || !ends) return;
    plain = plain.substr(0, before);
    tag.end = after == text_.size() ? after : after + 1;
  }

  void add_text(std::string_view plain, bool trim_begin, bool trim_end) {
    const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
    while (trim_begin && !plain.empty() && blank(plain.front())) plain.remove_prefix(1);
    while (trim_end && !plain.empty() && blank(plain.back())) plain.remove_suffix(1);
    if (plain.empty()) return;
    Block block;
    block.text = plain;
    body().push_back(std::move(block));
  }

  // False when something was wrong with it, which is told.
  bool handle(const Tag& tag) {
    Words words(text_, tag.words_begin, tag.words_end);
    if (!tag.statement) {
      Block block = block_of(Block::Kind::output, tag);
      if (words.token().kind == Token::Kind::end && !words.failed()) words.fail("a placeholder without a name", tag.begin, tag.end - tag.begin);
      else block.expression = Reader(words).expression();
      words.expect_end();
      body().push_back(std::move(block));
    } else {
      statement(tag, words);
    }
    if (!words.failed()) return true;
    problems_.push_back(std::move(*words.problem()));
    return false;
  }

  Block block_of(Block::Kind kind, const Tag& tag) const {
    Block block;
    block.kind = kind;
    block.offset = tag.begin;
    block.size = tag.end - tag.begin;
    return block;
  }

  void statement(const Tag& tag, Words& words) {
    const Token first = words.token();
    const std::string word = words.take_name("for, if or set");
    if (words.failed()) return;
    if (word == "for") begin_loop(tag, words);
    else if (word == "if") begin_choice(tag, words);
    else if (word == "elif" || word == "else") next_branch(word, first, words);
    else if (word == "endfor" || word == "endif") close(word.substr(3), first, words);
    else if (word == "set") assign(tag, words);
    else words.fail(fmt::format("there is no statement '{}'; known are for, if, elif, else, endif, endfor, set", one_line(word, 40)), first.offset, first.text.size());
  }

  static bool plain_name(Words& words, const std::string& name, std::size_t offset) {
    if (name.find('.') == std::string::npos && name != "loop") return true;
    words.fail(fmt::format("'{}' cannot be given a value", one_line(name, 40)), offset, name.size());
    return false;
  }

  void begin_loop(const Tag& tag, Words& words) {
    Open open{"for", block_of(Block::Kind::repeat, tag)};
    do {
      const std::size_t offset = words.token().offset;
      open.block.names.push_back(words.take_name("a name"));
      if (words.failed() || !plain_name(words, open.block.names.back(), offset)) break;
    } while (open.block.names.size() < 2 && words.take(","));
    if (!words.failed() && !words.take("in")) words.fail_here("'in'");
    if (!words.failed()) open.block.expression = Reader(words).expression();
    words.expect_end();
    push(std::move(open), tag, words);
  }

  void begin_choice(const Tag& tag, Words& words) {
    Open open{"if", block_of(Block::Kind::choose, tag)};
    open.block.branches.push_back({Reader(words).expression(), {}});
    words.expect_end();
    push(std::move(open), tag, words);
  }

  // Also where it is wrong, so that its end is not told as well.
  void push(Open open, const Tag& tag, Words& words) {
    if (open_.size() > most_nesting) words.fail(fmt::format("blocks stand in each other more than {} deep", most_nesting), tag.begin, tag.end - tag.begin);
    open_.push_back(std::move(open));
  }

  void next_branch(const std::string& word, const Token& first, Words& words) {
    Open& open = open_.back();
    if (open.word != "if" || open.has_else) return words.fail(fmt::format("'{}' has no if before it", word), first.offset, first.text.size());
    Branch branch;
    if (word == "elif") branch.condition = Reader(words).expression();
    else open.has_else = true;
    words.expect_end();
    open.block.branches.push_back(std::move(branch));
  }

  void close(const std::string& word, const Token& first, Words& words) {
    if (open_.size() == 1 || open_.back().word != word)
      return words.fail(open_.size() == 1 ? fmt::format("'end{}' closes nothing", word)
                                          : fmt::format("'end{}' stands where 'end{}' must: {} was opened last", word, open_.back().word, open_.back().word),
                        first.offset, first.text.size());
    words.expect_end();
    Block block = std::move(open_.back().block);
    open_.pop_back();
    body().push_back(std::move(block));
  }

  void assign(const Tag& tag, Words& words) {
    Block block = block_of(Block::Kind::set, tag);
    const std::size_t offset = words.token().offset;
    block.names.push_back(words.take_name("a name"));
    if (words.failed() || !plain_name(words, block.names.back(), offset)) return;
    if (!words.take("=")) return words.fail_here("'='");
    block.expression = Reader(words).expression();
    words.expect_end();
    body().push_back(std::move(block));
  }

  std::string_view text_;
  Diagnostics& problems_;
  std::vector<Open> open_;
};

}  // namespace

Diagnostic problem_at(Code code, std::string message, std::string_view text, std::size_t offset, std::size_t size) {
  Diagnostic problem = error(code, std::move(message));
  problem.span = span_at(text, offset, size);
  return problem;
}

std::optional<Blocks> parse(std::string_view text, Diagnostics& problems) { return Parser(text, problems).parse(); }

}  // namespace kfab::provision::syntax
