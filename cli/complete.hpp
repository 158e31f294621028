#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/option_table.hpp"

namespace kfab::cli {

struct Candidate {
  std::string value;
  std::string description;
};

// What may stand at a place of the command line. `files` and `dirs` ask the shell for paths besides the candidates,
// `nospace` asks it to put no blank after one.
struct Completion {
  enum class Directive : std::uint8_t { none, files, dirs, nospace };
  Directive directive = Directive::none;
  std::vector<Candidate> candidates;
};

// The names in a manifest that options may want. Empty when it cannot be read in time.
struct ManifestNames {
  std::vector<Candidate> tranches;
  std::vector<Candidate> groups;   // "@hall-a", "@tranche:t1"
  std::vector<Candidate> nodes;    // only of small sites
};
using ManifestLookup = std::function<ManifestNames(const std::string& path)>;

// The names in the manifest at `path` ("~/" allowed), read within `deadline_ms`; past that, none. Reads no more than
// the loader does and opens no connection.
ManifestNames manifest_names(const std::string& path, int deadline_ms);

// What may stand in place of words[index]; words[0] is the program. Only candidates that start with what is there.
Completion complete(std::span<const std::string> words, std::size_t index, const ManifestLookup&);

// The answer as shells read it: the directive, then "value<TAB>description" lines.
std::string to_protocol(const Completion&);

}  // namespace kfab::cli
