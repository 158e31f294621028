#include "manifest/yaml.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <istream>
#include <optional>
#include <streambuf>
#include <unordered_map>

#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/text.hpp"
#include "manifest/bulk_rows.hpp"

namespace kfab::manifest {
namespace {

// Ends the scan from inside an event: what was found wrong is already among the diagnostics.
struct Stop {};

// A string as a stream, without the copy that istringstream makes.
class ViewBuffer final : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());   // a streambuf's area is not const; nothing writes to it
    setg(begin, begin, begin + text.size());
  }
};

bool blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// Where the token ends that begins at `begin`: yaml-cpp does not say.
std::size_t token_end(const std::string& text, std::size_t begin, const std::string& value) {
  if (begin >= text.size()) return text.size();
  const char first = text[begin];
  if (first == '"') {
    for (std::size_t p = begin + 1; p < text.size(); ++p) {
      if (text[p] == '\\') ++p;
      else if (text[p] == '"') return p + 1;
    }
    return text.size();
  }
  if (first == '\'') {
    for (std::size_t p = begin + 1; p < text.size(); ++p) {
      if (text[p] != '\'') continue;
      if (p + 1 < text.size() && text[p + 1] == '\'') ++p;
      else return p + 1;
    }
    return text.size();
  }
  if (!value.empty() && text.compare(begin, value.size(), value) == 0) return begin + value.size();
  std::size_t end = text.find('\n', begin);   // a block scalar's header, or the first line of a folded plain one
  if (end == std::string::npos) end = text.size();
  while (end > begin + 1 && blank(text[end - 1])) --end;
  return std::max(end, std::min(begin + 1, text.size()));
}

// Builds the tree from the scanner's events, one document after another.
class TreeBuilder final : public YAML::EventHandler {
 public:
  // `skipped`: bytes before the first one that the scanner sees, and so counts from.
  TreeBuilder(const Source& source, BulkText* bulk, int skipped, Diagnostics& diagnostics)
      : source_(source), bulk_(bulk), skipped_(skipped), diagnostics_(diagnostics) {}

  std::vector<YamlNode> documents;
  std::optional<Diagnostic> key_problem;   // the first key that is no word

  bool all_runs_met() const { return !bulk_ || next_run_ == bulk_->runs.size(); }

  std::size_t original(int offset) const {
    const auto at = static_cast<std::uint32_t>(std::max(offset, 0) + skipped_);
    return bulk_ ? bulk_->original(at) : at;
  }

  // Where the innermost list or map in brackets begins that was not closed when the scanner stopped.
  std::optional<std::size_t> open_bracket() const {
    for (auto node = stack_.rbegin(); node != stack_.rend(); ++node)
      if (const char c = source_.text()[node->begin]; c == '[' || c == '{') return node->begin;
    return std::nullopt;
  }

