#pragma once

#include <string>

#include "commands/command.hpp"
#include "commands/env.hpp"
#include "commands/selection.hpp"
#include "manifest/interchange.hpp"

// `kfab import`, `kfab export` and `kfab learn`: texts on stdout, made of files and of what is recorded; nobody is reached.
namespace kfab::commands {

struct ImportOptions {
  manifest::ImportFormat format = manifest::ImportFormat::csv;
  std::string file;                       // - is standard input
  manifest::ImportChoices choices;
};
CommandOutput run_import(const ImportOptions&, Env&);

struct ExportOptions {
  manifest::ExportFormat format = manifest::ExportFormat::ansible;
  std::string manifest;
  Selection selection;
  int port = 9100;                        // of the targets for Prometheus
};
CommandOutput run_export(const ExportOptions&, Env&);

struct LearnOptions {
  std::string manifest, node;
  std::string name;                       // of the profile; empty: its present one's with "-learned"
};
CommandOutput run_learn(const LearnOptions&, Env&);

}  // namespace kfab::commands
