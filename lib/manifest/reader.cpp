#include "manifest/reader.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/text.hpp"

namespace kfab::manifest {
namespace {

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// The words that YAML 1.1 reads as truth values and YAML 1.2 as text.
bool is_ambiguous(std::string_view text) {
  return text.size() <= 3 && is_one_of(to_lower(text), {"yes", "no", "on", "off", "y", "n"});
}

std::string limits(double least, double most) {
  const double none = std::numeric_limits<double>::infinity();
  if (most == none) return fmt::format("at least {}", format_number(least, 4));
  return fmt::format("from {} to {}", format_number(least, 4), format_number(most, 4));
}

bool is_unknown(const YamlNode& node) { return node.shape == Shape::scalar && !node.quoted && node.text == "unknown"; }

std::string no_separators(std::string_view text) {
  std::string out;
  for (const char c : text)
    if (c != ',' && c != '_' && c != '\'') out += c;
  return out;
}

}  // namespace

std::string Path::str() const {
  std::string before = parent ? parent->str() : std::string();
  if (key.empty()) return parent ? fmt::format("{}[{}]", before, index) : before;
  return before.empty() ? std::string(key) : fmt::format("{}.{}", before, one_line(key, 60));
}

void Findings::add(Diagnostic d) {
  if (d.severity == Severity::error) ++errors_;
  if (found_.size() < limit) found_.push_back(std::move(d));
  else ++left_out_;
}

void Findings::add(Diagnostics all) {
  for (Diagnostic& d : all) add(std::move(d));
}

Diagnostics Findings::take() {
  std::map<std::string, std::size_t> rank;   // files stay in the order in which they were drawn in
  const auto file_of = [](const Diagnostic& d) { return d.span ? d.span->file : std::string(); };
  for (const Diagnostic& d : found_) rank.emplace(file_of(d), rank.size());
  std::stable_sort(found_.begin(), found_.end(), [&](const Diagnostic& a, const Diagnostic& b) {
    const std::size_t x = rank[file_of(a)], y = rank[file_of(b)];
    if (x != y) return x < y;
    return (a.span ? a.span->byte_offset : 0) < (b.span ? b.span->byte_offset : 0);
  });
  const auto same = [](const Diagnostic& a, const Diagnostic& b) {   // two readers may look at one value
    return a.code == b.code && a.message == b.message && a.path == b.path && a.span.has_value() == b.span.has_value() &&
           (!a.span || (a.span->byte_offset == b.span->byte_offset && a.span->file == b.span->file));
  };
  found_.erase(std::unique(found_.begin(), found_.end(), same), found_.end());
  if (left_out_ > 0) {
    found_.push_back(make_diagnostic(code::too_many_findings, fmt::format("{} more are not listed", plural(static_cast<long long>(left_out_), "finding"))));
    left_out_ = 0;
  }
  return std::move(found_);
}

void Cursor::report(Code code, std::string message, std::string label, std::vector<std::string> suggestions,
                    std::vector<std::string> help) const {
  Diagnostic d = make_diagnostic(code, std::move(message));
  d.path = path.str();
  d.span = span();
  d.label = std::move(label);
  d.suggestions = std::move(suggestions);
  d.help = std::move(help);
  document.findings->add(std::move(d));
}

std::string Cursor::found() const {
  switch (node.shape) {
    case Shape::null: return "nothing";
    case Shape::map: return "a map";
    case Shape::sequence: return "a list";
    case Shape::scalar: break;
  }
  const json::Value value = to_json_value(node);
  const std::string text = one_line(node.text, 40);
  if (value.is_bool() || value.is_number()) return fmt::format("the {} {}", value.is_bool() ? "truth value" : "number", text);
  return text.empty() ? "an empty string" : fmt::format("the string '{}'", text);
}

void Cursor::wrong_type(std::string_view expected, std::vector<std::string> suggestions) const {
  report(code::wrong_type, fmt::format("expected {}", expected), "found " + found(), std::move(suggestions));
}

bool is_name(std::string_view text) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !text.empty() && text.size() <= 63 && plain(text.front()) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return plain(c) || c == '-'; });
}

