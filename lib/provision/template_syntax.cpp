#include "provision/template_syntax.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/codes/provision.hpp"
#include "base/text.hpp"
#include "provision/template_expression.hpp"

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
      else block.expression = read_expression(words);
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
    if (!words.failed()) open.block.expression = read_expression(words);
    words.expect_end();
    push(std::move(open), tag, words);
  }

  void begin_choice(const Tag& tag, Words& words) {
    Open open{"if", block_of(Block::Kind::choose, tag)};
    open.block.branches.push_back({read_expression(words), {}});
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
    if (word == "elif") branch.condition = read_expression(words);
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
    block.expression = read_expression(words);
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
