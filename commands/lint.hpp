#pragma once

#include <string>
#include <vector>

#include "commands/command.hpp"
#include "commands/env.hpp"
#include "manifest/load.hpp"

namespace kfab::commands {

// `kfab lint MANIFEST...`: is each manifest, with all that it draws in, as it has to be. "-" is standard input.
struct LintOptions {
  std::vector<std::string> files;
};

struct LintedFile {
  std::string file;
  std::string kind, name;          // of the first document; empty when it could not be read
  std::string manifest_sha256;     // empty when it is not valid
  bool valid = false;              // no errors; warnings do not make it invalid
  bool readable = true;            // false: there was nothing to judge
  Diagnostics diagnostics;
  std::vector<manifest::SourceText> sources;
};

struct LintResult {
  std::vector<LintedFile> files;
};

// What lint says about a manifest that was loaded.
LintedFile linted(std::string file, manifest::Loaded);

// Schema kfab.lint/1.0: files[] of file, kind, name, valid, manifest_sha256, errors, warnings, diagnostics[].
json::Value to_json(const LintResult&);
void render(const LintResult&, term::Writer&);

// Outcome yes: all valid; no: one is not; invalid: one could not be read at all.
CommandOutput run_lint(const LintOptions&, Env&);

}  // namespace kfab::commands
