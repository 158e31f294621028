// What `kfab runs` counts as done, cut and left.
#include <doctest/doctest.h>

#include <filesystem>

#include "base/codes/commands.hpp"
#include "base/ids.hpp"
#include "commands/detached.hpp"
#include "commands/runs.hpp"
#include "fake_env.hpp"

using namespace kfab;
using namespace kfab::commands;

namespace {

struct Ledger : kfab::test::World {
  std::filesystem::path dir = std::filesystem::temp_directory_path() / ("kfab-runs-test-" + random_hex(6));
  std::unique_ptr<Recorder> recorder;

  Ledger() {
    env.state_dir = dir;
    auto begun = Recorder::begin(env, "validate", {"here", ""});
    REQUIRE(begun);
    recorder = std::move(*begun);
  }
  ~Ledger() {
    recorder.reset();
    std::error_code ignored;
    std::filesystem::remove_all(dir, ignored);
  }
  // What is kept of a node whose report was fetched, by the way that everything else keeps it.
  void fetched(const std::string& name, std::optional<Cut> cut) {
    manifest::Profile profile;
    NodeTest test;
    test.profile = &profile;
    test.plan.device = "cpu";
    AgentRun run;
    run.end.node = name;
    run.end.outcome = NodeOutcome::ok;
    run.end.hello = json::Object{{"board_serial", "B-" + name}};
    recorder->put(findings_of(env, env.run_id, test, {0, {}, run.end, {}}, judged(test, run, std::move(cut))));
  }
  json::Value told(const std::string& run = {}) {
    const CommandOutput output = run_runs({run, 20}, env);
    REQUIRE(output.outcome == Outcome::yes);
    text = test::rendered(output);
    return output.data.array_at("runs").at(0);
  }
  std::string text;
};

}  // namespace

TEST_CASE_FIXTURE(Ledger, "a node whose tests were stopped is cut: it is not done, and nothing is left of it") {
  recorder->work(detached_document({"validate", "site.yaml"}, {{"whole", "j1", "cpu", "soak", false, {}}, {"stopped", "j2", "cpu", "soak", false, {}},
                                                               {"fell", "j3", "cpu", "soak", false, {}}, {"at-work", "j4", "cpu", "soak", false, {}}}));
  fetched("whole", {});
  fetched("stopped", Cut{"the report is incomplete: the tests were asked to stop"});
  fetched("fell", Cut{"the node was started again while it was tested", true});   // a failure, which is a result
  for (const std::string& run : {std::string(), env.run_id}) {
    CAPTURE(run);
    const json::Value row = told(run);
    CHECK(row.int_or("nodes", 0) == 4);
    CHECK(row.int_or("done", 0) == 2);
    CHECK(row.int_or("cut", 0) == 1);
    CHECK(row.int_or("left", 0) == 1);
    CHECK(row["cut_nodes"].is_null() == run.empty());
  }
  const json::Value row = told(env.run_id);
  REQUIRE(row.array_at("cut_nodes").size() == 1);
  CHECK(row.array_at("cut_nodes").at(0).string_or("node") == "stopped");
  CHECK(text.find("stopped: the report is incomplete: the tests were asked to stop") != std::string::npos);
  CHECK(text.find("kfab validate MANIFEST -w 'stopped'") != std::string::npos);
}

TEST_CASE_FIXTURE(Ledger, "a run whose results could not be kept is incomplete on record as well") {
  Outcome found = Outcome::yes, wanted = Outcome::incomplete;
  SUBCASE("all was well") {}
  SUBCASE("something failed") { found = Outcome::no; }
  SUBCASE("it was cut") { found = wanted = Outcome::cancelled; }
  store::NodeRecord lost;
  lost.run_id = "20260101T000000Z-000000";   // the store refuses what is of no run
  lost.node = "n1";
  lost.step = "validate";
  recorder->put({{lost}, {}, {}});
  CommandOutput output;
  output.outcome = found;
  recorder->finish(output);
  CHECK(output.outcome == wanted);
  CHECK(output.diagnostics.at(0).code == code::not_recorded);
  CHECK(told().string_or("outcome") == to_string(wanted));
}
