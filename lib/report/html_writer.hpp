#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

// Elements, attributes and text of a page. Everything that is not the name of an element or an attribute is escaped,
// and what no page may hold (control characters, broken UTF-8, bidirectional overrides) is taken out, so that names and
// outputs of nodes can be shown as they came.
namespace kfab::report {

struct Attribute {
  Attribute(std::string_view name_, std::string_view value_) : name(name_), value(value_) {}
  Attribute(std::string_view name_, double value_);
  Attribute(std::string_view name_, long long value_) : name(name_), value(std::to_string(value_)) {}
  std::string_view name;
  std::string value;
};

class HtmlWriter {
 public:
  // Opens an element; close() closes the innermost.
  HtmlWriter& open(std::string_view element, std::initializer_list<Attribute> = {});
  HtmlWriter& close();
  HtmlWriter& text(std::string_view);
  // Opened, filled with the text, and closed.
  HtmlWriter& element(std::string_view name, std::initializer_list<Attribute>, std::string_view text);
  HtmlWriter& element(std::string_view name, std::string_view text) { return element(name, {}, text); }
  // Without content: <meta ...>, <rect .../>.
  HtmlWriter& empty(std::string_view name, std::initializer_list<Attribute> = {});
  // What kfab itself wrote: the style sheet.
  HtmlWriter& trusted(std::string_view);
  HtmlWriter& newline() { out_ += '\n'; return *this; }

  // Closes what is open.
  std::string finish();

 private:
  void begin(std::string_view element, std::initializer_list<Attribute> attributes);
  std::string out_;
  std::vector<std::string> open_;
};

// Text for HTML and XML alike: & < > " ' as references.
std::string escape_markup(std::string_view);
// A coordinate or size: at most two decimals, no exponent.
std::string number(double);

}  // namespace kfab::report