bool read_text(const Cursor& at, std::string& out) {
  if (at.node.shape != Shape::scalar || (at.node.quoted && at.node.text.empty())) {
    at.wrong_type("a text");
    return false;
  }
  if (!at.node.quoted && is_ambiguous(at.node.text))
    at.report(code::ambiguous_word, fmt::format("'{}' is read as a word here", at.node.text), "quote it",
              {fmt::format("\"{}\"", at.node.text)});
  out = at.node.text;
  return true;
}

bool read_name(const Cursor& at, std::string& out) {
  std::string text;
  if (!read_text(at, text)) return false;
  if (!is_name(text)) {
    std::string better;
    for (const char c : to_lower(text)) {
      const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
      if (plain) better += c;
      else if (!better.empty() && better.back() != '-') better += '-';
    }
    while (!better.empty() && better.back() == '-') better.pop_back();
    better.resize(std::min<std::size_t>(better.size(), 63));
    at.report(code::bad_name, fmt::format("'{}' is no name", one_line(text, 60)), "small letters, digits and hyphens only",
              is_name(better) ? std::vector{better} : std::vector<std::string>{});
    return false;
  }
  out = std::move(text);
  return true;
}

bool read_word(const Cursor& at, std::string& out, const Words& allowed) {
  if (at.node.shape == Shape::scalar && std::find(allowed.begin(), allowed.end(), at.node.text) != allowed.end()) {
    out = at.node.text;
    return true;
  }
  if (at.node.shape != Shape::scalar) {
    at.wrong_type("one of: " + join(allowed, ", "));
    return false;
  }
  auto near = nearest(at.node.text, allowed, 1);
  std::string label = near.empty() ? std::string("not one of them") : std::string();
  at.report(code::unknown_word, fmt::format("unknown word '{}'", one_line(at.node.text, 60)), std::move(label), std::move(near),
            {"words allowed here: " + join(allowed, ", ")});
  return false;
}

bool read_bool(const Cursor& at, bool& out) {
  if (at.node.shape == Shape::scalar && !at.node.quoted && is_one_of(at.node.text, {"true", "True", "TRUE"})) return out = true;
  if (at.node.shape == Shape::scalar && !at.node.quoted && is_one_of(at.node.text, {"false", "False", "FALSE"})) {
    out = false;
    return true;
  }
  std::vector<std::string> meant;
  if (at.node.shape == Shape::scalar) {
    const std::string word = to_lower(at.node.text);
    if (is_one_of(word, {"yes", "on", "y", "true", "1"})) meant.push_back("true");
    if (is_one_of(word, {"no", "off", "n", "false", "0"})) meant.push_back("false");
  }
  at.wrong_type("true or false", std::move(meant));
  return false;
}

bool read_count(const Cursor& at, std::int64_t& out, std::int64_t least, std::int64_t most) {
  const auto whole = at.node.shape == Shape::scalar && !at.node.quoted ? read_whole(at.node.text) : std::nullopt;
  const std::string range = most == std::numeric_limits<std::int64_t>::max() ? fmt::format("of at least {}", least)
                                                                            : fmt::format("from {} to {}", least, most);
  if (!whole) {
    std::vector<std::string> meant;
    if (at.node.shape == Shape::scalar) {
      std::string plain = no_separators(at.node.text);
      plain.erase(0, std::min(plain.find_first_not_of('0'), plain.size()));
      if (!plain.empty() && plain != at.node.text && read_whole(plain)) meant.push_back(plain);
      else if (at.node.quoted && read_whole(at.node.text)) meant.push_back(at.node.text);
    }
    at.wrong_type("a whole number " + range, std::move(meant));
    return false;
  }
  if (*whole < least || *whole > most) {
    at.report(code::out_of_range, fmt::format("{} is no whole number {}", *whole, range), "out of range");
    return false;
  }
  out = *whole;
  return true;
}

bool read_number(const Cursor& at, double& out, double least, double most) {
  const auto number = at.node.shape == Shape::scalar && !at.node.quoted ? read_number(at.node.text) : std::nullopt;
  if (!number) {
    constexpr double told = 1e12;   // beyond, a range says no more than that it is a number
    at.wrong_type(most < told ? "a number " + limits(least, most) : "a number");
    return false;
  }
  if (*number < least || *number > most) {
    at.report(code::out_of_range, fmt::format("expected a number {}", limits(least, most)), "out of range");
    return false;
  }
  out = *number;
  return true;
}

