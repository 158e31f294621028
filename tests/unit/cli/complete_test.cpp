#include <doctest/doctest.h>

#include "base/text.hpp"
#include "cli/complete.hpp"

using namespace kfab;
using namespace kfab::cli;
using Directive = Completion::Directive;

namespace {

std::string asked;

ManifestNames lookup(const std::string& path) {
  asked = path;
  return {.tranches = {{"p1", "first"}, {"p2", ""}}, .groups = {{"@hall-a", "2 nodes"}, {"@tranche:p1", ""}}, .nodes = {{"gpu01", "p1"}, {"gpu02", "p2"}}};
}

// The candidates' values for the last word of the line; the directive is left in `directive`.
Directive directive;
std::vector<std::string> offered(const std::string& line) {
  const std::vector<std::string> words = split(line, ' ');
  asked.clear();
  const Completion completion = complete(words, words.size() - 1, lookup);
  directive = completion.directive;
  std::vector<std::string> values;
  for (const Candidate& candidate : completion.candidates) values.push_back(candidate.value);
  return values;
}

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("commands first, by what is typed, also after global options") {
  CHECK(offered("kfab exe") == Words{"exec"});
  CHECK(offered("kfab -o json exe") == Words{"exec"});
  CHECK(offered("kfab -qo json exe") == Words{"exec"});
  CHECK(offered("kfab ").size() > 5);
  CHECK(offered("kfab nonsense ").size() > 5);   // an unknown word is no command
}

TEST_CASE("options of the command and of all, without those that were given and may not be given twice") {
  CHECK(offered("kfab exec --no") == Words{"--nodes", "--no-input"});
  CHECK(offered("kfab exec --timeout 5s --time").empty());
  CHECK(offered("kfab exec -t p1 --tranc") == Words{"--tranche"});
  CHECK(offered("kfab version --timeo").empty());
}

TEST_CASE("values by their kind, in both spellings") {
  CHECK(offered("kfab version -o ") == Words{"table", "json", "ndjson"});
  CHECK(offered("kfab version --output j") == Words{"json"});
  CHECK(offered("kfab version --output=nd") == Words{"--output=ndjson"});
  CHECK(offered("kfab explain KF120").size() > 4);
  CHECK(offered("kfab completion z") == Words{"zsh"});
  CHECK(offered("kfab help exit") == Words{"exit-codes"});
  CHECK(offered("kfab schema kfab.ex") == Words{"kfab.exec/1.0", "kfab.exec/1.1", "kfab.explain/1.0"});
  CHECK(offered("kfab exec --port ").empty());
  CHECK(offered("kfab demo --dir ").empty());
  CHECK(directive == Directive::dirs);
}

TEST_CASE("tranches and nodes come from the manifest on the line, wherever it stands") {
  CHECK(offered("kfab plan site.yaml -t ") == Words{"p1", "p2"});
  CHECK(asked == "site.yaml");
  CHECK(directive == Directive::none);
  CHECK(offered("kfab exec site.yaml -w @h") == Words{"@hall-a"});
  CHECK(directive == Directive::nospace);
  CHECK(offered("kfab exec site.yaml --nodes=gpu01,g") == Words{"--nodes=gpu01,gpu01", "--nodes=gpu01,gpu02"});
  CHECK(offered("kfab exec site.yaml -w a[1,g").empty());   // inside brackets a comma separates numbers
  CHECK(offered("kfab exec site.yaml -w @all!gpu02") == Words{"@all!gpu02"});
  CHECK(offered("kfab plan -t ").empty());
  CHECK(asked.empty());   // no manifest, nothing to look up
  const Words words{"kfab", "plan", "-t", "p", "other.yaml"};
  CHECK(complete(words, 3, lookup).candidates.size() == 2);
  CHECK(asked == "other.yaml");
}

TEST_CASE("paths are the shell's, and so is all after --") {
  offered("kfab plan ");
  CHECK(directive == Directive::files);
  CHECK(offered("kfab exec site.yaml -- ls -").empty());
  CHECK(directive == Directive::files);
  CHECK(offered("kfab version ").empty());
  CHECK(directive == Directive::none);
}

TEST_CASE("odd requests get an answer and no crash") {
  CHECK(complete(Words{}, 0, lookup).candidates.empty() == false);
  CHECK(complete(Words{"kfab"}, 700, lookup).candidates.size() > 5);
  CHECK(offered("kfab exec --=x").empty());
  CHECK(offered("kfab exec -").size() > 5);
  CHECK(offered("kfab exec --nodes").size() == 1);
}

TEST_CASE("the protocol is a directive and lines of value, tab, description") {
  Completion completion;
  completion.directive = Directive::nospace;
  completion.candidates = {{"a\tb\nc", "what it is"}, {"plain", ""}};
  CHECK(to_protocol(completion) == "nospace\na b c\twhat it is\nplain\n");
}
