#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "base/codes/cli.hpp"
#include "base/codes/plan.hpp"
#include "base/codes/store.hpp"
#include "base/text.hpp"
#include "cli/args.hpp"
#include "cli/build_info.hpp"
#include "cli/fleet_options.hpp"
#include "cli/option_table.hpp"
#include "cli/parse.hpp"
#include "cli/test_options.hpp"
#include "commands/copy.hpp"
#include "commands/demo.hpp"
#include "commands/doctor.hpp"
#include "commands/exec.hpp"
#include "commands/hostkeys.hpp"
#include "commands/inventory.hpp"
#include "commands/provision.hpp"
#include "commands/reboot.hpp"
#include "commands/resume.hpp"
#include "commands/undo.hpp"

// The rows of the commands that reach nodes, and how their words become options.
namespace kfab::cli {
namespace {

using namespace kfab::commands;

PositionalSpec plan_or_manifest(std::string_view help) { return {.name = "MANIFEST", .kind = Kind::manifest, .help = help}; }

OptionSpec manifest_of_plan() {
  return {.name = "manifest", .kind = Kind::manifest, .value = "MANIFEST", .help = "with a saved plan: the manifest it was made from, where that has moved"};
}

CommandOutput adapt_inventory(const Args& args, Env& env) {
  return run_inventory({agent_site_options(args), args.duration_s("timeout").value_or(180)}, env);
}

ProvisionOptions provision_options(const Args& args, provision::Mode mode) {
  ProvisionOptions options;
  options.site = agent_site_options(args);
  options.mode = mode;
  options.timeout_s = args.duration_s("timeout").value_or(3600);
  options.manifest = args.text("manifest");
  options.show_review = args.text("output") == "table";
  options.unattended = args.flag("yes");
  if (mode == provision::Mode::apply) {
    options.reboot = args.flag("reboot");
    options.reboot_timeout_s = args.duration_s("reboot-timeout").value_or(1800);
  }
  return options;
}

CommandOutput adapt_plan(const Args& args, Env& env) {
  ProvisionOptions options = provision_options(args, provision::Mode::plan);
  options.exit_code = args.flag("exit-code");
  options.out_file = args.text("out");
  return run_provision(options, env);
}

CommandOutput adapt_provision(const Args& args, Env& env) {
  if (args.flag("check") && args.flag("reboot")) return not_started(error(code::options_exclude, "--check changes nothing, so it cannot reboot"));
  return run_provision(provision_options(args, args.flag("check") ? provision::Mode::plan : provision::Mode::apply), env);
}

UndoOptions undo_options(const Args& args) {
  UndoOptions options;
  options.site = agent_site_options(args);
  for (const auto& list : args.list("role"))
    for (const auto& part : split(list, ',')) {
      std::string name(trim(part));
      if (!name.empty() && std::find(options.roles.begin(), options.roles.end(), name) == options.roles.end()) options.roles.push_back(std::move(name));
    }
  options.check = args.flag("check");
  options.timeout_s = args.duration_s("timeout").value_or(3600);
  options.unattended = args.flag("yes");
  options.show_review = args.text("output") == "table";
  return options;
}

CommandOutput adapt_undo(const Args& args, Env& env) { return run_undo(undo_options(args), env); }

RebootOptions reboot_options(const Args& args) {
  RebootOptions options;
  options.site = paced_site_options(args);
  options.timeout_s = args.duration_s("timeout").value_or(1800);
  options.check = !args.flag("no-check");
  options.needed = args.flag("needed");
  return options;
}

// The options are those of the run as it was typed, read by the same tables, in the folder where it was.
CommandOutput go_on_with(const ToResume& found, const Args& args, Env& env) {
  if (const auto* newest = std::get_if<PassedOver>(&found.what)) return run_resume(*newest);
  const bool of_tests = args.flag("follow") || args.flag("stop");
  const auto* provisioned = std::get_if<Resumable>(&found.what);
  const auto* tested = std::get_if<DetachedRun>(&found.what);
  const std::string run_id = provisioned ? provisioned->run_id : tested->run_id;
  const auto& argv = provisioned ? provisioned->argv : tested->argv;
  const std::string& directory = provisioned ? provisioned->directory : tested->directory;
  if (provisioned && of_tests)
    return not_started(error(code::option_not_of_run, fmt::format("{} is a run of {}: --follow and --stop are for tests that were left to the nodes by --detach; without a run they mean the last of those", run_id, provisioned->command)));
  Parsed typed = parse(argv, env.getenv);
  const std::string name = typed.wish == Parsed::Wish::run ? std::string(typed.args.command()->name) : std::string();
  if (args.flag("reboot") && !(provisioned && provisioned->command == "provision"))
    return not_started(error(code::option_not_of_run, fmt::format("{} is no run of provision: --reboot is for nodes whose roles ask for a reboot", run_id)));
  const bool watched = provisioned && is_test_command(provisioned->command);
  if (provisioned ? name != provisioned->command : !is_test_command(name))
    return not_started(error(code::nothing_to_resume, fmt::format("what was typed for {} cannot be read any more: kfab {}", run_id, one_line(join(argv, " "), 200))));
  std::error_code problem;
  std::filesystem::current_path(directory, problem);
  if (problem) return not_started(error(code::file_unreadable, fmt::format("{}, where {} was started: {}", one_line(directory, 160), run_id, problem.message())));
  const auto widened = [&](auto options) {
    if (args.given("window")) options.site.reach.window = static_cast<std::size_t>(args.integer("window").value_or(512));
    return options;
  };
  if (tested) return run_resume_tests(*tested, widened(test_options_of(typed.args)), {args.flag("follow"), args.flag("stop")}, env);
  if (watched || provisioned->command == "reboot") {
    CommandOutput output = watched ? run_resume(*provisioned, widened(test_options_of(typed.args)), env) : run_resume(*provisioned, widened(reboot_options(typed.args)), env);
    output.schema = watched ? "kfab.validate/1.3" : "kfab.reboot/1.2";
    return output;
  }
  if (provisioned->command == "undo") {
    UndoOptions options = widened(undo_options(typed.args));
    options.unattended = args.flag("yes");
    CommandOutput output = run_resume(*provisioned, std::move(options), env);
    output.schema = "kfab.undo/1.0";
    return output;
  }
  ProvisionOptions options = widened(provision_options(typed.args, provision::Mode::apply));
  options.unattended = args.flag("yes");
  options.reboot = options.reboot || args.flag("reboot");
  return run_resume(*provisioned, std::move(options), env);
}

CommandOutput adapt_resume(const Args& args, Env& env) {
  const bool of_tests = args.flag("follow") || args.flag("stop");
  const auto found = find_resumable(args.positional("RUN"), env, of_tests ? Wanted::detached_tests : Wanted::anything);
  if (!found) return not_started(found.error());
  CommandOutput output = go_on_with(*found, args, env);
  if (!found->newer || std::holds_alternative<PassedOver>(found->what)) return output;
  if (auto why = told_of(*found->newer)) {
    why->help.push_back("gone on with was the last run of which something was left, which is older");
    output.diagnostics.push_back(std::move(*why));
  }
  return output;
}

CommandOutput adapt_reboot(const Args& args, Env& env) {
  return run_reboot(reboot_options(args), env);
}

CommandOutput adapt_exec(const Args& args, Env& env) {
  return run_exec({paced_site_options(args), args.rest(), args.duration_s("timeout").value_or(0), args.text("stdin"), args.list("env"), args.text("output-dir"), args.flag("plain")}, env);
}

CommandOutput adapt_hostkeys(const Args& args, Env& env) {
  HostKeysOptions options;
  options.site = site_options(args);
  options.action = parse_hostkeys_action(args.positional("ACTION")).value_or(HostKeysAction::scan);
  options.replace = args.text("replace");
  options.allow_duplicates = args.flag("allow-duplicates");
  options.fingerprints_file = args.text("fingerprints");
  options.all = args.flag("verbose");
  options.show_first = args.text("output") == "table";
  if (options.action != HostKeysAction::trust && (args.given("replace") || args.given("fingerprints") || args.flag("allow-duplicates")))
    return not_started(error(code::option_misplaced, "--replace, --fingerprints and --allow-duplicates belong to `kfab hostkeys trust`"));
  return run_hostkeys(options, env);
}

// The manifest, where there is one, is the first of the words.
CommandOutput adapt_copy(const Args& args, Env& env) {
  CopyOptions options;
  options.site = paced_site_options(args);
  options.words = args.positionals("WORDS");
  options.from = args.text("from");
  if (options.words.size() > (options.from.empty() ? 2 : 1)) {
    options.site.manifest = options.words.front();
    options.words.erase(options.words.begin());
  }
  options.mode = args.text("mode");
  options.owner = args.text("owner");
  options.max_bytes = static_cast<std::uint64_t>(args.integer("max-size").value_or(1024)) << 20;
  options.timeout_s = args.duration_s("timeout").value_or(0);
  return run_copy(options, env);
}

CommandOutput adapt_demo(const Args& args, Env& env) { return run_demo({args.text("dir"), args.text("output") == "table"}, env); }

CommandOutput adapt_doctor(const Args& args, Env& env) { return run_doctor({site_options(args), build_facts()}, env); }

}  // namespace

std::vector<CommandSpec> fleet_commands() {
  return {
      {.name = "inventory",
       .help = "read the facts of every node and hold them against the manifest",
       .description = "Processors, memory, disks, network, system and accelerators of every selected node are read by the agent and "
                      "compared with what the node's profile expects and with the declared serial number.\n\n"
                      "A fact that cannot be had is null with the reason, never a guess. The same board serial under two names is a finding.\n\n"
                      "Where a profile expects nothing the facts are recorded and there is no verdict: the exit code is 3, and KF1265 says what to do.",
       .examples = {{"kfab inventory site.yaml", "facts of every node"},
                    {"kfab inventory site.yaml -t p1 -o json", "of one tranche, for scripts"}},
       .positionals = {site_manifest()},
       .options = with_agent({{.name = "timeout", .kind = Kind::duration, .value = "TIME", .help = "longest time for one node", .fallback = "3m"}}),
       .exit_codes = {0, 1, 2, 3, 4, 130, 143},
       .schema = "kfab.inventory/1.1",
       .selects_nodes = true,
       .run = adapt_inventory},
      {.name = "plan",
       .help = "show what provision would change on every node, and change nothing",
       .description = "The roles of each node's profile become its desired state; the agent compares and reports the differences. "
                      "Nodes with the same differences are shown once.\n\n"
                      "--out saves the plan: per node the exact desired state, what was found, and what both rest on. `kfab provision FILE` "
                      "applies exactly that; `kfab plan FILE` shows it again and reaches nobody. The file is yours alone (mode 0600).\n\n"
                      "With --exit-code drift is the answer no and ends with 1, for cron and CI.",
       .examples = {{"kfab plan site.yaml", "differences of every node"},
                    {"kfab plan site.yaml -t p1 --out p1.plan", "saved, to be reviewed and applied as it is"},
                    {"kfab plan p1.plan", "what a saved plan holds"},
                    {"kfab plan site.yaml -t p1 --exit-code", "exit with 1 if any node of the tranche has drifted"}},
       .positionals = {plan_or_manifest("the site's manifest, or a saved plan; - is standard input")},
       .options = with_agent({{.name = "exit-code", .help = "exit with 1 when something would change"},
                              {.name = "out", .kind = Kind::path, .value = "FILE", .help = "save the plan to FILE"},
                              manifest_of_plan(),
                              {.name = "timeout", .kind = Kind::duration, .value = "TIME", .help = "longest time for one node", .fallback = "1h"}}),
       .exit_codes = {0, 1, 2, 3, 4, 130, 143},
       .schema = "kfab.plan/1.4",
       .selects_nodes = true,
       .run = adapt_plan},
      {.name = "provision",
       .help = "bring every node into its declared state",
       .description = "Each resource is checked, applied where it differs, and checked again. A second run changes nothing.\n\n"
                      "On a terminal it plans first, shows the plan, asks, and applies what was shown. With --yes it goes ahead at once, "
                      "each node over one connection. A resource whose predecessor failed is skipped, the rest goes on.\n\n"
                      "Of a plan that `kfab plan --out` saved it applies exactly that. Each node is compared with the plan first, in the same "
                      "session: one that has changed since, or is another machine, is refused and left as it is; the others go on. What is "
                      "already as planned is no drift. A plan whose manifest has changed is refused as a whole.\n\n"
                      "Where a role asks for a reboot before the rest (kfab-roles(7), type reboot) the node stops there: what stands behind is not "
                      "applied, the node is not done, and the exit code is 3. With --reboot those nodes are rebooted as `kfab reboot` does it, in its "
                      "batches and with its proof, and then gone on with in the same run. Of a plan only those reboots are done that it holds.\n\n"
                      "More than 32 nodes are not changed at once: one goes first and must be ok, then 2, 4, 8 and so on, each batch when the one "
                      "before has ended, and a batch of which more than half fails is the last. --canary, --batch and --ramp say otherwise; "
                      "--canary 0 takes all at once. The nodes that were not started are reported, with how to go on.",
       .examples = {{"kfab provision site.yaml", "all nodes, after a review"},
                    {"kfab provision p1.plan --yes", "a plan that was saved and reviewed"},
                    {"kfab provision site.yaml --reboot", "the same, rebooting where a role asks for it"},
                    {"kfab provision site.yaml --check", "the same as plan: changes nothing"},
                    {"kfab provision site.yaml -w 'gpu[001-004]' --yes", "four nodes, without asking"},
                    {"kfab provision site.yaml --yes --canary 2 --max-fail 2%", "two first, then 4, 8, ...; stop when more than 2 % have failed"}},
       .positionals = {plan_or_manifest("the site's manifest, or a plan that was saved; - is standard input")},
       .options = with_agent({{.name = "check", .help = "only plan: say what would change, and change nothing"},
                              {.name = "reboot", .help = "reboot nodes where a role asks for it before the rest, and go on with them"},
                              {.name = "reboot-timeout", .kind = Kind::duration, .value = "TIME", .help = "longest time from the order of a reboot until the node is back", .fallback = "30m"},
                              manifest_of_plan(),
                              {.name = "timeout", .kind = Kind::duration, .value = "TIME", .help = "longest time for one node", .fallback = "1h"}},
                            pace_options("start with N nodes, all of which must be ok before the others begin; default is 1 above 32 nodes, 0 is none")),
       .exit_codes = {0, 1, 2, 3, 4, 130, 143},
       .schema = "kfab.provision/1.4",
       .selects_nodes = true,
       .run = adapt_provision},
      {.name = "undo",
       .help = "take back what roles changed on the nodes",
       .description = "Before kfab changes a resource for the first time the node writes down what was there, and after each time what was left. "
                      "undo puts that back, what was applied last first: files with their bytes, modes and owners, links, directories, kernel "
                      "parameters, services, mounts, users and groups, packages. kfab-roles(7) says of each type what is taken back and what is not.\n\n"
                      "Only what is still as kfab left it is touched. Where somebody changed it since, that resource is refused and left as it is, "
                      "and the message says what differs; in files to which others write too, only kfab's lines are taken out. What undo replaces or "
                      "removes is kept among the backups of the node. A second undo finds nothing; one that was cut is simply run again.\n\n"
                      "On a terminal it shows what would be undone and asks. Nodes on which something was undone are no longer provisioned, as "
                      "readiness sees them. Services that name a file in restart_on are restarted once it was put back. The next provision brings a role "
                      "back that a profile still lists. Undo it first, then take it out there: a role of the site's own is known only from the "
                      "manifest, be it a document of it or a `file:` that a profile lists. Nodes go in batches as with provision.",
       .examples = {{"kfab undo site.yaml --role tuning", "on all nodes, after a review"},
                    {"kfab undo site.yaml --role tuning,users -w 'gpu[001-004]' --check", "what would be undone; nothing is changed"},
                    {"kfab undo site.yaml --role tuning -t p1 --yes", "a tranche, without asking"}},
       .positionals = {site_manifest()},
       .options = with_agent({{.name = "role", .kind = Kind::text, .value = "NAME", .help = "the roles to undo: one, several with commas, or the option several times", .repeatable = true, .required = true},
                              {.name = "check", .help = "only say what would be undone, and change nothing"},
                              {.name = "timeout", .kind = Kind::duration, .value = "TIME", .help = "longest time for one node", .fallback = "1h"}},
                            pace_options("start with N nodes, all of which must be ok before the others begin; default is 1 above 32 nodes, 0 is none")),
       .exit_codes = {0, 1, 2, 3, 4, 130, 143},
       .schema = "kfab.undo/1.0",
       .selects_nodes = true,
       .run = adapt_undo},
      {.name = "reboot",
       .help = "reboot nodes in batches, and prove that each one came back",
       .description = "A node counts as rebooted when what answers has another boot id, has been running for a shorter time than the order is "
                      "old, shows the host key that is known, and is the same machine by board serial and machine id. Then its system must "
                      "have finished starting, and its roles must find nothing to change.\n\n"
                      "One node goes first, then 2, 4, 8 and so on, each batch when every node of the one before is back and checked; a batch of "
                      "which more than half fails is the last. Asks before it starts; --yes answers.\n\n"
                      "With --needed the nodes are asked first, and only those go on of which a reboot is due, because of a kernel argument, a "
                      "module or the like that a role declares, or because the system's packages wait for one (/run/reboot-required).\n\n"
                      "What is on record as not applied yet, as where provision stopped for this reboot, is not laid to it; the command that goes "
                      "on is told.\n\n"
                      "A run that was cut is gone on with by `kfab resume`: nodes that were told to reboot are waited for, not told again.\n\n"
                      "Nodes with `transport: local` are this machine and are refused.",
       .examples = {{"kfab reboot site.yaml -t p1", "a tranche, in batches, after asking"},
                    {"kfab reboot site.yaml --needed", "only where a reboot is due"},
                    {"kfab reboot site.yaml -w gpu007 --yes --timeout 45m", "one node whose self-test takes long"},
                    {"kfab reboot site.yaml -t p1 --yes --canary 2 --batch 16", "two first, then 16 at a time"}},
       .positionals = {site_manifest()},
       .options = with_pace({{.name = "timeout", .kind = Kind::duration, .value = "TIME", .help = "longest time from the order until a node is back", .fallback = "30m"},
                             {.name = "needed", .help = "only nodes of which a reboot is due: a role asks for it, or the system's packages do"},
                             {.name = "no-check", .help = "do not hold the nodes against their roles afterwards"}},
                            pace_options("start with N nodes, all of which must be well before the others begin; default is 1, 0 is none")),
       .exit_codes = {0, 1, 2, 3, 4, 130, 143},
       .schema = "kfab.reboot/1.2",
       .selects_nodes = true,
       .run = adapt_reboot},
      {.name = "resume",
       .help = "go on where a run stopped, or fetch tests left to the nodes",
       .description = "What was recorded decides. Of a run of provision: nodes that were brought into their declared state are neither asked nor "
                      "touched again; the others go on from where they are, as the run was typed, with the plan that it applied. Nodes that were told to "
                      "reboot on the way are waited for and proven, not told again. Nothing is done "
                      "twice, because each resource is checked before it is applied. For when kfab was killed, the control host went down, or "
                      "nodes failed and were repaired. A node whose declared state has changed since is left alone.\n\n"
                      "Of a run of undo: nodes that are done are not asked again, the others go on from where they are.\n\n"
                      "Of a run of reboot: nodes that run another boot than before are not told to reboot again, but waited for and checked.\n\n"
                      "Of tests that go on by themselves (kfab validate --level soak, or --detach): tells how far each node is and how long it will "
                      "take. Those that are done are judged and recorded, each once; while one is not, the exit code is 3. With --follow it stays "
                      "until all are done, and an interrupt leaves them alone. --stop ends them; what was cut short is not judged. Of a run that is "
                      "over the answer is told again.\n\n"
                      "Of tests that were watched and were cut: nodes whose tests had come to their end are not tested again; what is kept of them is "
                      "judged beside the others. A node that would be tested by something else now is left out.\n\n"
                      "The new run is linked to the one that it goes on with, and `kfab runs` tells both. Naming any run of such a chain means the "
                      "whole of it: what any of them has done is done. When nothing is left the verdicts on record are told, and no node is asked.\n\n"
                      "Without RUN the last run that can be gone on with is meant; `kfab runs` lists them. Tests that were watched and came to their end are "
                      "none, whatever they found, nor are runs that change nothing: where the newest run is one of these and its answer was not yes, that is "
                      "told (KF3182); where nothing is left of any run, how the newest ended is the answer.",
       .examples = {{"kfab resume", "the last run"},
                    {"kfab resume 20261121T164158Z-7f3a9c --yes", "a certain run, without asking"},
                    {"kfab resume --follow", "stay with a soak until its verdict"}},
       .positionals = {{.name = "RUN", .kind = Kind::text, .help = "id of the run; default is the last one that can be gone on with", .required = false}},
       .options = {{.name = "follow", .help = "tests: stay until all nodes are done, and tell from time to time how far they are"},
                   {.name = "stop", .help = "tests: end those that still go on"},
                   {.name = "reboot", .help = "provision: reboot nodes where a role asks for it, also if the run was typed without"},
                   {.name = "window", .kind = Kind::integer, .value = "N", .help = "most nodes at work at the same time, instead of the run's", .min = 1, .max = 20000}},
       .exit_codes = {0, 1, 2, 3, 4, 130, 143},
       .schema = "kfab.provision/1.4",
       .other_schemas = {"kfab.undo/1.0", "kfab.reboot/1.2", "kfab.validate/1.3"},
       .run = adapt_resume},
      {.name = "exec",
       .help = "run a command on many nodes and fold identical output",
       .description = "The words after -- are joined by blanks and run by the user's shell on each node, with --become by root's /bin/sh. "
                      "They travel as data: no login shell reads them on the way. Without a manifest the node set is of addresses.\n\n"
                      "Each node has one of five outcomes: ok, failed (with the exit status or signal), timed_out (with the phase), refused "
                      "(key or host key) and unreachable. A command whose exit status was lost is never ok.\n\n"
                      "With --max-fail nothing more is started once too many nodes failed, did not answer or were refused; with --canary and "
                      "--batch the nodes go in batches. What was not started is named at the end, with how to go on.\n\n"
                      "Nothing is left behind: at --timeout, at an interrupt, when kfab is killed or the connection is lost, every process that "
                      "the command started is ended within 15 seconds, by TERM and then KILL. What made a session of its own (setsid, a "
                      "service) is left alone. A kfab that is suspended for longer than 12 seconds counts as lost.\n\n"
                      "That needs head, timeout, sed and sleep on the node. For an appliance without them, a forced command or a restricted "
                      "shell there is --plain: the words go to the login shell as ssh gives them, and nothing ends them there.",
       .examples = {{"kfab exec site.yaml -w 'gpu[001-128]' -- uptime", "on the nodes of a site"},
                    {"kfab exec -w '10.1.0.[1-16]' --user ops -- 'cat /proc/driver/nvidia/version'", "on addresses, without a manifest"}},
       .positionals = {site_manifest(false)},
       .options = with_pace({{.name = "timeout", .kind = Kind::duration, .value = "TIME", .help = "longest time for the command on one node; 0 is none", .fallback = "0"},
                              {.name = "stdin", .kind = Kind::path, .value = "FILE", .help = "what the command reads; - is standard input"},
                              {.name = "env", .kind = Kind::text, .value = "NAME=VALUE",
                               .help = "set a variable for the command; may be given several times; not for secrets", .repeatable = true},
                              {.name = "output-dir", .kind = Kind::directory, .value = "DIR",
                               .help = "write each node's whole output to NODE.out and NODE.err and its end to NODE.json in DIR, new or empty"},
                              {.name = "plain", .help = "give the words to the login shell as they are, and supervise nothing"}}),
       .rest = "CMD [ARG...]",
       .exit_codes = {0, 1, 2, 3, 4, 130, 143},
       .schema = "kfab.exec/1.1",
       .selects_nodes = true,
       .run = adapt_exec},
      {.name = "hostkeys",
       .help = "review the SSH host keys of all nodes at once, and trust them",
       .description = "scan asks every selected node for its host keys and certificates, of every type, and holds them against what is known: "
                      "the site's own store and the user's known_hosts. Nobody logs in and nothing is stored. Keys that several nodes show are "
                      "flagged: cloned images, or one machine under several names.\n\n"
                      "trust does the same, shows the review, asks, and stores the new keys of all nodes in one go. Changed keys are stored only for "
                      "nodes that --replace names, shared ones only with --allow-duplicates, revoked ones never. With --fingerprints only keys are "
                      "stored that the file lists, from consoles or BMCs.\n\n"
                      "list tells what is known of each node and from which line of which file; nobody is asked.\n\n"
                      "The answer is no (1) when something is new, changed, revoked or shared, and incomplete (3) when a node could not be asked.",
       .examples = {{"kfab hostkeys scan site.yaml", "what is new, changed or cloned"},
                    {"kfab hostkeys trust site.yaml --fingerprints console.txt", "trust what the consoles confirm"},
                    {"kfab hostkeys trust site.yaml -w gpu007 --replace gpu007", "after a reinstall that you know of"},
                    {"kfab hostkeys list site.yaml -t p1", "what is known of a tranche, and from where"},
                    {"kfab hostkeys scan -w '10.1.0.[1-16]'", "addresses, without a manifest"}},
       .positionals = {{.name = "ACTION", .kind = Kind::choice, .help = "what to do", .choices = {"scan", "trust", "list"}}, site_manifest(false)},
       .options = with_pace({{.name = "replace", .kind = Kind::nodeset, .value = "SET", .help = "trust: the changed keys of these nodes are expected; what was known of them goes"},
                              {.name = "allow-duplicates", .help = "trust: store keys that several nodes show"},
                              {.name = "fingerprints", .kind = Kind::path, .value = "FILE", .help = "trust: only keys listed in FILE, a line each: NODE SHA256:...; - is standard input"}}, {}),
       .exit_codes = {0, 1, 2, 3, 4, 130, 143},
       .schema = "kfab.hostkeys/1.0",
       .selects_nodes = true,
       .run = adapt_hostkeys},
      {.name = "copy",
       .help = "copy one file to many nodes, or from each of them",
       .description = "Words: [MANIFEST] FILE PATH to the nodes; with --from PATH: [MANIFEST] DIR, and each node's file becomes DIR/NODE/NAME. "
                      "Without a manifest the node set is of addresses. Names are taken as they are, whatever is in them: nothing is expanded. A "
                      "relative PATH starts in the user's home; a PATH that is a folder there gets the file under its own name.\n\n"
                      "A file that is there already is not sent again. What is sent is kept under a hidden name until its SHA-256 was found "
                      "right, and then takes the place of the old file at once. When the connection breaks, the next run goes on from "
                      "there. Times are not kept; directories and special files are refused.\n\n"
                      "With --canary, --batch and --max-fail the nodes go in batches, and nothing more is started once too many failed.",
       .examples = {{"kfab copy site.yaml -t p1 nccl.conf /etc/nccl.conf --mode 0644 --become", "to the nodes of a tranche, as root"},
                    {"kfab copy -w '10.1.0.[1-16]' --user ops driver.run /var/tmp/", "to addresses, into a folder"},
                    {"kfab copy site.yaml -w 'gpu[1-8]' --from /var/log/dmesg logs", "from nodes, to logs/gpu1/dmesg and so on"}},
       .positionals = {{.name = "WORDS", .kind = Kind::path, .help = "[MANIFEST] FILE PATH; with --from [MANIFEST] DIR", .repeatable = true}},
       .options = with_pace({{.name = "from", .kind = Kind::text, .value = "PATH", .help = "fetch the file PATH from every node"},
                              {.name = "mode", .kind = Kind::text, .value = "MODE", .help = "permission bits in octal; default is the file's own, and 0600 with --from"},
                              {.name = "owner", .kind = Kind::text, .value = "USER:GROUP", .help = "who owns the file on the nodes, :GROUP may be left out; needs --become"},
                              {.name = "max-size", .kind = Kind::integer, .value = "MIB", .help = "with --from: fetch no file that is larger, in MiB", .fallback = "1024", .min = 1, .max = 1 << 24},
                              {.name = "timeout", .kind = Kind::duration, .value = "TIME", .help = "longest time for one node; 0 is none", .fallback = "0"}}),
       .exit_codes = {0, 1, 2, 3, 4, 130, 143},
       .schema = "kfab.copy/1.1",
       .selects_nodes = true,
       .run = adapt_copy},
      {.name = "demo",
       .help = "do the whole job on this machine: four nodes, two tranches",
       .description = "Starts an sshd of its own on loopback, with fresh keys, and runs lint, plan, provision, inventory, validate, readiness "
                      "and report against it, each shown with the command that you would type. One node fails its criteria on purpose, so that "
                      "the second tranche is not ready and says why.\n\n"
                      "Works in a private folder, stops what it started, and leaves the report and the JSON there.",
       .examples = {{"kfab demo", "about a minute"}, {"kfab demo --dir /tmp/my-demo", "in a folder of your choice"}},
       .options = {{.name = "dir", .kind = Kind::directory, .value = "DIR", .help = "an empty or new folder to work in; default is a new one under TMPDIR"}},
       .exit_codes = {0, 1, 2, 4, 130, 143},
       .schema = "kfab.demo/1.0",
       .run = adapt_demo},
      {.name = "doctor",
       .help = "see whether all is in place here before nodes are reached",
       .description = "Looks at libssh2 and what it cannot do, ssh(1), ssh-agent, key files, known_hosts, the limit on open files, memory, the "
                      "state directory, the clock and the agent that travels in kfab; with a manifest also at what its nodes need of these. Each "
                      "has a verdict and, where something is to be done, the next step.\n\n"
                      "No node is reached. The addresses of the selected nodes are looked up in the name service.",
       .examples = {{"kfab doctor", "this machine"},
                    {"kfab doctor site.yaml", "this machine, for the nodes of a site"},
                    {"kfab doctor site.yaml -o json", "for scripts: data.checks[].verdict"}},
       .positionals = {site_manifest(false)},
       .options = reach_options(),
       .exit_codes = {0, 1, 2, 3, 4, 130, 143},
       .schema = "kfab.doctor/1.0",
       .selects_nodes = true,
       .run = adapt_doctor},
  };
}

}  // namespace kfab::cli