bool read_quantity(const Cursor& at, double& out, const Quantity& quantity, double least, double most) {
  const std::string expected = fmt::format("{} with its unit, such as '{}'", quantity.what, quantity.example);
  if (at.node.shape != Shape::scalar) {
    at.wrong_type(expected);
    return false;
  }
  QuantityRead read = read_quantity(at.node.text, quantity);
  if (!read.value) {
    at.report(read.wrong_unit ? code::wrong_unit : code::wrong_type, "expected " + expected, "found " + read.found,
              std::move(read.suggestions), {"units allowed here: " + unit_names(quantity)});
    return false;
  }
  if (*read.value < least || *read.value > most) {
    at.report(code::out_of_range, fmt::format("'{}' is not what {} can be here", one_line(at.node.text, 40), quantity.what), "out of range");
    return false;
  }
  out = *read.value;
  return true;
}

bool read_date(const Cursor& at, Date& out) {
  if (at.node.shape != Shape::scalar) {
    at.wrong_type("a date, YYYY-MM-DD or YYYY-MM");
    return false;
  }
  const auto date = parse_date(at.node.text);
  if (!date) {
    at.report(code::bad_date, fmt::format("'{}' is no date", one_line(at.node.text, 40)), "expected YYYY-MM-DD or YYYY-MM");
    return false;
  }
  out = *date;
  return true;
}

bool read_source(const Cursor& at, std::string& out) {
  if (!read_text(at, out)) return false;
  const auto& names = at.document.source_names;
  const bool a_key = out.find_first_of(" :/") == std::string::npos;   // words and addresses speak for themselves
  if (names.empty() || !a_key || names.count(out)) return true;
  Words known;
  for (const auto& [name, what] : names) known.push_back(name);
  auto near = nearest(out, known, 1);
  std::string label = near.empty() ? std::string("not in metadata.sources") : std::string();
  at.report(code::unknown_source, fmt::format("unknown source '{}'", one_line(out, 60)), std::move(label), std::move(near),
            {"sources of this document: " + join(known, ", ")});
  return true;
}

// ---------------------------------------------------------------------------------------------------------- Fields

Fields::Fields(const Cursor& at) : at_(at) {
  if (at.node.shape == Shape::map) {
    map_ = &at.node;
    used_.resize(map_->size());
  } else {
    at.wrong_type("a map of keys and values");
    done_ = true;
  }
}

bool Fields::has(std::string_view key) const { return map_ && map_->find(key) != nullptr; }

const YamlNode* Fields::get(std::string_view key, Need need) {
  if (!map_) return nullptr;
  known_.push_back(key);
  const YamlNode* found = nullptr;
  for (std::size_t i = 0; i < map_->size(); ++i)
    if (map_->key(i).text == key) {
      used_[i] = true;   // a second one of the name was reported when the text was read
      if (!found) found = &map_->value(i);
    }
  if (!found && need == Need::required)
    at_.report(code::missing_key, fmt::format("the key '{}' is missing", key), "in this map");
  return found;
}

void Fields::done() {
  if (done_) return;
  done_ = true;
  for (std::size_t i = 0; i < map_->size(); ++i) {
    if (used_[i]) continue;
    const YamlNode& key = map_->key(i);
    Words known(known_.begin(), known_.end());
    auto near = nearest(key.text, known, 1);
    const Path path{&at_.path, key.text, 0};
    Diagnostic d = make_diagnostic(code::unknown_key, fmt::format("unknown key '{}'", one_line(key.text, 60)));
    d.path = path.str();
    d.span = at_.document.source->span(key.begin, key.end);
    const bool digits = key.text.find_first_not_of("0123456789") == std::string::npos;   // 60,000 in a flow map
    if (digits) d.label = "numbers are written without commas";
    else if (near.empty()) d.label = "not a key of this map";
    d.suggestions = std::move(near);
    d.help = {"keys allowed here: " + join(known, ", ")};
    at_.document.findings->add(std::move(d));
  }
}

