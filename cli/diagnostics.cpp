#include "cli/diagnostics.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "term/writer.hpp"

namespace kfab::cli {
namespace {

using term::paint;
using term::StreamFacts;
using term::Style;

constexpr std::size_t longest_help = 5000;   // a folded set of thousands of nodes may be in it
constexpr std::size_t longest_line = 400;   // of a source line that is shown

Style style_of(Severity severity) {
  return severity == Severity::error ? Style::bad : severity == Severity::warning ? Style::warning : Style::accent;
}

std::string place(const SourceSpan& span) { return fmt::format("{}:{}:{}", one_line(span.file, 300), span.line, span.column); }

std::string did_you_mean(const Diagnostic& d) {
  if (d.suggestions.empty()) return {};
  std::string out = "did you mean ";
  for (std::size_t i = 0; i < d.suggestions.size(); ++i) {
    if (i > 0) out += i + 1 == d.suggestions.size() ? " or " : ", ";
    out += "'" + one_line(d.suggestions[i], 80) + "'";
  }
  return out + "?";
}

std::string head(const Diagnostic& d, const StreamFacts& facts) {
  const std::string tag = fmt::format("{}[{}]", to_string(d.severity), to_string(d.code));
  const std::string about = d.node.empty() || d.message.find(d.node) != std::string::npos ? "" : one_line(d.node, 80) + ": ";
  return paint(facts, style_of(d.severity), tag) + ": " + paint(facts, Style::strong, about + one_line(d.message, 1000));
}

// Line `number` of the text, from 1; nothing when it has fewer.
std::optional<std::string_view> line_of(std::string_view text, std::uint32_t number) {
  for (std::uint32_t at = 1; at < number; ++at) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    text.remove_prefix(end + 1);
  }
  text = text.substr(0, text.find('\n'));
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

// The bytes of `line` before code point `column` (from 1).
std::string_view before_column(std::string_view line, std::uint32_t column) {
  std::size_t at = 0;
  for (std::uint32_t seen = 1; seen < column && at < line.size(); ++seen) {
    ++at;
    while (at < line.size() && (static_cast<unsigned char>(line[at]) & 0xC0) == 0x80) ++at;
  }
  return line.substr(0, at);
}

std::string with_blanks_for_tabs(std::string_view text) {
  std::string out(text);
  std::replace(out.begin(), out.end(), '\t', ' ');
  return printable(out);
}

std::string excerpt(const Diagnostic& d, const std::vector<manifest::SourceText>& sources, const StreamFacts& facts) {
  const SourceSpan& span = *d.span;
  const std::string number = std::to_string(span.line);
  const std::string margin(number.size(), ' ');
  const std::string bar = paint(facts, Style::accent, "|");
  std::string out = margin + paint(facts, Style::accent, "--> ") + place(span) + "\n";
  const auto source = std::find_if(sources.begin(), sources.end(), [&](const auto& s) { return s.file == span.file; });
  if (source == sources.end()) return out;
  const auto line = line_of(source->text, span.line);
  if (!line || line->size() > longest_line) return out;
  const std::string lead = with_blanks_for_tabs(before_column(*line, span.column));
  std::size_t marks = 1;
  if (span.end_line == span.line && span.end_column > span.column) {
    const std::string upto = with_blanks_for_tabs(before_column(*line, span.end_column));
    marks = std::max<std::size_t>(1, display_width(upto) - std::min(display_width(upto), display_width(lead)));
  }
  std::string label = d.label.empty() ? did_you_mean(d) : one_line(d.label, 200);
  out += margin + " " + bar + "\n";
  out += paint(facts, Style::accent, number) + " " + bar + " " + with_blanks_for_tabs(*line) + "\n";
  out += margin + " " + bar + " " + std::string(display_width(lead), ' ') +
         paint(facts, style_of(d.severity), std::string(marks, '^') + (label.empty() ? "" : " " + label)) + "\n";
  return out;
}

// A hint with the manifest that the user has named, so that it can be typed as it stands.
std::string hint(std::string_view text, const std::string& manifest) {
  constexpr std::string_view word = "MANIFEST";
  std::string out(text);
  if (manifest.empty()) return out;
  for (std::size_t at = out.find(word); at != std::string::npos; at = out.find(word, at + manifest.size())) out.replace(at, word.size(), manifest);
  return out;
}

std::string full(const Diagnostic& d, const std::vector<manifest::SourceText>& sources, const DiagnosticStyle& style, const StreamFacts& facts) {
  std::string out = head(d, facts) + "\n";
  const bool has_excerpt = d.span.has_value() && d.span->line > 0 && !d.span->file.empty();
  if (has_excerpt) out += excerpt(d, sources, facts);
  std::string notes;
  if (!d.suggestions.empty() && (!has_excerpt || !d.label.empty())) notes += "  = " + did_you_mean(d) + "\n";
  for (const std::string& line : d.help) notes += "  = " + one_line(hint(line, style.manifest), longest_help) + "\n";
  if (!has_excerpt && style.next_steps) notes += "  = try: " + hint(info(d.code).next_step, style.manifest) + "\n";
  return out + notes;
}

std::string short_form(const Diagnostic& d, const StreamFacts& facts) {
  std::string out = d.span && d.span->line > 0 && !d.span->file.empty() ? place(*d.span) + ": " : std::string{};
  out += head(d, facts);
  if (!d.suggestions.empty()) out += " (" + did_you_mean(d) + ")";
  return out + "\n";
}

}  // namespace

std::string render_diagnostics(const Diagnostics& all, const std::vector<manifest::SourceText>& sources,
                               const DiagnosticStyle& style, const StreamFacts& facts) {
  std::string out;
  std::size_t errors = 0, warnings = 0, shown = 0, hidden = 0;
  for (const Diagnostic& d : all) {
    errors += d.severity == Severity::error ? 1 : 0;
    warnings += d.severity == Severity::warning ? 1 : 0;
    if (style.only_errors && d.severity != Severity::error) continue;
    if (shown == style.most && !style.one_line) { ++hidden; continue; }
    ++shown;
    if (style.one_line) out += short_form(d, facts);
    else out += (out.empty() ? "" : "\n") + full(d, sources, style, facts);
  }
  if (hidden > 0) out += fmt::format("\nand {} more; -o json or --diagnostics short shows all\n", with_thousands(static_cast<long long>(hidden)));
  if (errors + warnings > 1 && shown > 1 && !style.one_line) {
    std::string counts;
    if (errors > 0) counts = plural(static_cast<long long>(errors), "error");
    if (warnings > 0) counts += (counts.empty() ? "" : ", ") + plural(static_cast<long long>(warnings), "warning");
    out += "\n" + counts + "\n";
  }
  return out;
}

}  // namespace kfab::cli
