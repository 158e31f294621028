#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/diagnostic.hpp"
#include "provision/template_syntax.hpp"

// The words of one tag of a template, and the expressions that they make. Not for use outside lib/provision.
namespace kfab::provision::syntax {

struct Token {
  enum class Kind { name, text, number, sign, end };
  Kind kind = Kind::end;
  std::string_view text;       // as written; of a text without its quotes
  std::size_t offset = 0;
};

// What a tag's words say, from `begin` to `end` of the whole template. The first thing that is wrong ends it.
class Words {
 public:
  Words(std::string_view whole, std::size_t begin, std::size_t end);

  const Token& token() const { return token_; }
  bool failed() const { return problem_.has_value(); }
  std::optional<Diagnostic>& problem() { return problem_; }
  void fail(std::string message, std::size_t offset, std::size_t size);
  void fail_here(std::string_view expected);   // something else stands here, or nothing
  bool at(std::string_view sign_or_word) const;
  bool take(std::string_view sign_or_word);    // goes on to the next one where it stands here
  std::string take_name(std::string_view what);
  void expect_end();
  void next();

 private:
  void take_token(Token::Kind kind, std::size_t size);
  void read_name();
  void read_number();
  void read_text(char quote);

  std::string_view whole_;
  std::size_t at_, end_;
  Token token_;
  std::optional<Diagnostic> problem_;
};

// The expression that stands here. Never null; what is wrong is in the words.
ExpressionPtr read_expression(Words&);

}  // namespace kfab::provision::syntax
