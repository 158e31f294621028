#include "term/writer.hpp"

#include <array>

#include "base/text.hpp"

namespace kfab::term {
namespace {

constexpr std::string_view reset = "\x1b[0m";

// By Style, in its order. Only the eight colours that every terminal has, so that a person's own palette holds.
constexpr std::array<std::string_view, 7> sequences{"", "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[36m"};

struct WordRow { std::string_view word; Style style; };
constexpr std::array words{
    WordRow{"pass", Style::good},         WordRow{"ok", Style::good},           WordRow{"yes", Style::good},
    WordRow{"ready", Style::good},        WordRow{"accepted", Style::good},     WordRow{"open", Style::good},
    WordRow{"fail", Style::bad},          WordRow{"failed", Style::bad},        WordRow{"no", Style::bad},
    WordRow{"not ready", Style::bad},     WordRow{"closed", Style::bad},        WordRow{"revoked", Style::bad},
    WordRow{"error", Style::bad},         WordRow{"degraded", Style::warning},  WordRow{"not_judged", Style::warning},
    WordRow{"timed_out", Style::warning}, WordRow{"refused", Style::warning},   WordRow{"unreachable", Style::warning},
    WordRow{"unknown", Style::warning},   WordRow{"incomplete", Style::warning}, WordRow{"cancelled", Style::warning},
    WordRow{"quarantined", Style::warning}, WordRow{"in_rma", Style::warning},  WordRow{"warning", Style::warning},
};

std::string_view symbol(Style style) {
  switch (style) {
    case Style::good: return "✓ ";
    case Style::bad: return "✗ ";
    case Style::warning: return "! ";
    default: return "";
  }
}

}  // namespace

std::string paint(const StreamFacts& facts, Style style, std::string_view text) {
  if (!facts.colour || style == Style::plain || text.empty()) return std::string(text);
  std::string out(sequences[static_cast<std::size_t>(style)]);
  out += text;
  out += reset;
  return out;
}

Style style_of(std::string_view outcome_word) {
  for (const WordRow& row : words)
    if (row.word == outcome_word) return row.style;
  return Style::plain;
}

std::string fit(std::string_view text, std::size_t width) {
  if (display_width(text) <= width) return std::string(text);
  if (width <= 3) return std::string(width, '.');
  std::size_t end = 0, used = 0;
  while (end < text.size()) {
    std::size_t next = end + 1;
    while (next < text.size() && (static_cast<unsigned char>(text[next]) & 0xC0) == 0x80) ++next;
    const std::size_t wide = display_width(text.substr(end, next - end));
    if (used + wide > width - 3) break;
    used += wide;
    end = next;
  }
  return std::string(text.substr(0, end)) + "...";
}

Writer& Writer::text(std::string_view text) {
  out_ << printable(text);
  return *this;
}

Writer& Writer::text(Style style, std::string_view text) {
  out_ << paint(facts_, style, printable(text));
  return *this;
}

Writer& Writer::line(std::string_view text) {
  out_ << printable(text) << '\n';
  return *this;
}

Writer& Writer::line(Style style, std::string_view words_of_line) { return text(style, words_of_line).line(); }

Writer& Writer::word(std::string_view outcome_word) {
  const Style style = style_of(outcome_word);
  std::string shown(facts_.unicode ? symbol(style) : std::string_view{});
  shown += outcome_word;
  return text(style, shown);
}

Writer& Writer::word(Verdict verdict) { return word(to_string(verdict)); }

Writer& Writer::table(const Table& table) {
  out_ << table.render(facts_);
  return *this;
}

Writer& Writer::raw(std::string_view bytes) {
  out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return *this;
}

}  // namespace kfab::term
