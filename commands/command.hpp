#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/diagnostic.hpp"
#include "base/words.hpp"
#include "fleet/cost.hpp"
#include "json/envelope.hpp"
#include "json/value.hpp"
#include "manifest/load.hpp"
#include "term/writer.hpp"

namespace kfab {

// The site a result is about: the envelope's `site`. Empty name: none.
struct SiteRef {
  std::string name;
  std::string manifest_sha256;
};

// What every command gives back. `data` and `render` come from the same struct, so that people and scripts are told
// the same. The process around it makes the envelope, prints the diagnostics and turns `outcome` into the exit code.
struct CommandOutput {
  Outcome outcome = Outcome::yes;
  int signal = 0;                       // for Outcome::cancelled: 2 or 15
  std::string schema;                   // "kfab.exec/1.0"; empty: the one that the command's row declares
  json::Value data;                     // null when there is nothing to say
  std::function<json::Value()> make_data;   // takes the place of `data`, and is called only where JSON is printed: what was told of a site may fill gigabytes
  std::optional<json::Rows> rows{};     // the elements of an array in `data`, written one by one, because all of them may fill gigabytes
  Diagnostics diagnostics;
  SiteRef site;
  std::string run_id;                   // empty: Env::run_id
  std::vector<manifest::SourceText> sources;   // of the manifest, for the carets under diagnostics
  std::optional<fleet::RunCost> cost;   // of a run over nodes: told on stderr at the very end, of more than one node
  std::function<void(term::Writer&)> render;   // the result for people, on stdout; empty: nothing
};

// The output of a command that could not start: the diagnostics and Outcome::invalid.
CommandOutput not_started(Diagnostics, std::vector<manifest::SourceText> sources = {});
CommandOutput not_started(Diagnostic);

// A renderer of plain text, for commands whose result is one.
std::function<void(term::Writer&)> plain_text(std::string text);

}  // namespace kfab
