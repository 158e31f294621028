#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "manifest/model.hpp"
#include "manifest/reader.hpp"

namespace kfab::manifest {

// The kinds of documents, in the words of the `kind` key.
inline constexpr std::string_view kind_site = "Site", kind_program = "Program", kind_profile = "Profile",
                                  kind_criteria = "Criteria", kind_role = "Role";
const Words& document_kinds();

// A YAML document with what its head says; `kind` is empty when the head could not be read (which was reported).
struct Entry {
  std::unique_ptr<Document> document;
  const YamlNode* root = nullptr;
  std::string kind, name;
  bool read = false;          // its typed form is in the library (or has errors that were reported)
};

// A file that was read, with its documents in their order.
struct ManifestFile {
  std::filesystem::path path;
  SourcePtr source;
  std::vector<YamlNode> documents;
  std::vector<Entry> entries;
};

// Everything that one manifest draws in: files read once, and profiles, criteria sets and roles by name. A reference is
// resolved in this order: a document of the same file; with `file:` a document of that file (`file:path`, or
// `file:path#name` where it has several of the kind); a built-in one.
class Library {
 public:
  explicit Library(Findings& findings) : findings_(findings) {}

  // Splits a text into documents and reads their heads. Reports what is wrong with them.
  ManifestFile& add(const std::filesystem::path& path, SourcePtr source, const std::filesystem::path& directory,
                    bool built_in = false);
  // The file at a path relative to the referring document; null, and reported at the reference, when it cannot be read.
  ManifestFile* open(const Cursor& reference, const std::string& path);
  // The bytes of a file that is no manifest (CSV, the source of a file resource); what is wrong is reported.
  SourcePtr open_data(const Cursor& reference, const std::string& path, std::size_t max_bytes);

  // Each reads the referring text, finds the document, reads it if that was not done yet, and sets `name`.
  bool profile(const Cursor& reference, std::string& name) { return refer(reference, kind_profile, name); }
  bool criteria(const Cursor& reference, std::string& name) { return refer(reference, kind_criteria, name); }
  bool role(const Cursor& reference, std::string& name) { return refer(reference, kind_role, name); }
  // Reads one entry into the library, once.
  void read(Entry& entry);

  std::map<std::string, Profile> profiles;
  std::map<std::string, CriteriaSet> criteria_sets;
  std::map<std::string, Role> roles;

  Findings& findings() { return findings_; }
  const std::vector<SourcePtr>& sources() const { return sources_; }
  // The digest of a document and of everything drawn in so far: independent of layout, comments and order of keys.
  std::string digest(const YamlNode& main) const;

 private:
  bool refer(const Cursor& reference, std::string_view kind, std::string& name);
  Entry* find_in(ManifestFile& file, std::string_view kind, std::string_view name);
  Entry* find_built_in(std::string_view kind, std::string_view name);
  ManifestFile* file_of(const Document& document);

  Findings& findings_;
  std::vector<std::unique_ptr<ManifestFile>> files_;
  std::vector<SourcePtr> sources_;
  std::map<std::string, std::string> drawn_in_;              // "Profile dgx-b200", "file hall.csv" -> sha256
  std::map<std::string, const Entry*> owner_;                // "Profile dgx-b200" -> whose name it is
};

}  // namespace kfab::manifest