void Fields::text(std::string_view key, std::string& out, Need need) {
  with(key, [&](const Cursor& at) { read_text(at, out); }, need);
}
void Fields::name(std::string_view key, std::string& out, Need need) {
  with(key, [&](const Cursor& at) { read_name(at, out); }, need);
}
void Fields::word(std::string_view key, std::string& out, const Words& allowed, Need need) {
  with(key, [&](const Cursor& at) { read_word(at, out, allowed); }, need);
}
void Fields::boolean(std::string_view key, bool& out) {
  with(key, [&](const Cursor& at) { read_bool(at, out); });
}
void Fields::boolean(std::string_view key, std::optional<bool>& out) {
  with(key, [&](const Cursor& at) {
    if (is_unknown(at.node)) return;   // a truth value that nobody knows is one that is not stated
    bool value = false;
    if (read_bool(at, value)) out = value;
  });
}

void Fields::texts(std::string_view key, std::vector<std::string>& out) {
  with(key, [&](const Cursor& at) {
    std::string one;
    if (at.node.shape == Shape::scalar) {
      if (read_text(at, one)) out.push_back(std::move(one));
      return;
    }
    if (at.node.shape != Shape::sequence) {
      at.wrong_type("a list of texts");
      return;
    }
    for (std::size_t i = 0; i < at.node.items.size(); ++i) {
      const Path path{&at.path, {}, i};
      if (read_text(Cursor{at.document, at.node.items[i], path}, one)) out.push_back(one);
    }
  });
}

void Fields::text_map(std::string_view key, std::map<std::string, std::string>& out) {
  with(key, [&](const Cursor& at) {
    if (at.node.shape != Shape::map) {
      at.wrong_type("a map of texts");
      return;
    }
    for (std::size_t i = 0; i < at.node.size(); ++i) {
      const Path path{&at.path, at.node.key(i).text, 0};
      std::string value;
      if (read_text(Cursor{at.document, at.node.value(i), path}, value)) out.emplace(at.node.key(i).text, std::move(value));
    }
  });
}

void Fields::values(std::string_view key, std::map<std::string, json::Value>& out) {
  with(key, [&](const Cursor& at) {
    if (at.node.shape != Shape::map) {
      at.wrong_type("a map of values");
      return;
    }
    for (std::size_t i = 0; i < at.node.size(); ++i) out.emplace(at.node.key(i).text, to_json_value(at.node.value(i)));
  });
}

void Fields::source(std::string& out) {
  with("source", [&](const Cursor& at) { read_source(at, out); });
}

template <class T, class Read>
void Fields::stated(std::string_view key, Stated<T>& out, Read&& read) {
  with(key, [&](const Cursor& at) {
    out.span = at.span();
    const auto value = [&](const Cursor& bare) {
      if (is_unknown(bare.node)) {
        out.state = Stated<T>::State::unknown;
      } else if (bare.node.shape == Shape::null) {
        bare.wrong_type("a value, or the word unknown", {"unknown"});
      } else if (read(bare, out.value)) {
        out.state = Stated<T>::State::known;
      }
    };
    if (at.node.shape != Shape::map) {
      value(at);
      return;
    }
    Fields fields(at);
    fields.with("value", [&](const Cursor& bare) {
      out.span = bare.span();
      value(bare);
    }, Need::required);
    fields.source(out.source);
    fields.with("as_of", [&](const Cursor& day) {
      Date date;
      if (read_date(day, date)) out.as_of = day.node.text;
    });
  });
}

void Fields::count(std::string_view key, Stated<std::int64_t>& out, std::int64_t least) {
  stated(key, out, [&](const Cursor& at, std::int64_t& value) { return read_count(at, value, least, 1'000'000'000); });
}
void Fields::small_count(std::string_view key, Stated<int>& out, int least, int most) {
  stated(key, out, [&](const Cursor& at, int& value) {
    std::int64_t wide = 0;
    if (!read_count(at, wide, least, most)) return false;
    value = static_cast<int>(wide);
    return true;
  });
}
void Fields::number(std::string_view key, Stated<double>& out, double least, double most) {
  stated(key, out, [&](const Cursor& at, double& value) { return read_number(at, value, least, most); });
}
void Fields::quantity(std::string_view key, Stated<double>& out, const Quantity& q, double least, double most) {
  stated(key, out, [&](const Cursor& at, double& value) { return read_quantity(at, value, q, least, most); });
}
void Fields::date(std::string_view key, Stated<Date>& out) {
  stated(key, out, [&](const Cursor& at, Date& value) { return read_date(at, value); });
}

}  // namespace kfab::manifest
