#include "cli/process.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>

#include <fmt/format.h>

#include "base/codes/cli.hpp"
#include "base/codes/commands.hpp"
#include "base/codes/internal.hpp"
#include "base/codes/store.hpp"
#include "base/ids.hpp"
#include "base/result.hpp"
#include "base/shell_word.hpp"
#include "base/text.hpp"
#include "cli/build_info.hpp"
#include "cli/diagnostics.hpp"
#include "cli/help.hpp"
#include "cli/parse.hpp"
#include "cli/signals.hpp"
#include "term/prompt.hpp"
#include "term/writer.hpp"

namespace kfab::cli {
namespace {

constexpr std::size_t most_input_bytes = std::size_t{256} << 20;

term::ColourChoice colour_choice(const std::string& word) {
  if (word == "always") return term::ColourChoice::always;
  return word == "never" ? term::ColourChoice::never : term::ColourChoice::automatic;
}

// --color before anything is parsed, so that even a usage error is shown as asked.
std::string colour_word(const std::vector<std::string>& words, const term::Getenv& getenv) {
  for (std::size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
    if (words[i].starts_with("--color=")) return words[i].substr(8);
    if (words[i] == "--color" && i + 1 < words.size()) return words[i + 1];
  }
  return getenv("KFAB_COLOR").value_or("auto");
}

Result<std::string> read_all(std::istream& in) {
  std::string all;
  char block[65536];
  while (in.read(block, sizeof block) || in.gcount() > 0) {
    all.append(block, static_cast<std::size_t>(in.gcount()));
    if (all.size() > most_input_bytes) return error(code::file_too_large, "standard input is larger than 256 MiB");
  }
  return all;
}

// What a hint says for MANIFEST, as it can be typed: the manifest that was named, or the nodes that stand in its stead.
// Empty when neither is known.
std::string manifest_word(const Args& args) {
  const auto& words = args.command()->positionals;
  if (std::none_of(words.begin(), words.end(), [](const PositionalSpec& word) { return word.name == "MANIFEST"; })) return {};
  const std::string path = args.positional("MANIFEST"), nodes = join(args.list("nodes"), ",");
  if (!path.empty()) return path == "-" ? std::string() : shell_word(one_line(path));
  return nodes.empty() ? std::string() : "-w " + shell_word(one_line(nodes));
}

}  // namespace

Process::Process(Surroundings surroundings) : world_(std::move(surroundings)), version_(build_facts().version) {
  started_at_ = world_.clock.now();
  const term::ColourChoice colour = colour_choice(colour_word(world_.words, world_.getenv));
  out_facts_ = world_.facts(1, colour, world_.getenv);
  err_facts_ = world_.facts(2, colour, world_.getenv);
}

Process::~Process() = default;

int Process::run() {
  Parsed parsed = parse(world_.words, world_.getenv);
  switch (parsed.wish) {
    case Parsed::Wish::nothing:
      world_.err << short_help();
      return exit_code(Outcome::invalid);
    case Parsed::Wish::help:
      world_.out << (parsed.args.command() == nullptr ? overview_help(out_facts_) : command_help(*parsed.args.command(), out_facts_));
      return exit_code(Outcome::yes);
    case Parsed::Wish::version:
      world_.out << "kfab " << version_ << '\n';
      return exit_code(Outcome::yes);
    case Parsed::Wish::refused: return refuse(parsed.errors);
    case Parsed::Wish::run: return run_command(parsed.args);
  }
  return exit_code(Outcome::bug);
}

int Process::refuse(const Diagnostics& errors) {
  world_.err << render_diagnostics(errors, {}, {.one_line = short_diagnostics_, .next_steps = false}, err_facts_);
  return exit_code(Outcome::invalid);
}

void Process::take_globals(const Args& args) {
  const std::string format = args.text("output");
  format_ = format == "json" ? Format::json : format == "ndjson" ? Format::ndjson : Format::table;
  if (args.flag("quiet")) verbosity_ = term::Verbosity::quiet;
  else if (args.flag("verbose")) verbosity_ = term::Verbosity::verbose;
  short_diagnostics_ = args.text("diagnostics") == "short";
  assume_yes_ = args.flag("yes");
  no_input_ = args.flag("no-input");
  manifest_ = manifest_word(args);
}

std::optional<Diagnostic> Process::find_state_dir(const Args& args) {
  const auto variable = [&](std::string_view name) { return world_.getenv(name).value_or(std::string{}); };
  state_dir_ = args.text("state");
  state_dir_named_ = !state_dir_.empty() && state_dir_ != variable("KFAB_STATE_DIR");
  if (!state_dir_.empty()) return std::nullopt;
  const std::string xdg = variable("XDG_STATE_HOME"), home = variable("HOME");
  if (xdg.starts_with('/')) state_dir_ = xdg + "/kfab";   // a relative one is to be ignored, says XDG
  else if (!home.empty()) state_dir_ = home + "/.local/state/kfab";
  else if (world_.is_root) state_dir_ = "/var/lib/kfab";
  else if (command_->reaches_nodes) return error(code::state_dir_unknown, "there is no place for kfab's records");
  return std::nullopt;
}

Env Process::make_env() {
  EventSink* events = &nowhere_;
  if (format_ == Format::ndjson) {
    ndjson_ = std::make_unique<json::NdjsonSink>(world_.out, world_.clock, version_, command_->name, run_id_);
    events = ndjson_.get();
  } else if (command_->reaches_nodes) {
    progress_ = std::make_unique<term::ProgressSink>(world_.err, err_facts_, world_.clock, verbosity_);
    events = progress_.get();
  }
  clean_events_ = std::make_unique<json::RedactingSink>(*events, *redactor_);
  events = clean_events_.get();
  const bool interactive = world_.input_is_terminal && err_facts_.terminal && !no_input_;
  Env env{.out = world_.out,
          .err = world_.err,
          .clock = world_.clock,
          .events = *events,
          .cancel = cancel_,
          .getenv = world_.getenv,
          .state_dir = state_dir_,
          .state_dir_named = state_dir_named_,
          .run_id = run_id_,
          .started_at = started_at_,
          .command_line = world_.words,
          .kfab_version = version_,
          .executable = world_.executable,
          .read_stdin = [this] { return read_all(world_.in); },
          .confirm =
              [this, interactive](std::string_view question) {
                if (progress_) progress_->finish();
                return term::confirm(question, {.assume_yes = assume_yes_, .may_ask = interactive}, world_.in, world_.err);
              },
          .ask_secret =
              [this, interactive](std::string_view question) -> Result<Secret> {
                if (!interactive) return error(code::become_cannot_ask, "cannot ask for a password here");
                if (progress_) progress_->finish();
                return term::ask_secret(question);
              },
          .interactive = interactive,
          .out_facts = out_facts_,
          .err_facts = err_facts_,
          .transport = {},
          .usage = own_usage,
          .redactor = redactor_};
  return env;
}

int Process::run_command(const Args& args) {
  command_ = args.command();
  run_id_ = make_run_id(started_at_);
  take_globals(args);
  if (auto problem = find_state_dir(args)) return refuse({*problem});
  Env env = make_env();
  std::unique_ptr<SignalWatch> watch;
  if (world_.own_signals && command_->reaches_nodes) watch = std::make_unique<SignalWatch>(cancel_);
  CommandOutput output = command_->run(args, env);
  if (progress_) progress_->finish();
  return finish(std::move(output));
}

std::optional<json::Rows> Process::redacted_rows(std::optional<json::Rows> rows) const {
  if (!rows) return rows;
  return json::Rows{rows->member, [each = std::move(rows->each), redactor = redactor_](const auto& tell) {
                      each([&](json::Value row) { tell(json::redacted(std::move(row), *redactor)); });
                    }};
}

int Process::finish(CommandOutput output) {
  output.diagnostics = json::redacted(std::move(output.diagnostics), *redactor_);
  const int code = exit_code(output.outcome, output.signal);
  if (format_ != Format::table) {
    output.data = json::redacted(output.make_data ? output.make_data() : std::move(output.data), *redactor_);
    json::Envelope envelope{.schema = output.schema.empty() ? std::string(command_->schema) : output.schema,
                                  .kfab_version = version_,
                                  .run_id = output.run_id.empty() ? run_id_ : output.run_id,
                                  .started_at = started_at_,
                                  .finished_at = world_.clock.now(),
                                  .argv = world_.words,
                                  .site_name = output.site.name,
                                  .manifest_sha256 = output.site.manifest_sha256,
                                  .outcome = output.outcome,
                                  .exit_code = code,
                                  .data = std::move(output.data),
                                  .rows = redacted_rows(std::move(output.rows)),
                                  .diagnostics = std::move(output.diagnostics)};
    if (ndjson_) ndjson_->finish(std::move(envelope));
    else json::write(world_.out, std::move(envelope));
    world_.out.flush();
    return code;
  }
  if (output.render) {
    std::ostringstream text;   // whole first, so that a secret is found wherever its parts were written
    term::Writer writer(redactor_->empty() ? world_.out : text, out_facts_);
    output.render(writer);
    if (!redactor_->empty()) world_.out << redactor_->text(text.str());
    world_.out.flush();
  }
  world_.err << render_diagnostics(output.diagnostics, output.sources,
                                   {.one_line = short_diagnostics_, .only_errors = verbosity_ == term::Verbosity::quiet, .manifest = manifest_},
                                   err_facts_);
  if (output.cost && output.cost->nodes > 1 && verbosity_ != term::Verbosity::quiet)
    world_.err << term::paint(err_facts_, term::Style::faint, to_text(*output.cost)) << '\n';
  world_.err.flush();
  return code;
}

int Process::report_bug(std::string_view what) {
  if (progress_) progress_->finish();
  Diagnostic bug = error(code::internal, "kfab has a bug: " + redactor_->text(one_line(what, 500)));
  bug.help.push_back("nothing that was recorded is lost; please report this with the command line and `kfab version`");
  world_.err << render_diagnostics({bug}, {}, {}, err_facts_);
  world_.err.flush();
  if (command_ == nullptr || format_ == Format::table) return exit_code(Outcome::bug);
  CommandOutput output;
  output.outcome = Outcome::bug;
  output.diagnostics.push_back(std::move(bug));
  return finish(std::move(output));
}

int Process::after_output(int code, int failure) {
  if (failure == 0 || failure == EPIPE) return code;
  if (progress_) progress_->finish();
  const Diagnostic unwritten = error(code::answer_not_written, fmt::format("the answer could not be written to stdout: {}", std::strerror(failure)));
  world_.err << render_diagnostics({unwritten}, {}, {.one_line = short_diagnostics_}, err_facts_);
  world_.err.flush();
  // 3 and not 4 or 2: kfab has no fault, and what it was told to do was done; what is missing is the answer.
  return code == exit_code(Outcome::yes) || code == exit_code(Outcome::no) ? exit_code(Outcome::incomplete) : code;
}

}  // namespace kfab::cli
