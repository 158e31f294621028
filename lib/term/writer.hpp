#pragma once

#include <ostream>
#include <string>
#include <string_view>

#include "base/words.hpp"
#include "term/stream.hpp"
#include "term/table.hpp"

namespace kfab::term {

// `text` in the style, if the stream shows colour. The text is taken as it is.
std::string paint(const StreamFacts&, Style, std::string_view text);

// The style of a word that says how something ended: pass, ok, ready, yes are good; fail, failed, no are bad; the rest
// (degraded, not_judged, timed_out, ...) is a warning; an unknown word is plain.
Style style_of(std::string_view outcome_word);

// Cuts `text` to `width` columns with "..." at the end.
std::string fit(std::string_view text, std::size_t width);

// Writes a result for people. Only the Writer adds escape sequences: all text passes through printable(), so it may
// come from a node. `raw` is for documents (HTML, a script, a schema), which are written byte by byte.
class Writer {
 public:
  Writer(std::ostream& out, StreamFacts facts) : out_(out), facts_(facts) {}

  Writer& text(std::string_view);
  Writer& text(Style, std::string_view);
  Writer& line(std::string_view = {});          // the text and a newline
  Writer& line(Style, std::string_view);
  Writer& word(std::string_view outcome_word);  // "pass" in its colour; with a symbol before it where there is Unicode
  Writer& word(Verdict);
  Writer& table(const Table&);
  Writer& raw(std::string_view bytes);

  const StreamFacts& facts() const { return facts_; }

 private:
  std::ostream& out_;
  StreamFacts facts_;
};

}  // namespace kfab::term