  void OnDocumentStart(const YAML::Mark&) override { stack_.clear(); }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const std::size_t at = original(mark.pos);
    refuse_anchor(anchor, at, at + 1);
    YamlNode node;
    const std::size_t written = null_word_at(at);
    if (written > 0) {
      place(node, at, at + written);
    } else if (!stack_.empty() && stack_.back().shape == Shape::map && stack_.back().items.size() % 2 == 1) {
      node.begin = stack_.back().items.back().begin;   // the key's place: the mark is at the next token
      node.end = stack_.back().items.back().end;
    } else {
      std::size_t dash = std::min(at, source_.text().size());
      while (dash > 0 && blank(source_.text()[dash - 1])) --dash;
      if (dash > 0) --dash;
      place(node, dash, dash + 1);
    }
    add(std::move(node));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    const std::size_t at = original(mark.pos);
    refuse(at, "an alias is used here", "write the value out");
    YamlNode node;
    place(node, at, at + 1);
    add(std::move(node));
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override {
    const std::size_t at = original(mark.pos);
    refuse_anchor(anchor, at, at + 1);
    refuse_tag(tag, at);
    YamlNode node;
    node.shape = Shape::scalar;
    node.quoted = tag == "!";
    node.text = value;
    place(node, at, token_end(source_.text(), at, value));
    add(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(Shape::sequence, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(Shape::map, mark, tag, anchor);
  }

  void OnMapEnd() override {
    YamlNode& map = stack_.back();
    if (source_.text().compare(map.begin, 1, "{") != 0 && !map.items.empty()) map.end = map.items.front().end;
    report_duplicate_keys(map);
    const std::uint32_t begin = map.begin;
    close();
    if (!bulk_ || next_run_ == bulk_->runs.size() || bulk_->runs[next_run_].first_item != begin) return;
    if (stack_.empty() || stack_.back().shape != Shape::sequence) return;
    BulkRun& run = bulk_->runs[next_run_++];
    std::vector<YamlNode>& list = stack_.back().items;
    list.reserve(list.size() + run.items.size() + 1);
    for (YamlNode& item : run.items) {
      report_duplicate_keys(item);
      values_ += item.items.size() + 1;
      list.push_back(std::move(item));
    }
  }

 private:
  static void place(YamlNode& node, std::size_t begin, std::size_t end) {
    node.begin = static_cast<std::uint32_t>(begin);
    node.end = static_cast<std::uint32_t>(end);
  }

  void open(Shape shape, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    const std::size_t at = original(mark.pos);
    refuse_anchor(anchor, at, at + 1);
    refuse_tag(tag, at);
    if (static_cast<int>(stack_.size()) >= max_depth) {
      report(code::nested_too_deeply, fmt::format("values are nested more than {} deep", max_depth), at, at + 1, "this is one too many");
      throw Stop{};
    }
    expect_key(at, at + 1, false);
    YamlNode node;
    node.shape = shape;
    place(node, at, at + 1);
    stack_.push_back(std::move(node));
  }

  void close() {
    YamlNode node = std::move(stack_.back());
    stack_.pop_back();
    add(std::move(node), false);
  }

  void add(YamlNode&& node, bool check = true) {
    if (++values_ > max_values) {
      report(code::manifest_too_large, fmt::format("the text holds more than {} values", max_values), node.begin, node.end, "");
      throw Stop{};
    }
    if (check) expect_key(node.begin, node.end, node.shape == Shape::scalar);
    if (stack_.empty()) {
      if (node.shape != Shape::null) documents.push_back(std::move(node));
    } else {
      stack_.back().items.push_back(std::move(node));
    }
  }

  // The next value of a map in which keys and values are even is a key, and a key is a plain word.
  void expect_key(std::size_t begin, std::size_t end, bool is_word) {
    if (is_word || stack_.empty() || stack_.back().shape != Shape::map || stack_.back().items.size() % 2 == 1) return;
    if (!key_problem) {   // not told yet: an open bracket looks like a key too, and then the scanner says so
      key_problem = make_diagnostic(code::key_not_text, "the key of a map has to be a word");
      key_problem->span = source_.span(begin, end);
      key_problem->label = "this is no word";
    }
  }

  std::size_t null_word_at(std::size_t at) const {
    const std::string& text = source_.text();
    for (const std::string_view word : {"null", "Null", "NULL", "~"}) {
      if (text.compare(at, word.size(), word) != 0) continue;
      const std::size_t after = at + word.size();
      if (after >= text.size() || blank(text[after]) || text[after] == ',' || text[after] == '}' || text[after] == ']')
        return word.size();
    }
    return 0;
  }

  void refuse_anchor(YAML::anchor_t anchor, std::size_t begin, std::size_t) {
    if (anchor != 0) refuse(begin, "an anchor is set here", "remove it");
  }

  void refuse_tag(const std::string& tag, std::size_t at) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    refuse(at, "a tag is set here", "remove it");
  }

  void refuse(std::size_t at, std::string message, std::string label) {
    const std::string& text = source_.text();
    std::size_t end = at;
    while (end < text.size() && !blank(text[end]) && text[end] != ',' && text[end] != ']' && text[end] != '}') ++end;
    report(code::alias_refused, std::move(message), at, std::max(end, at + 1), std::move(label));
    if (++refused_ >= 20) throw Stop{};
  }

  void report_duplicate_keys(const YamlNode& map) {
    const std::size_t count = map.size();
    const auto report_one = [&](std::size_t first, std::size_t second) {
      const YamlNode& key = map.key(second);
      Diagnostic d = make_diagnostic(code::duplicate_key, fmt::format("duplicate key '{}'", one_line(key.text, 60)));
      d.span = source_.span(key.begin, key.end);
      d.label = fmt::format("first set on line {}", source_.line_of(map.key(first).begin));
      diagnostics_.push_back(std::move(d));
    };
    if (count <= 12) {
      for (std::size_t i = 1; i < count; ++i)
        for (std::size_t j = 0; j < i; ++j)
          if (map.key(i).text == map.key(j).text) {
            report_one(j, i);
            break;
          }
      return;
    }
    std::unordered_map<std::string_view, std::size_t> seen;
    for (std::size_t i = 0; i < count; ++i) {
      const auto [where, is_new] = seen.emplace(map.key(i).text, i);
      if (!is_new) report_one(where->second, i);
    }
  }

  void report(Code code, std::string message, std::size_t begin, std::size_t end, std::string label) {
    Diagnostic d = make_diagnostic(code, std::move(message));
    d.span = source_.span(begin, end);
    d.label = std::move(label);
    diagnostics_.push_back(std::move(d));
  }

  const Source& source_;
  BulkText* bulk_;
  int skipped_;
  Diagnostics& diagnostics_;
  std::vector<YamlNode> stack_;
  std::size_t values_ = 0, next_run_ = 0;
  int refused_ = 0;
};

// The first control character or broken sequence, if there is one: then this is not a text that anybody wrote.
std::optional<Diagnostic> not_text(const Source& source) {
  const std::string& text = source.text();
  std::size_t bad = std::string::npos;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if ((c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7f) {
      bad = i;
      break;
    }
  }
  std::string what;
  if (bad != std::string::npos) {
    what = fmt::format("byte 0x{:02x} at offset {} is no character of a text", static_cast<unsigned char>(text[bad]), bad);
  } else if (!is_valid_utf8(text)) {
    std::size_t line = 0;   // lines are short: look for the broken one, then for the place in it
    for (std::size_t n = 1; n <= source.line_count() && line == 0; ++n)
      if (!is_valid_utf8(source.line(n))) line = n;
    line = std::max<std::size_t>(line, 1);
    const std::string_view broken = source.line(line);
    std::size_t good = 0;
    for (std::size_t step = 1; good < broken.size(); good += step, step = 1) {
      const auto c = static_cast<unsigned char>(broken[good]);
      step = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
      if (!is_valid_utf8(broken.substr(good, step))) break;
    }
    bad = source.line_begin(line) + good;
    what = fmt::format("the bytes at offset {} are not UTF-8", bad);
  } else {
    return std::nullopt;
  }
  Diagnostic d = make_diagnostic(code::manifest_not_text, what);
  d.span = source.span(bad, bad + 1);
  return d;
}

bool tab_indented(std::string_view line) {
  for (const char c : line) {
    if (c == '\t') return true;
    if (c != ' ') return false;
  }
  return false;
}

// What yaml-cpp says, in words that help, at the place where it stopped.
Diagnostic syntax_error(const Source& source, const std::string& said, std::size_t at) {
  at = std::min(at, source.text().size());
  const std::size_t line = source.line_of(at);
  for (std::size_t n = line; n >= 1 && n + 1 >= line; --n) {
    const std::string_view words = source.line(n);
    if (!tab_indented(words)) continue;
    const std::size_t tab = source.line_begin(n) + words.find('\t');
    Diagnostic d = make_diagnostic(code::tab_in_indentation, "a tab stands in the indentation");
    d.span = source.span(tab, tab + 1);
    d.label = "use blanks";
    return d;
  }
  if (said == "bad file") {
    Diagnostic d = make_diagnostic(code::nested_too_deeply, fmt::format("values are nested more than {} deep", max_depth));
    d.span = source.span(at, at + 1);
    return d;
  }
  struct Row { std::string_view said, message, label; };
  static constexpr Row rows[] = {
      {"illegal map value", "a value is not expected here", "is a quote missing around a text with ': ' in it?"},
      {"end of map not found", "the map does not go on here", "check the indentation and that every key has a ':'"},
      {"end of sequence not found", "the list does not go on here", "check the indentation"},
      {"end of map flow not found", "a '{' is never closed", "opened here"},
      {"end of sequence flow not found", "a '[' is never closed", "opened here"},
      {"illegal EOF in scalar", "a quote is never closed", "the text ends here"},
      {"illegal block entry", "a list entry '- ' is not expected here", "check the indentation"},
      {"illegal map key", "a key is not expected here", "check the indentation"},
      {"the referenced anchor is not defined", "an alias is used here", "write the value out"},
      {"unknown token", "a character is not expected here", "quote the text if it begins with this"},
      {"unknown escape character: ", "a backslash in double quotes is followed by what is no escape", "use single quotes"},
  };
  Diagnostic d = make_diagnostic(code::manifest_not_yaml, one_line(said));
  for (const Row& row : rows)
    if (said.rfind(row.said, 0) == 0) {
      d.message = row.message;
      d.label = row.label;
      if (said == "the referenced anchor is not defined") {
        d.code = code::alias_refused;
      }
      break;
    }
  std::size_t end = at < source.text().size() && source.text()[at] != '\n' ? at + 1 : at;
  while (end < source.text().size() && (static_cast<unsigned char>(source.text()[end]) & 0xc0) == 0x80) ++end;
  d.span = source.span(at, end);
  return d;
}

// One pass of the scanner; false when the bulk rows turned out not to be rows and the pass has to be repeated.
bool scan(const Source& source, BulkText* bulk, std::vector<YamlNode>& documents, Diagnostics& diagnostics) {
  std::string_view text = bulk ? bulk->text : source.text();
  const int skipped = text.rfind("\xef\xbb\xbf", 0) == 0 ? 3 : 0;   // a byte order mark is no part of the document
  text.remove_prefix(static_cast<std::size_t>(skipped));
  TreeBuilder builder(source, bulk, skipped, diagnostics);
  ViewBuffer buffer(text);
  std::istream stream(&buffer);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {}
    if (!builder.all_runs_met()) return false;
    if (builder.key_problem) {
      diagnostics.push_back(*std::move(builder.key_problem));
      builder.documents.clear();   // what hangs on such a key has no name to speak of
    }
  } catch (const Stop&) {
    if (!builder.all_runs_met()) return false;
  } catch (const YAML::Exception& e) {
    if (!builder.all_runs_met()) return false;
    std::size_t at = e.mark.is_null() ? 0 : builder.original(e.mark.pos);
    if (e.msg.find("flow not found") != std::string::npos) at = builder.open_bracket().value_or(at);
    diagnostics.push_back(syntax_error(source, e.msg, at));
  } catch (const std::exception& e) {
    diagnostics.push_back(make_diagnostic(code::manifest_not_yaml, "the text cannot be read: " + one_line(e.what())));
  }
  documents = std::move(builder.documents);
  return true;
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view wanted) const {
  if (shape != Shape::map) return nullptr;
  for (std::size_t i = 0; i < size(); ++i)
    if (key(i).text == wanted) return &value(i);
  return nullptr;
}

