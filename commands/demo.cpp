#include "commands/demo.hpp"

#include <sys/stat.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <ostream>

#include <fmt/format.h>

#include "base/codes/commands.hpp"
#include "base/codes/store.hpp"
#include "base/embedded.hpp"
#include "base/file.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"
#include "commands/demo_sshd.hpp"
#include "commands/site_session.hpp"

KFAB_EMBEDDED(demo_site)

namespace kfab::commands {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> addresses{"127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14"};

struct Step {
  std::string_view heading;
  std::vector<std::string> words;   // after "kfab"
  int expected_exit;
  std::string output_file;          // stdout goes there; empty: shown
};

// The job, in the order in which a site is brought up.
std::vector<Step> steps() {
  return {
      {"Is the manifest sound?", {"lint", "site.yaml"}, 0, {}},
      {"What would change on the nodes?", {"plan", "site.yaml"}, 0, {}},
      {"Bring them into the declared state", {"provision", "site.yaml", "--yes"}, 0, {}},
      {"And again: nothing is left to change", {"provision", "site.yaml", "--yes"}, 0, {}},
      {"What is there, against what was declared?", {"inventory", "site.yaml"}, 0, {}},
      {"Test them: one node is held to figures that no processor reaches", {"validate", "site.yaml"}, 1, {}},
      {"Which tranche is ready?", {"readiness", "site.yaml"}, 1, {}},
      {"The same as a page", {"report", "site.yaml", "--report-file", "report.html"}, 0, {}},
      {"The same for scripts", {"readiness", "site.yaml", "-o", "json"}, 1, "readiness.json"},
  };
}

Result<fs::path> make_directory(const DemoOptions& options, const Env& env) {
  if (options.directory.empty()) {
    std::string pattern = (fs::path(env.getenv("TMPDIR").value_or("/tmp")) / "kfab-demo-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) return error(code::file_unwritable, "cannot make a folder like " + pattern);
    return fs::path(pattern);
  }
  std::error_code failure;
  fs::create_directories(options.directory, failure);
  if (failure) return error(code::file_unwritable, fmt::format("cannot make {}: {}", one_line(options.directory), failure.message()));
  if (!fs::is_empty(options.directory, failure))
    return error(code::file_unwritable, fmt::format("{} is not empty", one_line(options.directory)));
  ::chmod(options.directory.c_str(), 0700);
  return fs::canonical(options.directory);
}

std::string filled_in(std::string text, const std::vector<std::pair<std::string_view, std::string>>& values) {
  for (const auto& [word, value] : values)
    for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + value.size()))
      text.replace(at, word.size(), value);
  return text;
}

std::string date_in_days(Timestamp now, int days) { return to_string(date_of(now + std::chrono::days(days))); }

Status write_manifest(const fs::path& directory, int port, const Env& env) {
  const Timestamp now = env.clock.now();
  return write_file_atomically(directory / "site.yaml",
                               filled_in(std::string(embedded_demo_site()), {{"@USER@", own_user()},
                                                                            {"@PORT@", std::to_string(port)},
                                                                            {"@ROOT@", (directory / "nodes").string()},
                                                                            {"@TODAY@", date_in_days(now, 0)},
                                                                            {"@DUE1@", date_in_days(now, 30)},
                                                                            {"@DUE2@", date_in_days(now, 90)}}));
}

std::string as_typed(const Step& step) {
  return "kfab " + join(step.words, " ") + (step.output_file.empty() ? "" : " > " + step.output_file);
}

Result<DemoStep> run_step(const Step& step, const fs::path& directory, bool echo, Env& env) {
  DemoStep done{as_typed(step), step.expected_exit, -1, 0};
  if (echo) {
    env.out << "\n# " << step.heading << "\n$ " << done.command << "\n" << std::flush;
  }
  ChildSpec child;
  child.argv = {env.executable.string()};
  child.argv.insert(child.argv.end(), step.words.begin(), step.words.end());
  child.environment = {"KFAB_STATE_DIR=" + (directory / "state").string()};
  child.directory = directory;
  if (!step.output_file.empty()) child.output = directory / step.output_file;
  else if (!echo) child.output = directory / (step.words.front() + ".log");
  if (!echo) child.errors = directory / "stderr.log";
  const auto start = env.clock.steady_now();
  KFAB_TRY(pid, start_child(child));
  done.exit = wait_child(pid, env.cancel);
  done.duration_s = std::chrono::duration<double>(env.clock.steady_now() - start).count();
  return done;
}

