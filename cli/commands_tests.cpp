#include <algorithm>
#include <iterator>
#include <string>

#include "base/codes/cli.hpp"
#include "base/result.hpp"
#include "base/text.hpp"
#include "cli/fleet_options.hpp"
#include "cli/test_options.hpp"
#include "commands/judge.hpp"
#include "commands/selftest.hpp"

// The rows of the commands that test accelerators, and of those that judge and prove the tests.
namespace kfab::cli {
namespace {

using namespace kfab::commands;

bool has_option(const Args& args, std::string_view name) {
  const auto& own = args.command()->options;
  return std::any_of(own.begin(), own.end(), [&](const OptionSpec& option) { return option.name == name; });
}

ValidateOptions test_options_of(const Args& args, std::string command, std::vector<std::string> families) {
  ValidateOptions options;
  options.site = agent_site_options(args);
  options.command = std::move(command);
  options.families = std::move(families);
  options.level = validation::parse_level(args.text("level"));
  options.duration_s = args.duration_s("duration");
  options.dry_run = args.flag("dry-run");
  options.threads = static_cast<int>(args.integer("threads").value_or(0));
  if (const auto cap = args.integer("memory-cap")) options.memory_cap_mib = static_cast<int>(*cap);
  if (has_option(args, "load")) {
    options.load.kind = args.text("load");
    options.load.period_s = args.duration_s("load-period").value_or(options.load.period_s);
    if (const auto percent = args.percent("load-duty")) options.load.duty = *percent / 100;
  }
  if (has_option(args, "start-together")) options.start_together = args.flag("start-together");
  if (args.flag("detach")) options.detach = true;
  if (args.flag("attach")) options.detach = false;
  return options;
}

// The families that each command of tests runs; none: all.
struct TestCommand { std::string_view name; std::string_view family; };
constexpr TestCommand families_by_command[] = {{"validate", ""}, {"memtest", "memory"}, {"bandwidth", "bandwidth"}, {"burnin", "burnin"}};

// Whether what was said about a load belongs together; commands without a burn-in have none.
Status sound_load(const Args& args, const validation::LoadOptions& load) {
  constexpr double least_period_s = 0.02, most_period_s = 3600, least_duty = 0.05, most_duty = 0.95;   // as the agent takes them
  if (!has_option(args, "load")) return ok();
  if (args.given("load-period") && !load.shaped()) return error(code::option_misplaced, "--load-period belongs to --load stepped or pulsed");
  if (args.given("load-duty") && load.kind != "pulsed") return error(code::option_misplaced, "--load-duty belongs to --load pulsed");
  if (load.period_s < least_period_s || load.period_s > most_period_s) return error(code::bad_value, "--load-period is from 20ms to 1h");
  if (load.duty < least_duty || load.duty > most_duty) return error(code::bad_value, "--load-duty is from 5 to 95 per cent");
  return ok();
}

CommandOutput adapt_tests(const Args& args, Env& env) {
  if (args.flag("detach") && args.flag("attach")) return not_started(error(code::options_exclude, "--detach and --attach exclude each other"));
  ValidateOptions options = test_options_of(args);
  if (auto sound = sound_load(args, options.load); !sound) return not_started(std::move(sound).error());
  return run_validate(options, env);
}

CommandOutput adapt_health(const Args& args, Env& env) {
  ValidateOptions options;
  options.site = agent_site_options(args);
  options.command = "health";
  options.families = {"health"};
  options.detach = false;   // it takes seconds, at any level
  return run_validate(options, env);
}

CommandOutput adapt_selftest(const Args& args, Env& env) {
  SelftestOptions options;
  options.site = agent_site_options(args);
  if (const auto seed = args.integer("seed")) options.seed = static_cast<std::uint64_t>(*seed);
  return run_selftest(options, env);
}

CommandOutput adapt_judge(const Args& args, Env& env) {
  JudgeOptions options;
  options.manifest = args.positional("MANIFEST");
  options.selection = {args.list("tranche"), join(args.list("nodes"), ","), join(args.list("exclude"), ",")};
  options.run = args.text("run");
  options.criteria = args.text("criteria");
  options.dry_run = args.flag("dry-run");
  return run_judge(options, env);
}

// How a burn-in loads the nodes over time.
std::vector<OptionSpec> load_options() {
  return {
      {.name = "load", .kind = Kind::choice, .value = "SHAPE",
       .help = "load of the burn-in over time: steady (all the time), stepped (25, 50, 75 and 100 %, rising) or pulsed", .fallback = "steady", .choices = {"steady", "stepped", "pulsed"}},
      {.name = "load-period", .kind = Kind::duration, .value = "TIME", .help = "time of all four steps, or of a pulse and its pause", .fallback = "20s"},
      {.name = "load-duty", .kind = Kind::percent, .value = "PERCENT", .help = "a pulse's part of the period", .fallback = "50"},
  };
}

// Of the burn-in alone.
OptionSpec start_together() {
  return {.name = "start-together", .help = "all nodes begin at the same instant, once all are ready; one whose clock is too far off is left out and says so"};
}

// `own` come after the level and the time.
std::vector<OptionSpec> test_options(std::vector<OptionSpec> own = {}) {
  std::vector<OptionSpec> all{
      {.name = "level", .kind = Kind::choice, .value = "LEVEL", .help = "how thorough; default is what the node's tranche asks for",
       .choices = {"quick", "standard", "soak"}},
      {.name = "duration", .kind = Kind::duration, .value = "TIME", .help = "time for all tests of a node, such as 90s, 10m or 2h30m, instead of the level's; a shorter one does not stand for the level, and one that holds no round of every test is refused"},
      {.name = "dry-run", .help = "say what would be tested and how long each part takes, and reach nobody"},
      {.name = "threads", .kind = Kind::integer, .value = "N", .help = "threads of the cpu device, which does not stand for the level with fewer than all; 0 is all that the node has", .fallback = "0", .max = 4096},
      {.name = "memory-cap", .kind = Kind::integer, .value = "MIB", .help = "most memory that the cpu device's tests take, in MiB; less than the level's does not stand for it", .min = 16, .max = 1 << 24},
      {.name = "detach", .help = "start the tests and leave them to the nodes; kfab resume judges them; a soak is left to them anyway"},
      {.name = "attach", .help = "stay and watch, also over a soak: the tests end with this command or its connection"},
  };
  all.insert(all.begin() + 2, std::make_move_iterator(own.begin()), std::make_move_iterator(own.end()));   // after the level and the time
  return with_agent(std::move(all));
}

}  // namespace

ValidateOptions test_options_of(const Args& args) {
  const std::string name(args.command()->name);
  for (const auto& row : families_by_command)
    if (row.name == name) return test_options_of(args, name, row.family.empty() ? std::vector<std::string>{} : std::vector<std::string>{std::string(row.family)});
  return {};
}

bool is_test_command(std::string_view name) {
  return std::any_of(std::begin(families_by_command), std::end(families_by_command), [&](const auto& row) { return row.name == name; });
}

std::vector<CommandSpec> test_commands() {
  std::vector<CommandSpec> all{
      {.name = "health",
       .help = "read error counters, links, firmware and XIDs of the accelerators",
       .description = "ECC counters, remapped rows, PCIe replays and AER, NVLinks, the fabric, InfoROM, MIG, persistence, confidential "
                      "computing, other processes, the PCIe link under a short load against what the accelerator itself can, versions "
                      "against the profile's pins, and the XIDs in the kernel's log, judged by a table of its own.\n\n"
                      "The other tests read the same counters before and after every test and name the test that moved one. What "
                      "cannot be read (an older driver, no permission for the kernel's log) is said and not judged.",
       .examples = {{"kfab health site.yaml -t p1", "every accelerator of a tranche"},
                    {"kfab health site.yaml -w gpu007 -o json", "one node, every counter"}},
       .positionals = {site_manifest()},
       .options = with_agent({}),
       .exit_codes = {0, 1, 2, 3, 4, 130, 143}, .schema = "kfab.validate/1.3", .selects_nodes = true,
       .run = adapt_health},
      {.name = "memtest",
       .help = "test the memory of the accelerators with patterns",
       .description = "Patterns over as much of the memory as can be had, every word compared; the share that was covered is printed, and so is "
                      "the bandwidth of the same passes: the patterns are gone through again and again while there is time. A wrong bit fails the accelerator whatever the criteria say.\n\n"
                      "Asks before it loads more than 32 nodes; --yes answers.",
       .examples = {{"kfab memtest site.yaml -t p1 --level standard", "every accelerator of a tranche"},
                    {"kfab memtest site.yaml -w gpu007 --duration 10m", "one node for ten minutes"}},
       .positionals = {site_manifest()},
       .options = test_options(),
       .exit_codes = {0, 1, 2, 3, 4, 130, 143}, .schema = "kfab.validate/1.3", .selects_nodes = true,
       .run = adapt_tests},
      {.name = "burnin",
       .help = "burn in the accelerators with verified matrix products",
       .description = "Every result is compared bit by bit with the one right answer. A wrong bit fails the accelerator whatever the "
                      "criteria say; a run without an iteration, or whose checker did not find the fault planted for it, is not judged.\n\n"
                      "For tests of power the load can come in steps or pulses, by the nodes' clocks, and on all nodes from the same instant "
                      "(--start-together): kfab gets the nodes ready, compares their clocks with its own, leaves out those that are more than "
                      "half a second off (a tenth of --load-period where that is less), and tells the others when to begin. An accelerator "
                      "that is not ready by then does not join late. Under a load that is not steady rates are recorded and held against no "
                      "limit; wrong bits and throttling count as ever. Such a run does not stand for the level.\n\n"
                      "Asks before it loads more than 32 nodes; --yes answers.",
       .examples = {{"kfab burnin site.yaml -t p1 --level standard", "every accelerator of a tranche"},
                    {"kfab burnin site.yaml -w gpu007 --duration 10m", "one node for ten minutes"},
                    {"kfab burnin site.yaml -t p1 --duration 10m --load pulsed --load-period 4s --start-together", "a room's power in pulses of 2 s"}},
       .positionals = {site_manifest()},
       .options = test_options([] { auto own = load_options(); own.push_back(start_together()); return own; }()),
       .exit_codes = {0, 1, 2, 3, 4, 130, 143},
       .schema = "kfab.validate/1.3",
       .selects_nodes = true,
       .run = adapt_tests},
      {.name = "bandwidth",
       .help = "measure the bandwidth of memory and links",
       .description = "Names and method are nvbandwidth's on the cuda device, STREAM's on the cpu device. What was copied is verified. "
                      "Copies of copy engines come first, at every level; the others follow as far as there is time (bandwidth.tests_left_out counts "
                      "those that it was too short for), and a longer --duration takes more samples of each. "
                      "A figure of one device is never held against a criterion of another.\n\n"
                      "Asks before it loads more than 32 nodes; --yes answers.",
       .examples = {{"kfab bandwidth site.yaml -t p1", "every link of a tranche's accelerators"},
                    {"kfab bandwidth site.yaml -w gpu007 -o json", "one node, with every sample"}},
       .positionals = {site_manifest()},
       .options = test_options(),
       .exit_codes = {0, 1, 2, 3, 4, 130, 143},
       .schema = "kfab.validate/1.3",
       .selects_nodes = true,
       .run = adapt_tests},
      {.name = "validate",
       .help = "run the tests that each tranche asks for and judge them",
       .description = "Health, memory, bandwidth and burn-in at the level of the node's tranche (quick, standard or soak), judged by the criteria of "
                      "the node's profile. What was measured and what it was held against is kept, so that readiness can tell.\n\n"
                      "A test that did not run is not judged, which is exit code 3 and never a pass. Asks before it loads more than 32 nodes; --yes "
                      "answers.\n\n"
                      "A soak goes on by itself on the nodes, for hours: kfab comes back when it has begun, with exit code 3, and neither a lost connection nor the "
                      "end of this machine ends it. `kfab resume` tells how far it is and fetches the result. The same with --detach for other "
                      "levels; where one of the nodes is to have a soak, all are left to themselves. --attach stays.\n\n"
                      "--load gives the burn-in steps or pulses; its rates are then held against no limit, and the run does not stand for the "
                      "level. A common start of all nodes is `kfab burnin --start-together`.",
       .examples = {{"kfab validate site.yaml -t p1", "the tests of one tranche"},
                    {"kfab validate site.yaml --level quick -o ndjson", "quick tests of all, events as they happen"},
                    {"kfab validate site.yaml -t p1 --level soak --duration 24h", "start a soak of a day; kfab resume judges it"}},
       .positionals = {site_manifest()},
       .options = test_options(load_options()),
       .exit_codes = {0, 1, 2, 3, 4, 130, 143},
       .schema = "kfab.validate/1.3",
       .selects_nodes = true,
       .run = adapt_tests},
      {.name = "judge",
       .help = "judge again what was measured, by other criteria",
       .description = "Numbers are measured on the node, criteria are applied here: what the store holds of the nodes is judged again by the criteria "
                      "that the manifest names now, or by those of --criteria, beside the figures of all peers. No node is asked, and the evidence "
                      "stays as it is: the new verdict is a record of its own, with the criteria's name, version and digest and the run that "
                      "measured, and it is as old as the measurement. A verdict by other criteria than the manifest's stands beside the evidence and "
                      "never takes its place.\n\n"
                      "Of each node the newest run of tests is taken, or the one that --run names. Shown first is what has another verdict than before.",
       .examples = {{"kfab judge site.yaml --criteria stricter.yaml --dry-run", "what would change, and keep nothing"},
                    {"kfab judge site.yaml -t p1", "a tranche, after its criteria were changed in the manifest"},
                    {"kfab judge site.yaml --run 20261121T164158Z-7f3a9c -o json", "what a certain run measured"}},
       .positionals = {site_manifest()},
       .options = {{.name = "criteria", .kind = Kind::path, .value = "SET", .help = "a file, or the name of criteria of the manifest or built in; default is each profile's own"},
                   {.name = "run", .kind = Kind::text, .value = "RUN", .help = "judge what this run measured; default is the newest of each node"},
                   {.name = "dry-run", .help = "show what would change, and keep nothing"}},
       .exit_codes = {0, 1, 3},
       .schema = "kfab.judge/1.0",
       .selects_nodes = true,
       .run = adapt_judge},
      {.name = "selftest",
       .help = "plant faults, and see whether every check finds them",
       .description = "A flipped bit at random places under every memory pattern and in what copies carry, the proof that every test of the cpu "
                      "device, and where there is one of the cuda device, carries, counters that move, XIDs, processes that hang, crash or talk "
                      "nonsense; reports of devices that lie, a copy slower than its peers, a digest that differs from all others; and every "
                      "criterion held against a good and a bad case made from its own limit. What is not found is the answer no. Tests that planted "
                      "nothing are listed with the reason; where none of a device's tests planted anything, the answer is incomplete.\n\n"
                      "Without a manifest on this machine, by the agent that also travels to nodes; with one on its nodes, and with its criteria.",
       .examples = {{"kfab selftest", "this machine, about ten seconds"},
                    {"kfab selftest --seed 4711 -o json", "the same places again, every fault by itself"},
                    {"kfab selftest site.yaml -w gpu007", "on a node, with the criteria of the site"}},
       .positionals = {site_manifest(false)},
       .options = with_agent({{.name = "seed", .kind = Kind::integer, .value = "N", .help = "from which the places of faults follow; default is a new one, which is printed"}}),
       .exit_codes = {0, 1, 2, 3, 4, 130, 143}, .schema = "kfab.selftest/1.0", .selects_nodes = true,
       .run = adapt_selftest},
  };
  for (CommandSpec& command : all) command.reaches_nodes = command.name != "judge";   // which asks the store and nobody else
  return all;
}

}  // namespace kfab::cli
