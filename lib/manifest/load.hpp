#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/diagnostic.hpp"
#include "manifest/model.hpp"

namespace kfab::manifest {

// A text that was read, kept for the carets under diagnostics.
struct SourceText {
  std::string file;
  std::string text;
};

// What came of reading a manifest: the document, if there were no errors, and every diagnostic of one pass, sorted by
// place. `document` is set whenever has_errors(diagnostics) is false.
struct Loaded {
  std::variant<std::monostate, Site, Program, Profile, CriteriaSet, Role> document;
  Diagnostics diagnostics;
  std::vector<SourceText> sources;
  std::string sha256;

  const Site* site() const { return std::get_if<Site>(&document); }
  const Program* program() const { return std::get_if<Program>(&document); }
};

// Reads the file ("-" is standard input, read by the caller and given to load_text) and all that it refers to: CSV
// files, profiles, criteria and roles by `file:` relative to the manifest, or by name from the ones built into kfab.
// One file may hold several YAML documents: one Site or Program first, then what it uses.
Loaded load_file(const std::filesystem::path&);
Loaded load_text(std::string_view text, const std::string& file_name, const std::filesystem::path& relative_to);

// The shipped profiles, criteria sets and roles that a manifest may name without bringing them: kind, name, text.
struct BuiltIn { std::string_view kind, name, text; };
std::vector<BuiltIn> built_ins();
// A criteria set that ships, read; null when there is none of that name.
std::shared_ptr<const CriteriaSet> built_in_criteria(std::string_view name);

}  // namespace kfab::manifest