// What the last step wrote: the tranches as a script would read them.
Result<std::vector<DemoTranche>> read_tranches(const fs::path& file) {
  KFAB_TRY(text, read_file(file));
  KFAB_TRY(document, json::parse(text));
  std::vector<DemoTranche> tranches;
  for (const auto& tranche : document["data"].array_at("tranches")) {
    DemoTranche row{tranche.string_or("name"), tranche.bool_or("ready", false), {}};
    // What is said of nodes comes before what follows from it.
    for (const auto& blocker : tranche.array_at("blockers"))
      if (row.reason.empty() || (blocker.int_or("node_count", 0) > 0 && row.reason.find(blocker.string_or("nodes")) == std::string::npos))
        row.reason = blocker.string_or("message");
    tranches.push_back(std::move(row));
  }
  return tranches;
}

bool as_it_must_be(const std::vector<DemoTranche>& tranches) {
  return tranches.size() == 2 && tranches[0].ready && !tranches[1].ready && tranches[1].reason.find("demo4") != std::string::npos;
}

}  // namespace

json::Value to_json(const DemoResult& result) {
  json::Array steps_json, tranches;
  for (const auto& step : result.steps)
    steps_json.push_back(json::Object{{"command", step.command}, {"expected_exit", step.expected_exit}, {"exit", step.exit},
                                      {"duration_s", step.duration_s}});
  for (const auto& tranche : result.tranches)
    tranches.push_back(json::Object{{"name", tranche.name}, {"ready", tranche.ready},
                                    {"reason", tranche.reason.empty() ? json::Value() : json::Value(tranche.reason)}});
  return json::Object{{"directory", result.directory}, {"report", result.report}, {"readiness_json", result.readiness_json},
                      {"steps", std::move(steps_json)}, {"tranches", std::move(tranches)}};
}

void render(const DemoResult& result, term::Writer& out) {
  out.line();
  for (const auto& tranche : result.tranches) {
    out.text("tranche " + tranche.name + ": ");
    if (tranche.ready) out.line(term::Style::good, "ready");
    else out.text(term::Style::bad, "not ready").line(tranche.reason.empty() ? "" : " - " + one_line(tranche.reason));
  }
  out.line().line("report   " + result.report).line("json     " + result.readiness_json);
  out.line("all of it is in " + result.directory + "; the sshd was stopped.");
}

CommandOutput run_demo(const DemoOptions& options, Env& env) {
  auto directory = make_directory(options, env);
  if (!directory) return not_started(std::move(directory).error());
  auto sshd = DemoSshd::start(*directory, addresses, env.cancel);
  if (!sshd) return not_started(std::move(sshd).error());
  if (auto written = write_manifest(*directory, (*sshd)->port(), env); !written) return not_started(std::move(written).error());
  if (options.echo)
    env.out << "# Four nodes on this machine, reached through an sshd of their own on port " << (*sshd)->port() << ".\n"
            << "$ cd " << directory->string() << " && export KFAB_STATE_DIR=$PWD/state\n";

  DemoResult result;
  result.directory = directory->string();
  result.report = (*directory / "report.html").string();
  result.readiness_json = (*directory / "readiness.json").string();
  CommandOutput output;
  for (const Step& step : steps()) {
    if (env.cancel.requested()) break;
    auto done = run_step(step, *directory, options.echo, env);
    if (!done) {
      output.diagnostics.push_back(std::move(done).error());
      break;
    }
    result.steps.push_back(*done);
    if (done->as_expected() || env.cancel.requested()) continue;
    output.diagnostics.push_back(error(code::demo_failed, fmt::format("`{}` ended with {} instead of {}", done->command, done->exit, done->expected_exit)));
    break;
  }
  sshd->reset();   // before the verdict: what follows needs no node
  if (output.diagnostics.empty() && !env.cancel.requested()) {
    if (auto tranches = read_tranches(result.readiness_json)) result.tranches = std::move(*tranches);
    else output.diagnostics.push_back(std::move(tranches).error());
    if (!as_it_must_be(result.tranches))
      output.diagnostics.push_back(error(code::demo_failed, "the tranches did not come out as they must: the first ready, the second not because of demo4"));
  }
  output.outcome = overall(env, false, !output.diagnostics.empty());
  output.signal = env.cancel.signal();
  output.data = to_json(result);
  output.render = [result = std::move(result)](term::Writer& out) { render(result, out); };
  return output;
}

}  // namespace kfab::commands
