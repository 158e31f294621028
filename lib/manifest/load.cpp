#include "manifest/load.hpp"

#include <new>
#include <set>

#include <fmt/format.h>

#include "base/codes/internal.hpp"
#include "base/codes/manifest.hpp"
#include "base/codes/store.hpp"
#include "base/file.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "manifest/decode.hpp"
#include "manifest/library.hpp"

namespace kfab::manifest {
namespace {

constexpr std::size_t max_sites = 1000;

template <class Document>
void take_library(Document& document, Library& library) {
  document.profiles = std::move(library.profiles);
  document.criteria = std::move(library.criteria_sets);
  document.roles = std::move(library.roles);
}

void add_sources(const Library& library, std::vector<SourceText>& out) {
  for (const SourcePtr& source : library.sources()) out.push_back({source->file(), source->text()});
}

// The documents after the first: only what the first may use, each once.
void check_others(ManifestFile& file) {
  std::set<std::pair<std::string, std::string>> seen;
  for (std::size_t i = 0; i < file.entries.size(); ++i) {
    const Entry& entry = file.entries[i];
    if (entry.kind.empty()) continue;
    const Path top;
    const Cursor root{*entry.document, *entry.root, top};
    if (i > 0 && (entry.kind == kind_site || entry.kind == kind_program))
      root.report(code::unexpected_document, fmt::format("a {} can only be the first document of a file", entry.kind), "put it into a file of its own");
    else if (!seen.insert({entry.kind, entry.name}).second)
      root.report(code::unexpected_document, fmt::format("a second {} is named '{}'", entry.kind, one_line(entry.name, 60)), "rename one of them");
  }
}

// Reads what the file is about and then whatever else stands in it, so that nothing in it stays unchecked.
void read_rest(ManifestFile& file, Library& library) {
  std::set<std::pair<std::string, std::string>> seen;
  for (Entry& entry : file.entries) {
    if (entry.kind.empty() || entry.kind == kind_site || entry.kind == kind_program) continue;
    if (seen.insert({entry.kind, entry.name}).second) library.read(entry);
  }
}

Site read_whole_site(ManifestFile& file, Library& library) {
  Site site;
  const Entry& main = file.entries.front();
  const Path top;
  read_site(Cursor{*main.document, *main.root, top}, library, site);
  read_rest(file, library);
  take_library(site, library);
  site.sha256 = library.digest(*main.root);
  return site;
}

// The sites of a programme, each from its own file and with a library of its own: what one declares is not the other's.
void read_sites(const Cursor& root, Program& program, std::vector<SourceText>& sources) {
  const YamlNode* spec = root.node.find("spec");
  if (!spec || spec->shape != Shape::map) return;
  const Path spec_path{&root.path, "spec", 0};
  Fields fields(Cursor{root.document, *spec, spec_path});
  Unique unique("site");
  Words names;
  fields.each("sites", [&](const Cursor& at) {
    std::string path;
    if (!read_text(at, path)) return;
    if (program.sites.size() >= max_sites) {
      at.report(code::manifest_too_large, fmt::format("a programme has at most {} sites", max_sites), "too many");
      return;
    }
    Library library(*root.document.findings);
    ManifestFile* file = library.open(at, path);
    if (!file) return;
    if (file->entries.empty() || file->entries.front().kind != kind_site) {
      if (!file->entries.empty() && !file->entries.front().kind.empty())
        at.report(code::bad_referenced_file, fmt::format("{} is a {}, not a Site", one_line(path), file->entries.front().kind), "expected a Site");
      else if (file->entries.empty())
        at.report(code::bad_referenced_file, fmt::format("{} holds no Site", one_line(path)), "expected a Site");
      add_sources(library, sources);
      return;
    }
    check_others(*file);
    program.sites.push_back(read_whole_site(*file, library));
    unique.add(at, program.sites.back().metadata.name);
    names.push_back(program.sites.back().metadata.name);
    add_sources(library, sources);
  });
  fields.each("links", [&](const Cursor& link) {
    const YamlNode* between = link.node.find("between");
    if (!between || between->shape != Shape::sequence) return;
    for (const YamlNode& one : between->items) {
      std::string name;
      read_reference(Cursor{link.document, one, link.path}, "site", names, name);
    }
  });
  for (std::size_t i = 0; i < spec->size(); ++i) fields.get(spec->key(i).text);   // checked by read_program
}

void read_document(ManifestFile& file, Library& library, Loaded& out) {
  Entry& main = file.entries.front();
  const Path top;
  const Cursor root{*main.document, *main.root, top};
  check_others(file);
  if (main.kind == kind_site) {
    Site site = read_whole_site(file, library);
    out.sha256 = site.sha256;
    out.document = std::move(site);
  } else if (main.kind == kind_program) {
    Program program;
    read_program(root, library, program);
    read_rest(file, library);
    const std::string own = library.digest(*main.root);
    take_library(program, library);
    read_sites(root, program, out.sources);
    Sha256 sum;
    sum.update(own);
    for (const Site& site : program.sites) sum.update("\n" + site.sha256);
    program.sha256 = out.sha256 = sum.hex();
    out.document = std::move(program);
  } else {
    read_rest(file, library);
    out.sha256 = library.digest(*main.root);
    if (main.kind == kind_profile) out.document = library.profiles[main.name];
    if (main.kind == kind_criteria) out.document = library.criteria_sets[main.name];
    if (main.kind == kind_role) out.document = library.roles[main.name];
  }
}

Loaded load_source(SourcePtr source, const std::filesystem::path& path, const std::filesystem::path& directory) {
  Loaded out;
  Findings findings;
  Library library(findings);
  ManifestFile& file = library.add(path, source, directory);
  if (!file.entries.empty() && !file.entries.front().kind.empty()) {
    read_document(file, library, out);
  } else if (file.entries.empty() && findings.errors() == 0) {
    Diagnostic d = make_diagnostic(code::manifest_empty, fmt::format("{} holds no document", one_line(source->file())));
    d.span = source->span(0, 0);
    findings.add(std::move(d));
  }
  std::vector<SourceText> sources;
  add_sources(library, sources);
  sources.insert(sources.end(), std::make_move_iterator(out.sources.begin()), std::make_move_iterator(out.sources.end()));
  out.sources = std::move(sources);
  out.diagnostics = findings.take();
  if (has_errors(out.diagnostics)) out.document = std::monostate{};
  return out;
}

}  // namespace

Loaded load_text(std::string_view text, const std::string& file_name, const std::filesystem::path& relative_to) {
  try {
    return load_source(std::make_shared<Source>(file_name, std::string(text)), file_name, relative_to);
  } catch (const std::bad_alloc&) {
    Loaded out;
    out.diagnostics.push_back(make_diagnostic(code::manifest_too_large, fmt::format("{} needs more memory than there is", one_line(file_name))));
    return out;
  } catch (const std::exception& e) {
    Loaded out;
    out.diagnostics.push_back(make_diagnostic(code::internal, fmt::format("reading {}: {}", one_line(file_name), one_line(e.what()))));
    return out;
  }
}

Loaded load_file(const std::filesystem::path& path) {
  auto text = read_file(path, max_manifest_bytes);
  if (!text) {
    Loaded out;
    Diagnostic why = text.error();
    if (why.code == code::file_too_large) {
      why = make_diagnostic(code::manifest_too_large, fmt::format("{} is larger than the {} MiB that a manifest may have", one_line(path.string()),
                                                                 max_manifest_bytes >> 20));
    }
    out.diagnostics.push_back(std::move(why));
    return out;
  }
  return load_text(*text, path.string(), path.parent_path());
}

std::shared_ptr<const CriteriaSet> built_in_criteria(std::string_view name) {
  for (const BuiltIn& one : built_ins()) {
    if (one.kind != kind_criteria || one.name != name) continue;
    Loaded loaded = load_text(one.text, fmt::format("built-in {} {}", kind_criteria, name), {});
    if (auto* set = std::get_if<CriteriaSet>(&loaded.document)) return std::make_shared<const CriteriaSet>(std::move(*set));
  }
  return nullptr;
}

}  // namespace kfab::manifest
