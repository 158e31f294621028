#include "report/html_writer.hpp"

#include <cmath>

#include <fmt/format.h>

#include "base/text.hpp"

namespace kfab::report {
namespace {

// Names, ids and numbers are mostly plain, and there are many of them.
bool is_plain(std::string_view text) {
  for (const char c : text)
    if (c < 0x20 || c > 0x7E || c == '&' || c == '<' || c == '>' || c == '"' || c == '\'') return false;
  return true;
}

}  // namespace

std::string number(double value) {
  if (!std::isfinite(value)) return "0";
  std::string text = fmt::format("{:.2f}", value);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

Attribute::Attribute(std::string_view name_, double value_) : name(name_), value(number(value_)) {}

std::string escape_markup(std::string_view untrusted) {
  if (is_plain(untrusted)) return std::string(untrusted);
  std::string out;
  const std::string clean = printable(untrusted);
  out.reserve(clean.size() + 16);
  for (const char c : clean) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

void HtmlWriter::begin(std::string_view element, std::initializer_list<Attribute> attributes) {
  out_ += '<';
  out_ += element;
  for (const auto& attribute : attributes) {
    out_ += ' ';
    out_ += attribute.name;
    out_ += "=\"";
    out_ += escape_markup(attribute.value);
    out_ += '"';
  }
}

HtmlWriter& HtmlWriter::open(std::string_view element, std::initializer_list<Attribute> attributes) {
  begin(element, attributes);
  out_ += '>';
  open_.emplace_back(element);
  return *this;
}

HtmlWriter& HtmlWriter::close() {
  if (open_.empty()) return *this;
  out_ += "</" + open_.back() + ">";
  open_.pop_back();
  return *this;
}

HtmlWriter& HtmlWriter::text(std::string_view untrusted) {
  out_ += escape_markup(untrusted);
  return *this;
}

HtmlWriter& HtmlWriter::element(std::string_view name, std::initializer_list<Attribute> attributes, std::string_view words) {
  return open(name, attributes).text(words).close();
}

HtmlWriter& HtmlWriter::empty(std::string_view name, std::initializer_list<Attribute> attributes) {
  begin(name, attributes);
  out_ += "/>";
  return *this;
}

HtmlWriter& HtmlWriter::trusted(std::string_view text) {
  out_ += text;
  return *this;
}

std::string HtmlWriter::finish() {
  while (!open_.empty()) close();
  return std::move(out_);
}

}  // namespace kfab::report
