#include "base/codes/cli.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "cli/args.hpp"
#include "commands/evidence.hpp"
#include "commands/interchange.hpp"
#include "commands/lint.hpp"
#include "commands/lock.hpp"
#include "commands/nodeset.hpp"
#include "commands/readiness.hpp"
#include "commands/report.hpp"
#include "commands/runs.hpp"
#include "commands/show.hpp"

// The commands about manifests and what is known: they read files and reach nobody.
namespace kfab::cli {
namespace {

using namespace kfab::commands;

CommandOutput adapt_lint(const Args& args, Env& env) { return run_lint({.files = args.positionals("MANIFEST")}, env); }

CommandOutput adapt_show(const Args& args, Env& env) {
  return run_show({.file = args.positional("MANIFEST"), .nodes = args.flag("each-node")}, env);
}

CommandOutput adapt_nodeset(const Args& args, Env& env) {
  NodesetOptions options;
  options.action = parse_nodeset_action(args.positional("ACTION")).value_or(NodesetAction::fold);
  options.expressions = args.positionals("SET");
  for (const std::string& set : args.list("nodes")) options.expressions.push_back(set);
  options.exclude = join(args.list("exclude"), ",");
  options.manifest = args.text("manifest");
  options.separator = args.text("separator");
  if (options.separator.empty() || options.separator == "newline") options.separator = "\n";
  else if (options.separator == "blank") options.separator = " ";
  else if (options.separator == "comma") options.separator = ",";
  options.keep_order = args.flag("keep-order");
  options.parts = static_cast<std::size_t>(args.integer("parts").value_or(0));
  options.positions = args.text("positions");
  if (options.expressions.empty())
    return not_started(error(code::missing_argument, "SET is missing: a node set expression, or - for standard input"));
  if (options.action == NodesetAction::split && options.parts == 0)
    return not_started(error(code::missing_argument, "split needs --parts N"));
  if (options.action == NodesetAction::slice && options.positions.empty())
    return not_started(error(code::missing_argument, "slice needs --positions LIST"));
  return run_nodeset(options, env);
}

CommandOutput adapt_readiness(const Args& args, Env& env) {
  using Figures = store::EvidenceScope::Figures;
  auto grounds = read_grounds(args.positional("MANIFEST"), env, {.full_details = false, .figures = Figures::power});
  if (auto* refused = std::get_if<CommandOutput>(&grounds)) return std::move(*refused);
  const auto& [loaded, evidence, context] = std::get<Grounds>(grounds);
  const ReadinessOptions options{.tranches = args.list("tranche"), .verbose = args.flag("verbose")};
  return to_output(run_readiness(options, loaded, evidence, context), options, loaded);
}

CommandOutput adapt_report(const Args& args, Env& env) {
  ReportOptions options;
  options.format = report::parse_format(args.text("format")).value_or(report::Format::html);
  options.tranches = args.list("tranche");
  options.output_file = args.text("report-file");
  auto grounds = read_grounds(args.positional("MANIFEST"), env, {});
  if (auto* refused = std::get_if<CommandOutput>(&grounds)) return std::move(*refused);
  const auto& [loaded, evidence, context] = std::get<Grounds>(grounds);
  ReportResult result = run_report(options, loaded, evidence, context,
                                   {.kfab_version = env.kfab_version, .run_id = env.run_id, .state_dir = env.state_dir.string()});
  if (!options.output_file.empty() && !result.document.empty())
    if (auto written = write_file_atomically(options.output_file, result.document); !written)
      return not_started(std::move(written).error());
  return to_output(std::move(result), options, loaded);
}

CommandOutput adapt_runs(const Args& args, Env& env) {
  return run_runs({args.positional("RUN"), static_cast<std::size_t>(args.integer("limit").value_or(20))}, env);
}

CommandOutput adapt_lock(const Args& args, Env& env) {
  LockOptions options;
  options.manifest = args.positional("MANIFEST");
  options.tranches = args.list("tranche");
  options.reason = args.given("break") ? args.text("break") : args.text("reason");
  options.for_s = args.duration_s("for").value_or(0);
  const int asked = static_cast<int>(args.flag("list")) + static_cast<int>(args.flag("release")) + static_cast<int>(args.given("break"));
  if (asked > 1) return not_started(error(code::options_exclude, "--list, --release and --break exclude each other"));
  if (asked == 1) options.action = args.flag("list") ? LockAction::list : args.flag("release") ? LockAction::release : LockAction::break_;
  return run_lock(options, env);
}

CommandOutput adapt_import(const Args& args, Env& env) {
  ImportOptions options;
  options.format = manifest::parse_import_format(args.positional("FORMAT")).value_or(manifest::ImportFormat::csv);
  options.file = args.positional("FILE");
  options.choices = {args.text("profile"), args.text("into-tranche"), args.text("group")};
  return run_import(options, env);
}

CommandOutput adapt_export(const Args& args, Env& env) {
  ExportOptions options;
  options.format = manifest::parse_export_format(args.positional("FORMAT")).value_or(manifest::ExportFormat::ansible);
  options.manifest = args.positional("MANIFEST");
  options.selection = {args.list("tranche"), join(args.list("nodes"), ","), join(args.list("exclude"), ",")};
  options.port = static_cast<int>(args.integer("port").value_or(9100));
  return run_export(options, env);
}

CommandOutput adapt_learn(const Args& args, Env& env) {
  return run_learn({args.positional("MANIFEST"), args.positional("NODE"), args.text("name")}, env);
}

PositionalSpec manifest_argument(std::string_view help) { return {.name = "MANIFEST", .kind = Kind::manifest, .help = help}; }

}  // namespace

std::vector<CommandSpec> file_commands() {
  return {
      {.name = "lint",
       .help = "check manifests and point at what is wrong",
       .description = "Reads each manifest with all that it draws in, and reports everything that is wrong in one run: place, the token with a "
                      "caret, the likely correction. An invalid manifest is an answer, exit code 1; one that cannot be read is 2.\n\n"
                      "--diagnostics short prints one line per finding, file:line:column, for editors.",
       .examples = {{"kfab lint site.yaml", "one manifest"},
                    {"kfab lint --diagnostics short manifests/a.yaml manifests/b.yaml", "several, for an editor or CI"}},
       .positionals = {{.name = "MANIFEST", .kind = Kind::manifest, .help = "manifests; - is standard input", .repeatable = true}},
       .exit_codes = {0, 1},
       .schema = "kfab.lint/1.0",
       .run = adapt_lint},
      {.name = "show",
       .help = "print what a manifest declares, resolved",
       .description = "References followed, units converted, nodes folded: what kfab will work with. What is not stated is shown as absent, "
                      "what is stated to be unknown as unknown.",
       .examples = {{"kfab show site.yaml", "the site at a glance"}, {"kfab show site.yaml --each-node -o json", "every node, for scripts"}},
       .positionals = {manifest_argument("the manifest; - is standard input")},
       .options = {{.name = "each-node", .help = "every node in a row of its own"}},
       .exit_codes = {0},
       .schema = "kfab.show/1.0",
       .run = adapt_show},
      {.name = "nodeset",
       .help = "expand, fold, count, split or slice node sets",
       .description = "Node set expressions as in -w: ranges in brackets, a comma for union, ! for minus, & for what is in both, ^ for what is in "
                      "one of both, @group and wildcards where a manifest gives them a meaning.",
       .examples = {{"kfab nodeset expand 'gpu[001-004]'", "one name per line"},
                    {"kfab nodeset fold gpu1 gpu2 gpu3", "short form of many names"},
                    {"kfab nodeset count '@*' --manifest site.yaml", "how many nodes a site has"},
                    {"kfab nodeset split 'gpu[1-100]' --parts 4", "in four parts of about the same size"}},
       .positionals = {{.name = "ACTION", .kind = Kind::choice, .help = "what to do", .choices = {"expand", "fold", "count", "split", "slice"}},
                       {.name = "SET", .kind = Kind::nodeset, .help = "expressions, united; - is standard input", .required = false, .repeatable = true}},
       .options = {{.name = "manifest", .kind = Kind::manifest, .value = "MANIFEST", .help = "the manifest that gives groups and wildcards their meaning"},
                   {.name = "separator", .kind = Kind::text, .value = "TEXT", .help = "what stands between expanded names: newline, blank, comma, or any text", .fallback = "newline"},
                   {.name = "keep-order", .help = "expand in the order written, repeated names kept"},
                   {.name = "parts", .kind = Kind::integer, .value = "N", .help = "how many parts split makes", .min = 1, .max = 1000000},
                   {.name = "positions", .kind = Kind::text, .value = "LIST", .help = "which positions slice takes, from 0: 0-18/2,40"}},
       .exit_codes = {0},
       .schema = "kfab.nodeset/1.0",
       .takes_sets = true,
       .run = adapt_nodeset},
      {.name = "runs",
       .help = "list what was done: when, by whom, how it ended, what was left",
       .description = "From the records in the state directory; no node is asked. A run without an end was killed, or still goes on, or another "
                      "went on with it, which is named then: what is done and left is told as it is after that. With RUN also the nodes that are not "
                      "done, why, the runs that belong together, and what happened beside it. Nodes whose tests `kfab resume --stop` ended, or something "
                      "else before their end, are neither done nor left, but counted as cut.",
       .examples = {{"kfab runs", "the last twenty"}, {"kfab runs 20261121T164158Z-7f3a9c", "one, with the nodes it left"}},
       .positionals = {{.name = "RUN", .kind = Kind::text, .help = "id of a run", .required = false}},
       .options = {{.name = "limit", .kind = Kind::integer, .value = "N", .help = "at most N runs, the newest", .fallback = "20", .min = 1, .max = 100000}},
       .exit_codes = {0},
       .schema = "kfab.runs/1.2",
       .run = adapt_runs},
      {.name = "lock",
       .help = "keep others off a tranche or the site, and see who works there",
       .description = "provision, undo and reboot lock the tranches of their nodes by themselves while they run; a second one is refused (exit code 2) and told who, since "
                      "when and why. With `kfab lock` a person does so on purpose, for a repair or a visit; the one who holds the lock may "
                      "still provision.\n\n"
                      "A lock of a run that was killed stays and names the dead process: `kfab resume` takes it over. --break ends any lock; the "
                      "reason is recorded with who broke it (`kfab runs`). Locks are kept in the state directory, so operators share one.",
       .examples = {{"kfab lock site.yaml -t p1 --reason 'RMA of rack 7' --for 4h", "nobody else provisions p1 for four hours"},
                    {"kfab lock site.yaml --list", "who holds what"},
                    {"kfab lock site.yaml -t p1 --release", "give it back"},
                    {"kfab lock site.yaml -t p1 --break 'its owner is on leave'", "end somebody else's"}},
       .positionals = {manifest_argument("the site's manifest; - is standard input")},
       .options = {{.name = "reason", .kind = Kind::text, .value = "TEXT", .help = "what others are told"},
                   {.name = "for", .kind = Kind::duration, .value = "TIME", .help = "how long it holds; default is until it is released"},
                   {.name = "list", .help = "show the locks that are held"},
                   {.name = "release", .help = "give back what you hold"},
                   {.name = "break", .kind = Kind::text, .value = "REASON", .help = "end locks, whoever holds them"}},
       .exit_codes = {0},
       .schema = "kfab.lock/1.0",
       .selects_tranches = true,
       .run = adapt_lock},
      {.name = "learn",
       .help = "write a profile from what one good node is",
       .description = "The facts that the last inventory of the node recorded become expectations: processor, memory, board and firmware, system, "
                      "driver, each accelerator, disk and link. Serials, addresses and names are left out, and so are secrets. Used as the "
                      "profile of the other nodes, `kfab inventory` then names every difference from the good one.",
       .examples = {{"kfab learn site.yaml gpu001 > golden.yaml", "what `kfab inventory site.yaml -w gpu001` found"}},
       .positionals = {manifest_argument("the site's manifest; - is standard input"), {.name = "NODE", .kind = Kind::text, .help = "the good node"}},
       .options = {{.name = "name", .kind = Kind::text, .value = "NAME", .help = "name of the new profile; default is the node's own with -learned"}},
       .exit_codes = {0},
       .schema = "kfab.text/1.0",
       .run = adapt_learn},
      {.name = "import",
       .help = "nodes from another tool's file, as a manifest writes them",
       .description = "Prints `nodes:` to be put under the spec of a site's manifest. Ansible inventories (INI and YAML), slurm.conf, genders, OpenSSH "
                      "configuration and CSV are read. What means no node is left out and told, with its line.",
       .examples = {{"kfab import ansible hosts.ini --profile dgx-h100", "hosts with their addresses and groups"},
                    {"kfab import slurm /etc/slurm/slurm.conf", "NodeName lines"}},
       .positionals = {{.name = "FORMAT", .kind = Kind::choice, .help = "what the file is", .choices = {"ansible", "slurm", "genders", "ssh-config", "csv"}},
                       {.name = "FILE", .kind = Kind::path, .help = "the file; - is standard input"}},
       .options = {{.name = "profile", .kind = Kind::text, .value = "NAME", .help = "profile of the nodes"},
                   {.name = "into-tranche", .kind = Kind::text, .value = "NAME", .help = "tranche of the nodes"},
                   {.name = "group", .kind = Kind::text, .value = "NAME", .help = "group of nodes that the file puts in none", .fallback = "nodes"}},
       .exit_codes = {0},
       .schema = "kfab.text/1.0",
       .run = adapt_import},
      {.name = "export",
       .help = "a site's nodes for another tool",
       .description = "ansible is an inventory with groups by group, tranche, profile and rack; ssh-config Host blocks; prometheus targets for file_sd; "
                      "slurm lines for slurm.conf, folded, in which the nodes join drained.",
       .examples = {{"kfab export ansible site.yaml > hosts.ini", "an inventory"},
                    {"kfab export prometheus site.yaml -t p1 --port 9400", "targets of one tranche"}},
       .positionals = {{.name = "FORMAT", .kind = Kind::choice, .help = "for which tool", .choices = {"ansible", "ssh-config", "prometheus", "slurm"}},
                       manifest_argument("the site's manifest; - is standard input")},
       .options = {{.name = "port", .kind = Kind::integer, .value = "PORT", .help = "prometheus: port of each target", .fallback = "9100", .min = 1, .max = 65535}},
       .exit_codes = {0},
       .schema = "kfab.text/1.0",
       .selects_nodes = true,
       .run = adapt_export},
      {.name = "readiness",
       .help = "say which tranches are ready, and if not, why and when",
       .description = "Derived from the manifest and the newest evidence in the state directory; nothing is measured and no node is reached. "
                      "Each gate has a verdict; a gate that nobody has judged is not_judged and never a pass.\n\n"
                      "Of a site without nodes it says what can be said before one exists, the power check included. In a programme a tranche "
                      "is named SITE/TRANCHE.",
       .examples = {{"kfab readiness site.yaml", "all tranches"},
                    {"kfab readiness site.yaml -t p1 -v", "one, with every node that is not accepted"},
                    {"kfab readiness site.yaml -o json", "for scripts: data.tranches[].ready"}},
       .positionals = {manifest_argument("a site or a programme; - is standard input")},
       .exit_codes = {0, 1},
       .schema = "kfab.readiness/1.0",
       .selects_tranches = true,
       .run = adapt_readiness},
      {.name = "report",
       .help = "readiness as a page, a document or metrics",
       .description = "HTML is one page with everything in it, without scripts or outside addresses. A report about a site that is not ready is "
                      "still made: exit code 0. Without --report-file it is printed on stdout.",
       .examples = {{"kfab report site.yaml --report-file report.html", "one self-contained page"},
                    {"kfab report site.yaml --format junit --report-file readiness.xml", "for CI"},
                    {"kfab report site.yaml --format openmetrics", "for a monitoring system"}},
       .positionals = {manifest_argument("a site or a programme; - is standard input")},
       .options = {{.name = "format", .kind = Kind::choice, .value = "FORMAT", .help = "form of the report", .fallback = "html",
                    .choices = {"html", "markdown", "junit", "openmetrics", "csv"}},
                   {.name = "report-file", .kind = Kind::path, .value = "FILE", .help = "write the report to FILE"}},
       .exit_codes = {0},
       .schema = "kfab.report/1.0",
       .selects_tranches = true,
       .run = adapt_report},
  };
}

}  // namespace kfab::cli
