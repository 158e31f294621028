#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "base/text.hpp"
#include "manifest/load.hpp"

namespace kfab::manifest::test {

inline const std::filesystem::path manifests = std::filesystem::path(KFAB_SOURCE_DIR) / "manifests";

inline Loaded load(std::string_view text) { return load_text(text, "site.yaml", manifests / "examples"); }

inline std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// A folder that is gone afterwards.
struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "kfab-manifest-XXXXXX").string();
    path = mkdtemp(pattern.data());
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  void write(const std::string& name, std::string_view text) const { std::ofstream(path / name, std::ios::binary) << text; }
};

// A site with the spec given, indented by two.
inline std::string site(std::string_view spec) {
  return fmt::format("apiVersion: kfab/v1\nkind: Site\nmetadata: {{name: s}}\nspec:\n{}", spec);
}

inline std::string code_of(const Loaded& loaded) {
  return loaded.diagnostics.empty() ? "none" : to_string(loaded.diagnostics.front().code);
}

inline const Diagnostic* find(const Loaded& loaded, Code code) {
  for (const Diagnostic& d : loaded.diagnostics)
    if (d.code == code) return &d;
  return nullptr;
}

// What a finding points at: the bytes of the text from its place to its end.
inline std::string pointed_at(const Loaded& loaded, const Diagnostic& d) {
  if (!d.span) return {};
  for (const SourceText& source : loaded.sources) {
    if (source.file != d.span->file) continue;
    std::string_view rest = std::string_view(source.text).substr(d.span->byte_offset);
    if (d.span->end_line != d.span->line) return std::string(rest.substr(0, rest.find('\n')));
    std::size_t bytes = 0, left = d.span->end_column - d.span->column;
    while (bytes < rest.size() && left > 0) {
      ++bytes;
      while (bytes < rest.size() && (static_cast<unsigned char>(rest[bytes]) & 0xc0) == 0x80) ++bytes;
      --left;
    }
    return std::string(rest.substr(0, bytes));
  }
  return {};
}

// All findings, one a line: "6:31 KF1010 [path] 'token' message (label) ?suggestion".
inline std::string list(const Loaded& loaded) {
  std::string out;
  for (const Diagnostic& d : loaded.diagnostics) {
    out += fmt::format("{}:{} {} [{}] '{}' {}", d.span ? d.span->line : 0, d.span ? d.span->column : 0, to_string(d.code), d.path,
                       pointed_at(loaded, d), d.message);
    if (!d.label.empty()) out += fmt::format(" ({})", d.label);
    if (!d.suggestions.empty()) out += fmt::format(" ?{}", join(d.suggestions, "|"));
    out += '\n';
  }
  return out;
}

}  // namespace kfab::manifest::test
