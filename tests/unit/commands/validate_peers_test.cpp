// What a run of tests makes of its nodes when they are fetched one after the other, and how old it says that they are.
#include <doctest/doctest.h>

#include <filesystem>

#include "base/ids.hpp"
#include "commands/detached.hpp"
#include "commands/report_shelf.hpp"
#include "commands/validate_nodes.hpp"
#include "fake_env.hpp"

using namespace kfab;
using namespace kfab::commands;

namespace {

struct Bench : kfab::test::World {
  std::filesystem::path dir = std::filesystem::temp_directory_path() / ("kfab-validate-test-" + random_hex(6));
  manifest::Profile profile;
  manifest::CriteriaSet criteria;
  NodeTest test;
  std::unique_ptr<Recorder> recorder;

  Bench() {
    env.state_dir = dir;
    profile.name = "p";
    profile.vendor = "nvidia";
    manifest::Criterion width;
    width.id = "width";
    width.metric = "pcie.width_missing";
    width.device = "cuda";
    width.unit = "count";
    width.direction = manifest::Direction::max;
    width.limit = 0;
    criteria.name = "c";
    criteria.criteria.push_back(width);
    test.profile = &profile;
    test.criteria = &criteria;
    test.plan.device = "cuda";
    test.plan.families = validation::all_families();
    test.plan.level = validation::Level::soak;
    auto begun = Recorder::begin(env, "validate", {"here", ""});
    REQUIRE(begun);
    recorder = std::move(*begun);
  }
  ~Bench() {
    recorder.reset();
    std::error_code ignored;
    std::filesystem::remove_all(dir, ignored);
  }

  // A node with one GPU that passes, and whose burn-in has this digest.
  AgentRun run(const std::string& name, double digest) const {
    AgentRun said;
    said.end.node = name;
    said.end.outcome = NodeOutcome::ok;
    said.end.hello = json::Object{{"board_serial", "B-" + name}};
    const std::string gpu = "GPU-" + name;
    said.messages.emplace_back(json::Object{{"type", "accelerator"}, {"id", gpu}, {"device", "cuda"}, {"model", "H200"}, {"index", 0}});
    const auto say = [&](const char* metric, double value, const char* unit) {
      said.messages.emplace_back(json::Object{{"type", "measurement"}, {"accelerator", gpu}, {"device", "cuda"}, {"test", "health"}, {"metric", metric}, {"value", value}, {"unit", unit}});
    };
    say("pcie.width_missing", 0, "count");
    say("burnin.gemm_bf16.digest", digest, "digest");
    return said;
  }
  ValidatedNode fetched(const std::string& name, double digest, std::optional<Timestamp> at = {}) {
    const AgentRun bare{0, {}, run(name, digest).end, {}};
    ValidatedNode node = judged(test, run(name, digest));
    node.measured_at = at;
    recorder->put(findings_of(env, env.run_id, test, bare, node));
    return node;
  }
  store::NodeRecord kept(const std::string& name) {
    auto store = store::Store::open(dir, "here");
    REQUIRE(store);
    auto record = (*store)->node_record(env.run_id, "here", name, "validate");
    REQUIRE(record);
    REQUIRE(*record);
    return **record;
  }
};

manifest::Node place(const std::string& name) {
  manifest::Node node;
  node.name = name;
  node.profile = "p";
  return node;
}

}  // namespace

TEST_CASE_FIXTURE(Bench, "a node that was fetched alone is held beside those that are fetched later, and the other way round") {
  CHECK(fetched("wrong", 4711).judgement.verdict == Verdict::pass);   // nobody to compare it with
  const manifest::Node wrong = place("wrong"), a = place("a"), b = place("b"), c = place("c");
  std::vector<ValidatedNode> nodes{node_of_record(test, kept("wrong")), fetched("a", 1), fetched("b", 1), fetched("c", 1)};
  CHECK(nodes[0].judgement.verdict == Verdict::pass);
  CHECK(nodes[0].report.accelerators.size() == 1);
  CHECK(nodes[0].level == "soak");
  bool away = false;
  SUBCASE("with reports in memory") {}
  SUBCASE("with reports that were put away") {
    away = true;
    const auto shelf = std::make_shared<Shelf>(dir, 0);
    for (auto& node : nodes) put_away(node, shelf);
    CHECK(shelf->bytes_in_file() > 0);
  }
  judge_beside_peers(nodes, {test, test, test, test}, {&wrong, &a, &b, &c}, env.run_id, env, *recorder);
  CHECK(nodes[0].judgement.verdict == Verdict::fail);
  CHECK(nodes[1].judgement.verdict == Verdict::pass);
  CHECK(nodes[0].report.measurements.empty() == away);
  CHECK(WithReport(nodes[0])->report.measurements.size() == 2);
  CHECK(WithReport(nodes[0])->judgement.criteria.size() == 1);
  CHECK(WithReport(nodes[1])->judgement.criteria.size() == 1);
  CHECK(kept("wrong").verdict == Verdict::fail);
  CHECK(kept("wrong").detail.array_at("report").size() == kept("a").detail.array_at("report").size());
  CHECK(kept("wrong").board_serial == "B-wrong");
  CHECK(kept("a").verdict == Verdict::pass);
}