std::vector<YamlNode> parse_yaml(const Source& source, Diagnostics& diagnostics) {
  std::vector<YamlNode> documents;
  if (source.text().size() > max_manifest_bytes) {
    diagnostics.push_back(make_diagnostic(
        code::manifest_too_large, fmt::format("{} is {} MiB; a manifest may have {}", one_line(source.file()),
                                              source.text().size() >> 20, max_manifest_bytes >> 20)));
    return documents;
  }
  if (auto bad = not_text(source)) {
    diagnostics.push_back(std::move(*bad));
    return documents;
  }
  BulkText bulk = take_bulk_rows(source.text());
  Diagnostics found;
  if (bulk.runs.empty() || !scan(source, &bulk, documents, found)) {
    found.clear();
    documents.clear();
    scan(source, nullptr, documents, found);
  }
  diagnostics.insert(diagnostics.end(), std::make_move_iterator(found.begin()), std::make_move_iterator(found.end()));
  return documents;
}

json::Value to_json_value(const YamlNode& node) {
  switch (node.shape) {
    case Shape::null: return {};
    case Shape::sequence: {
      json::Array out;
      for (const YamlNode& item : node.items) out.push_back(to_json_value(item));
      return out;
    }
    case Shape::map: {
      json::Object out;
      for (std::size_t i = 0; i < node.size(); ++i) out.set(node.key(i).text, to_json_value(node.value(i)));
      return out;
    }
    case Shape::scalar: break;
  }
  const std::string& text = node.text;
  if (node.quoted) return text;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  std::int64_t whole = 0;
  if (const auto [p, e] = std::from_chars(begin, end, whole); e == std::errc{} && p == end) return whole;
  const bool numeric = !text.empty() && text.find_first_not_of("0123456789+-.eE") == std::string::npos;
  double number = 0;
  if (numeric)
    if (const auto [p, e] = std::from_chars(begin, end, number); e == std::errc{} && p == end && std::isfinite(number)) return number;
  return text;
}

void append_canonical(const YamlNode& node, std::string& out) {
  const auto quoted = [&](std::string_view text) {
    out += '"';
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  };
  switch (node.shape) {
    case Shape::null: out += "null"; return;
    case Shape::scalar:
      if (node.quoted) quoted(node.text);
      else if (const json::Value value = to_json_value(node); value.is_string()) quoted(node.text);
      else out += node.text;
      return;
    case Shape::sequence:
      out += '[';
      for (const YamlNode& item : node.items) {
        append_canonical(item, out);
        out += ',';
      }
      out += ']';
      return;
    case Shape::map: {
      std::vector<std::size_t> order(node.size());
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
      std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return node.key(a).text < node.key(b).text; });
      out += '{';
      for (const std::size_t i : order) {
        quoted(node.key(i).text);
        out += ':';
        append_canonical(node.value(i), out);
        out += ',';
      }
      out += '}';
      return;
    }
  }
}

}  // namespace kfab::manifest
