#include "manifest/library.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/file.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "manifest/decode.hpp"
#include "manifest/load.hpp"

namespace kfab::manifest {
namespace {

constexpr std::string_view file_prefix = "file:";
constexpr std::string_view api_version = "kfab/v1";

std::string key_of(std::string_view kind, std::string_view name) { return fmt::format("{} {}", kind, name); }

// What a document says it is. Empty when it does not say it in the way that kfab reads; that is reported.
std::string read_kind(const Cursor& root) {
  if (root.node.shape != Shape::map) {
    root.report(code::unknown_kind, "the document is not a map of apiVersion, kind, metadata and spec", "found " + root.found());
    return {};
  }
  bool good = true;
  const auto head = [&](std::string_view key, auto&& check) {
    const YamlNode* value = root.node.find(key);
    if (!value) {
      root.report(code::unknown_kind, fmt::format("the document has no '{}'", key), "expected apiVersion: kfab/v1 and a kind");
      return;   // what else is wrong is told all the same
    }
    const Path path{&root.path, key, 0};
    check(Cursor{root.document, *value, path});
  };
  head("apiVersion", [&](const Cursor& at) {
    if (at.node.shape == Shape::scalar && at.node.text == api_version) return;
    at.report(code::unknown_kind, "this kfab reads apiVersion kfab/v1", "found " + at.found(), {std::string(api_version)});
    good = false;
  });
  std::string kind;
  head("kind", [&](const Cursor& at) {
    const Words& known = document_kinds();
    if (at.node.shape == Shape::scalar && std::find(known.begin(), known.end(), at.node.text) != known.end()) {
      kind = at.node.text;
      return;
    }
    at.report(code::unknown_kind, "this kind of document is not kfab's", "found " + at.found(), nearest(at.node.text, known, 1),
              {"kinds: " + join(known, ", ")});
  });
  return good ? kind : std::string();
}

}  // namespace

const Words& document_kinds() {
  static const Words kinds{std::string(kind_site), std::string(kind_program), std::string(kind_profile), std::string(kind_criteria),
                           std::string(kind_role)};
  return kinds;
}

ManifestFile& Library::add(const std::filesystem::path& path, SourcePtr source, const std::filesystem::path& directory, bool built_in) {
  files_.push_back(std::make_unique<ManifestFile>());
  ManifestFile& file = *files_.back();
  file.path = path;
  file.source = source;
  sources_.push_back(source);
  Diagnostics found;
  file.documents = parse_yaml(*source, found);
  findings_.add(std::move(found));
  for (const YamlNode& root : file.documents) {
    Entry entry;
    entry.document = std::make_unique<Document>(Document{source, &findings_, {}, directory, built_in});
    entry.root = &root;
    if (const YamlNode* metadata = root.find("metadata")) {
      if (const YamlNode* name = metadata->find("name"); name && name->shape == Shape::scalar) entry.name = name->text;
      if (const YamlNode* sources = metadata->find("sources"); sources && sources->shape == Shape::map)
        for (std::size_t i = 0; i < sources->size(); ++i)
          entry.document->source_names.emplace(sources->key(i).text, sources->value(i).text);
    }
    const Path top;
    entry.kind = read_kind(Cursor{*entry.document, root, top});
    file.entries.push_back(std::move(entry));
  }
  return file;
}

ManifestFile* Library::open(const Cursor& reference, const std::string& relative) {
  const std::filesystem::path path = (reference.document.directory / relative).lexically_normal();
  for (const auto& file : files_)
    if (file->path == path) return file.get();
  const SourcePtr source = open_data(reference, relative, max_manifest_bytes);
  if (!source) return nullptr;
  sources_.pop_back();   // add() keeps it
  drawn_in_.erase("file " + relative);
  return &add(path, source, path.parent_path());
}

SourcePtr Library::open_data(const Cursor& reference, const std::string& relative, std::size_t max_bytes) {
  const auto refuse = [&](std::string message, std::string label) {
    reference.report(code::bad_referenced_file, std::move(message), std::move(label));
    return SourcePtr();
  };
  if (reference.document.built_in) return refuse("a built-in document cannot draw in files", "not possible here");
  const std::filesystem::path path = (reference.document.directory / relative).lexically_normal();
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return refuse(fmt::format("{} does not exist", one_line(path.string())), "no such file");
  if (!std::filesystem::is_regular_file(path, error)) return refuse(fmt::format("{} is not a file", one_line(path.string())), "not a file");
  auto text = read_file(path, max_bytes);
  if (!text) return refuse(text.error().message, "cannot be read");
  drawn_in_["file " + relative] = sha256_hex(*text);
  auto source = std::make_shared<Source>(path.string(), *std::move(text));
  sources_.push_back(source);
  return source;
}

ManifestFile* Library::file_of(const Document& document) {
  for (const auto& file : files_)
    if (file->source == document.source) return file.get();
  return nullptr;
}

Entry* Library::find_in(ManifestFile& file, std::string_view kind, std::string_view name) {
  for (Entry& entry : file.entries)
    if (entry.kind == kind && entry.name == name) return &entry;
  return nullptr;
}

Entry* Library::find_built_in(std::string_view kind, std::string_view name) {
  const std::string label = fmt::format("built-in {} {}", kind, name);
  for (const auto& file : files_)
    if (file->path == label) return find_in(*file, kind, name);
  for (const BuiltIn& one : built_ins())
    if (one.kind == kind && one.name == name)
      return find_in(add(label, std::make_shared<Source>(label, std::string(one.text)), {}, true), kind, name);
  return nullptr;
}

bool Library::refer(const Cursor& reference, std::string_view kind, std::string& name) {
  std::string text;
  if (!read_text(reference, text)) return false;
  Entry* entry = nullptr;
  if (text.rfind(file_prefix, 0) == 0) {
    std::string path = text.substr(file_prefix.size()), wanted;
    if (const std::size_t hash = path.rfind('#'); hash != std::string::npos) {
      wanted = path.substr(hash + 1);
      path.resize(hash);
    }
    ManifestFile* file = open(reference, path);
    if (!file) return false;
    std::vector<Entry*> fitting;
    for (Entry& one : file->entries)
      if (one.kind == kind && (wanted.empty() || one.name == wanted)) fitting.push_back(&one);
    if (fitting.size() != 1) {
      const std::string what = wanted.empty() ? fmt::format("{}", kind) : fmt::format("{} named '{}'", kind, one_line(wanted, 60));
      reference.report(code::bad_referenced_file,
                       fitting.empty() ? fmt::format("{} holds no {}", one_line(path), what)
                                       : fmt::format("{} holds {} documents of kind {}", one_line(path), fitting.size(), kind),
                       fitting.empty() ? "expected one" : "say which: file:path#name");
      return false;
    }
    entry = fitting.front();
  } else {
    ManifestFile* own = file_of(reference.document);
    if (own) entry = find_in(*own, kind, text);
    if (!entry) entry = find_built_in(kind, text);
    if (!entry) {
      Words known;
      if (own)
        for (const Entry& one : own->entries)
          if (one.kind == kind && !one.name.empty()) known.push_back(one.name);
      for (const BuiltIn& one : built_ins())
        if (one.kind == kind) known.emplace_back(one.name);
      auto near = nearest(text, known, 1);
      std::string label = near.empty() ? std::string("not declared, not built in") : std::string();
      const std::string what = kind == kind_criteria ? "set of criteria" : to_lower(kind);
      reference.report(code::unknown_reference, fmt::format("there is no {} '{}'", what, one_line(text, 60)), std::move(label), std::move(near),
                       {fmt::format("known here: {}", known.empty() ? "none" : one_line(join(known, ", "), 300)),
                        fmt::format("a {} in another file is named by `file:PATH`", what)});
      return false;
    }
  }
  read(*entry);
  name = entry->name;
  return !name.empty();
}

void Library::read(Entry& entry) {
  if (entry.read) return;
  entry.read = true;
  const Path top;
  const Cursor root{*entry.document, *entry.root, top};
  const std::string key = key_of(entry.kind, entry.name);
  const auto [owner, is_new] = owner_.emplace(key, &entry);
  if (!is_new) {
    root.report(code::duplicate_name, fmt::format("a second {} is named '{}'", entry.kind, one_line(entry.name, 60)),
                fmt::format("the first is in {}", owner->second->document->source->file()));
    return;
  }
  std::string canonical;
  append_canonical(*entry.root, canonical);
  const std::string sha256 = sha256_hex(canonical);
  drawn_in_[key] = sha256;
  if (entry.kind == kind_profile) {
    Profile profile;
    read_profile(root, *this, profile);
    profile.sha256 = sha256;
    profiles[entry.name] = std::move(profile);
  } else if (entry.kind == kind_criteria) {
    CriteriaSet set;
    read_criteria(root, *this, set);
    set.sha256 = sha256;
    if (!set.extends.empty()) {
      for (const auto& base : set.extends) canonical += "\n" + criteria_sets[base].sha256;
      set.sha256 = sha256_hex(canonical);
    }
    criteria_sets[entry.name] = std::move(set);
  } else if (entry.kind == kind_role) {
    Role role;
    read_role(root, *this, role);
    roles[entry.name] = std::move(role);
  }
}

std::string Library::digest(const YamlNode& main) const {
  std::string canonical;
  append_canonical(main, canonical);
  Sha256 sum;
  sum.update("kfab/v1\n");
  sum.update(sha256_hex(canonical));
  for (const auto& [what, sha256] : drawn_in_) sum.update(fmt::format("\n{} {}", what, sha256));
  return sum.hex();
}

}  // namespace kfab::manifest