TEST_CASE_FIXTURE(Bench, "what was measured long before it was fetched is no younger for that") {
  const Timestamp then = clock.now() - std::chrono::hours(30);
  fetched("old", 1, then);
  CHECK(kept("old").at == then);
  auto store = store::Store::open(dir, "here");
  REQUIRE(store);
  const auto evidence = (*store)->evidence("here", {}, {});
  REQUIRE(evidence);
  REQUIRE(evidence->accelerators.size() == 1);
  CHECK(evidence->accelerators[0].at == then);
  for (const auto& figure : evidence->measurements) CHECK(figure.at == then);
  for (const auto& record : evidence->nodes)
    if (record.step == "reach") CHECK(record.at == clock.now());
  // A shorter test that failed in between is newer, and stands.
  const AgentRun bare{0, {}, run("old", 1).end, {}};
  NodeTest quick = test;
  quick.plan.level = validation::Level::quick;
  AgentRun bad = run("old", 1);
  bad.messages.emplace_back(json::Object{{"type", "test_done"}, {"accelerator", "GPU-old"}, {"device", "cuda"}, {"test", "memory"}, {"status", "failed"}});
  ValidatedNode failed = judged(quick, std::move(bad));
  failed.measured_at = then + std::chrono::hours(1);
  recorder->put(findings_of(env, env.run_id, quick, bare, failed));
  fetched("old", 1, then);
  const auto after = (*store)->evidence("here", {}, {});
  REQUIRE(after);
  for (const auto& record : after->nodes)
    if (record.step == "validate") CHECK(record.verdict == Verdict::fail);
}

TEST_CASE_FIXTURE(Bench, "a run on some of the processors does not stand for the level") {
  manifest::Site site;
  profile.vendor = "cpu";
  site.profiles.emplace("p", profile);
  const manifest::Node node = place("a");
  SiteSession session;
  session.site = &site;
  session.nodes = {&node};
  ValidateOptions options;
  options.level = validation::Level::soak;
  const auto whole = plan_nodes(session, options);
  REQUIRE(whole);
  CHECK(level_word(whole->front()) == "soak");
  options.threads = 1;
  const auto part = plan_nodes(session, options);
  REQUIRE(part);
  CHECK(level_word(part->front()) == "soak (shortened)");
}

TEST_CASE("an accelerator that was done before the run was cut keeps its verdict; the node and the others have none") {
  Bench bench;
  const auto messages = [&](bool done, double missing = 0) {
    AgentRun said = bench.run("n1", 1);
    said.messages.emplace_back(json::Object{{"type", "accelerator"}, {"id", "GPU-hangs"}, {"device", "cuda"}, {"model", "H200"}, {"index", 1}});
    said.messages.emplace_back(json::Object{{"type", "measurement"}, {"accelerator", "GPU-hangs"}, {"device", "cuda"}, {"test", "health"}, {"metric", "pcie.width_missing"}, {"value", missing}, {"unit", "count"}});
    if (done) said.messages.emplace_back(json::Object{{"type", "accelerator_done"}, {"accelerator", "GPU-n1"}, {"device", "cuda"}});
    said.end.outcome = NodeOutcome::timed_out;
    said.reason = "not done within 10 min";
    return said;
  };
  const auto verdict_of = [](const ValidatedNode& node, std::string_view id) {
    for (const auto& one : node.judgement.accelerators)
      if (one.id == id) return one.verdict;
    return Verdict::degraded;
  };

  const ValidatedNode node = judged(bench.test, messages(true));
  CHECK(node.judgement.verdict == Verdict::not_judged);
  CHECK(verdict_of(node, "GPU-n1") == Verdict::pass);
  CHECK(verdict_of(node, "GPU-hangs") == Verdict::not_judged);
  CHECK(verdict_of(judged(bench.test, messages(false)), "GPU-n1") == Verdict::not_judged);
  CHECK(verdict_of(judged(bench.test, messages(true, 8)), "GPU-hangs") == Verdict::fail);
  CHECK(verdict_of(judged(bench.test, messages(true), Cut{"the node was started again", true}), "GPU-n1") == Verdict::fail);

  // Kept and judged again, it is still known to have been done.
  const AgentRun bare{0, {}, messages(true).end, {}};
  bench.recorder->put(findings_of(bench.env, bench.env.run_id, bench.test, bare, node));
  const ValidatedNode again = kept_node(bench.test, bench.kept("n1"));
  CHECK(verdict_of(again, "GPU-n1") == Verdict::pass);
  CHECK(verdict_of(again, "GPU-hangs") == Verdict::not_judged);
}

TEST_CASE("of a run whose tests are all fetched the answer is not complete while one has no verdict, whatever failed beside it") {
  Bench bench;
  const auto told = [&](std::size_t failed, std::size_t not_judged) {
    DetachedRun run;
    run.run_id = "20261121T164158Z-7f3a9c";
    run.nodes = 4;
    run.failed = failed;
    run.not_judged = not_judged;
    const CommandOutput output = run_resume_tests(run, {}, {}, bench.env);
    std::ostringstream text;
    term::Writer writer(text, {});
    output.render(writer);
    return std::pair(output.outcome, text.str());
  };
  CHECK(told(0, 0).first == Outcome::yes);
  CHECK(told(1, 0).first == Outcome::no);
  CHECK(told(0, 2).first == Outcome::incomplete);
  const auto [outcome, text] = told(1, 1);
  CHECK(outcome == Outcome::incomplete);
  CHECK(text.find("4 nodes, of which 1 failed and 1 has no verdict.") != std::string::npos);
  CHECK(text.find("kfab validate tests it again") != std::string::npos);
  CHECK(told(1, 0).second.find("tests it again") == std::string::npos);
}
