#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/diagnostic.hpp"
#include "manifest/model.hpp"
#include "manifest/quantity.hpp"
#include "manifest/source.hpp"
#include "manifest/yaml.hpp"

// How typed values are taken out of a tree: a Cursor is a value with its place in the document, Fields reads the keys of
// a map one by one and in the end reports those that nobody asked for. Everything that is wrong is reported and reading
// goes on, so that one pass finds it all.
namespace kfab::manifest {

// The way to a value, "spec.tranches[1].due", kept as a chain on the stack and written out only for a diagnostic.
struct Path {
  const Path* parent = nullptr;
  std::string_view key{};
  std::size_t index = 0;
  std::string str() const;
};

// Where a thing was declared, small enough to be kept for every node of a large site.
struct Place {
  const Source* source = nullptr;
  std::uint32_t begin = 0, end = 0;
  SourceSpan span() const { return source ? source->span(begin, end) : SourceSpan{}; }
};

// Collects what is found wrong, up to a bound: a file of a million errors must not make a million diagnostics.
class Findings {
 public:
  static constexpr std::size_t limit = 1000;
  void add(Diagnostic);
  void add(Diagnostics);
  std::size_t errors() const { return errors_; }
  Diagnostics take();   // sorted by file and place, with a note when some were left out

 private:
  Diagnostics found_;
  std::size_t left_out_ = 0, errors_ = 0;
};

// One document being read: its text, where findings go, the sources that it names, and what relative paths start from.
struct Document {
  SourcePtr source;
  Findings* findings = nullptr;
  std::map<std::string, std::string> source_names{};   // metadata.sources
  std::filesystem::path directory{};
  bool built_in = false;
};

struct Cursor {
  const Document& document;
  const YamlNode& node;
  const Path& path;

  Place place() const { return {document.source.get(), node.begin, node.end}; }
  SourceSpan span() const { return place().span(); }
  // Reports something about this value, and returns it for words to be added.
  void report(Code code, std::string message, std::string label = {}, std::vector<std::string> suggestions = {},
              std::vector<std::string> help = {}) const;
  // "the string 'x'", "a map", "nothing": for "found ..." labels.
  std::string found() const;
  void wrong_type(std::string_view expected, std::vector<std::string> suggestions = {}) const;
};

enum class Need : std::uint8_t { optional, required };

using Words = std::vector<std::string>;

// A word that may be a name: [a-z0-9][a-z0-9-]*, at most 63 characters.
bool is_name(std::string_view);

// The readers of single values. Each reports what is wrong and then says false; `out` is untouched then.
bool read_text(const Cursor&, std::string& out);                     // not empty
bool read_name(const Cursor&, std::string& out);
bool read_word(const Cursor&, std::string& out, const Words& allowed);
bool read_bool(const Cursor&, bool& out);
bool read_count(const Cursor&, std::int64_t& out, std::int64_t least, std::int64_t most);
bool read_number(const Cursor&, double& out, double least, double most);
bool read_quantity(const Cursor&, double& out, const Quantity&, double least, double most);
bool read_date(const Cursor&, Date& out);
bool read_source(const Cursor&, std::string& out);                   // a key of metadata.sources, or words

// The keys of one map. Each call names a key that is allowed here; `done` (or the destructor) reports all others.
class Fields {
 public:
  explicit Fields(const Cursor& at);
  ~Fields() { done(); }
  Fields(const Fields&) = delete;
  Fields& operator=(const Fields&) = delete;

  bool is_map() const { return map_ != nullptr; }
  // The value of a key, or null. Names the key as allowed.
  const YamlNode* get(std::string_view key, Need need = Need::optional);
  bool has(std::string_view key) const;
  // Calls `read` with the value's cursor when the key is there.
  template <class Read>
  bool with(std::string_view key, Read&& read, Need need = Need::optional) {
    const YamlNode* node = get(key, need);
    if (!node) return false;
    const Path path{&at_.path, key, 0};
    const Cursor cursor{at_.document, *node, path};
    read(cursor);
    return true;
  }
  // Calls `read` for every item of a list.
  template <class Read>
  void each(std::string_view key, Read&& read, Need need = Need::optional) {
    with(key, [&](const Cursor& list) {
      if (list.node.shape != Shape::sequence) {
        list.wrong_type("a list");
        return;
      }
      for (std::size_t i = 0; i < list.node.items.size(); ++i) {
        const Path path{&list.path, {}, i};
        read(Cursor{list.document, list.node.items[i], path});
      }
    }, need);
  }

  void text(std::string_view key, std::string& out, Need need = Need::optional);
  void name(std::string_view key, std::string& out, Need need = Need::optional);
  void word(std::string_view key, std::string& out, const Words& allowed, Need need = Need::optional);
  void boolean(std::string_view key, bool& out);
  void boolean(std::string_view key, std::optional<bool>& out);
  void texts(std::string_view key, std::vector<std::string>& out);   // one text is a list of one
  void text_map(std::string_view key, std::map<std::string, std::string>& out);
  void values(std::string_view key, std::map<std::string, json::Value>& out);
  void source(std::string& out);

  // Stated values: bare, `unknown`, or {value, source, as_of}.
  void count(std::string_view key, Stated<std::int64_t>& out, std::int64_t least = 0);
  void small_count(std::string_view key, Stated<int>& out, int least, int most);
  void number(std::string_view key, Stated<double>& out, double least, double most);
  void quantity(std::string_view key, Stated<double>& out, const Quantity&, double least, double most);
  void date(std::string_view key, Stated<Date>& out);

  void done();
  const Cursor& at() const { return at_; }

 private:
  template <class T, class Read>
  void stated(std::string_view key, Stated<T>& out, Read&& read);

  const Cursor at_;
  const YamlNode* map_ = nullptr;
  std::vector<std::string_view> known_;
  std::vector<bool> used_;
  bool done_ = false;
};

}  // namespace kfab::manifest
