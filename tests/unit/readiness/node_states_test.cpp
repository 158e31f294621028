#include <doctest/doctest.h>

#include <algorithm>

#include "base/codes/manifest.hpp"
#include "base/codes/readiness.hpp"
#include "base/codes/validation.hpp"
#include "manifest/criteria_choice.hpp"
#include "fixture.hpp"
#include "readiness/node_states.hpp"

using namespace kfab;
using namespace kfab::readiness;
using namespace kfab::readiness::fixture;

TEST_CASE("a node that passed every step is accepted") {
  const auto s = site(1);
  const auto n = first(s, evidence(s));
  CHECK(n.state == NodeState::accepted);
  CHECK(n.verdict == Verdict::pass);
  CHECK(n.reason.empty());
  CHECK(n.accelerators == 8);
  CHECK(n.accelerators_validated == 8);
}

TEST_CASE("a node without evidence is declared, and nothing is known of it") {
  const auto s = site(1);
  const auto n = first(s, {});
  CHECK(n.state == NodeState::declared);
  CHECK(n.verdict == Verdict::not_judged);
  CHECK(n.code == code::evidence_missing);
}

TEST_CASE("each step stands on the one before") {
  const auto s = site(1);
  struct Row { const char* missing; NodeState state; };
  for (const Row row : {Row{"inventory", NodeState::reachable}, Row{"provision", NodeState::inventoried}, Row{"validate", NodeState::provisioned}}) {
    CAPTURE(row.missing);
    auto e = evidence(s);
    std::erase_if(e.nodes, [&](const auto& r) { return r.step == row.missing; });
    const auto n = first(s, e);
    CHECK(n.state == row.state);
    CHECK(n.verdict == Verdict::not_judged);
    CHECK(!n.reason.empty());
  }
}

TEST_CASE("a step that failed fails the node, one that was not judged leaves it open") {
  const auto s = site(1);
  for (const char* name : {"inventory", "provision", "validate"}) {
    CAPTURE(name);
    auto e = evidence(s);
    record(e, "n00001", name).verdict = Verdict::fail;
    record(e, "n00001", name).reason = "it broke";
    auto n = first(s, e);
    CHECK(n.state == NodeState::failed);
    CHECK(has(n.reason, "it broke"));
    record(e, "n00001", name).verdict = Verdict::not_judged;
    n = first(s, e);
    CHECK(n.state != NodeState::failed);
    CHECK(n.state != NodeState::accepted);
    record(e, "n00001", name).verdict = Verdict::degraded;
    n = first(s, e);
    CHECK(n.state == NodeState::failed);
    CHECK(n.verdict == Verdict::degraded);
    record(e, "n00001", name).verdict = Verdict::pass;
    record(e, "n00001", name).outcome = NodeOutcome::failed;
    CHECK(first(s, e).state == NodeState::failed);
    record(e, "n00001", name).verdict = Verdict::not_judged;   // cut off: nothing is known
    CHECK(first(s, e).verdict == Verdict::not_judged);
    record(e, "n00001", name).outcome = NodeOutcome::timed_out;
    record(e, "n00001", name).verdict = Verdict::pass;
    CHECK(first(s, e).verdict == Verdict::not_judged);
  }
}

TEST_CASE("what hinges on a fact that no node tells is mended in the manifest, not by another inventory") {
  auto s = site(1);
  auto e = evidence(s);
  record(e, "n00001", "inventory").verdict = Verdict::not_judged;
  record(e, "n00001", "inventory").reason = "the node tells no cpu.core_number";
  s.profiles["h200x8"].expect = json::Object{{"cpu.architecture", json::Object{{"equal", "x86_64"}}}};
  CHECK(first(s, e).code == code::evidence_missing);   // corrected since: another inventory it is
  s.profiles["h200x8"].expect = json::Object{{"cpu.core_number", json::Object{{"min", 64}}}};
  CHECK(first(s, e).code == code::unknown_fact);
  record(e, "n00001", "inventory").outcome = NodeOutcome::unreachable;
  CHECK(first(s, e).code == code::evidence_missing);
}

TEST_CASE("a node that does not answer any more is not accepted, and not failed either") {
  const auto s = site(1);
  auto e = evidence(s);
  auto& reach = record(e, "n00001", "reach");
  reach.at = now;
  reach.outcome = NodeOutcome::unreachable;
  reach.reason = "no route to host";
  const auto n = first(s, e);
  CHECK(n.state == NodeState::declared);
  CHECK(n.verdict == Verdict::not_judged);
  CHECK(n.code == code::node_not_reached);
  CHECK(has(n.reason, "no route to host"));
}

TEST_CASE("a change of what it was accepted with revokes") {
  auto s = site(1);
  auto e = evidence(s);
  SUBCASE("criteria") { s.criteria.begin()->second.sha256 = "newer"; }
  SUBCASE("profile") { s.profiles.begin()->second.sha256 = "newer"; }
  SUBCASE("no digest in the evidence") {
    for (auto& a : e.accelerators) a.criteria_sha256.clear();
  }
  SUBCASE("board between two steps") { record(e, "n00001", "provision").board_serial = "another"; }
  const auto n = first(s, e);
  CHECK(n.state == NodeState::revoked);
  CHECK(n.verdict == Verdict::not_judged);
  CHECK(n.code == code::acceptance_revoked);
}

TEST_CASE("empty digests on both sides are no agreement") {
  auto s = site(1);
  auto e = evidence(s);
  s.criteria.begin()->second.sha256.clear();
  for (auto& a : e.accelerators) a.criteria_sha256.clear();
  CHECK(first(s, e).state != NodeState::accepted);
}

TEST_CASE("the desired state of today must be the one that was provisioned") {
  const auto s = site(1);
  auto e = evidence(s);
  record(e, "n00001", "provision").detail = json::Object{{"desired_sha256", "old"}};
  Context c = context();
  CHECK(first(s, e, c).state == NodeState::accepted);   // nobody asked
  c.desired_sha256["n00001"] = "old";
  CHECK(first(s, e, c).state == NodeState::accepted);
  c.desired_sha256["n00001"] = "new";
  CHECK(first(s, e, c).state == NodeState::revoked);
  // Where secrets stand in it the run went by another digest than what is declared has: that which is declared counts.
  record(e, "n00001", "provision").detail = json::Object{{"desired_sha256", "with secrets"}, {"declared_sha256", "new"}};
  CHECK(first(s, e, c).state == NodeState::accepted);
  record(e, "n00001", "provision").detail = json::Object{{"desired_sha256", "new"}, {"declared_sha256", "old"}};
  CHECK(first(s, e, c).state == NodeState::revoked);
}

TEST_CASE("several names of one machine are told apart by name only where the manifest says so") {
  auto s = site(2);
  auto e = evidence(s);
  for (auto& r : e.nodes) r.board_serial = "the-one-board";
  for (const auto& n : judge_nodes(s, EvidenceIndex(e), context())) {
    CHECK(n.state == NodeState::failed);
    CHECK(n.code == code::duplicate_identity);
  }
  for (auto& node : s.nodes) node.identity_by_name = true;
  for (const auto& n : judge_nodes(s, EvidenceIndex(e), context())) CHECK(n.state == NodeState::accepted);
}

TEST_CASE("another board than the manifest's is a swap, not the node") {
  auto s = site(1);
  const auto e = evidence(s);
  s.nodes[0].serial = "board-n00001";
  CHECK(first(s, e).state == NodeState::accepted);
  s.nodes[0].serial = "board-n00002";
  const auto n = first(s, e);
  CHECK(n.state == NodeState::failed);
  CHECK(n.code == code::hardware_differs);
}

TEST_CASE("a processor never counts as an accelerator, however well it did") {
  const auto s = site(1);
  auto e = evidence(s);
  for (auto& a : e.accelerators) {
    a.device = "cpu";
    a.model = "AMD EPYC";
  }
  auto n = first(s, e);
  CHECK(n.state == NodeState::provisioned);
  CHECK(n.accelerators_validated == 0);
  CHECK(has(n.reason, "0 of 8"));
  for (auto& a : e.accelerators) a.device = "vendor";
  CHECK(first(s, e).accelerators_validated == 0);
}

TEST_CASE("another model than the profile's does not count") {
  const auto s = site(1);
  auto e = evidence(s);
  for (auto& a : e.accelerators) a.model = "NVIDIA H200 NVL 141GB";
  CHECK(first(s, e).state == NodeState::accepted);
  for (auto& a : e.accelerators) a.model = "NVIDIA GH200 480GB";
  CHECK(first(s, e).accelerators_validated == 0);
  CHECK(has(first(s, e).reason, "GH200"));
}

TEST_CASE("every accelerator must have passed, at the level that is asked for") {
  auto s = site(1);
  auto e = evidence(s);
  SUBCASE("one without evidence") {
    e.accelerators.pop_back();
    CHECK(has(first(s, e).reason, "7 of 8"));
    CHECK(first(s, e).verdict == Verdict::not_judged);
  }
  SUBCASE("one that failed") {
    e.accelerators[3].verdict = Verdict::fail;
    e.accelerators[3].reason = "2 wrong bits";
    const auto n = first(s, e);
    CHECK(n.state == NodeState::failed);
    CHECK(n.accelerators_failed == 1);
    CHECK(n.accelerators_validated == 7);
    CHECK(has(n.reason, "2 wrong bits"));
  }
  SUBCASE("too low a level") {
    for (auto& a : e.accelerators) a.level = "quick";
    CHECK(first(s, e).state == NodeState::provisioned);
    s.tranches[0].ready_when.level = "quick";
    CHECK(first(s, e).state == NodeState::accepted);
  }
  SUBCASE("a single family stands for no level") {
    for (auto& a : e.accelerators) a.level = "burnin";
    s.tranches[0].ready_when.level = "quick";
    CHECK(first(s, e).state != NodeState::accepted);
  }
  SUBCASE("a higher level stands for a lower") {
    for (auto& a : e.accelerators) a.level = "soak";
    CHECK(first(s, e).state == NodeState::accepted);
  }
  SUBCASE("a later failure counts over an earlier pass") {
    auto later = e.accelerators[0];
    later.at = now;
    later.level = "burnin";
    later.verdict = Verdict::fail;
    e.accelerators.push_back(later);
    CHECK(first(s, e).state == NodeState::failed);
  }
  SUBCASE("a later pass of one family does not hide the level") {
    auto later = e.accelerators[0];
    later.at = now;
    later.level = "burnin";
    e.accelerators.push_back(later);
    CHECK(first(s, e).state == NodeState::accepted);
  }
  SUBCASE("what was taken out of the node is not held against it once all was tested again") {
    auto old = e.accelerators[0];
    old.id = "GPU-taken-out";
    old.at = at("2026-10-01T00:00:00Z");
    old.verdict = Verdict::fail;
    e.accelerators.push_back(old);
    CHECK(first(s, e).state == NodeState::accepted);
  }
}

TEST_CASE("an accelerator counts in the node that reported it last") {
  const auto s = site(2);
  auto e = evidence(s);
  e.accelerators[8].id = e.accelerators[0].id;   // moved from the first node to the second
  e.accelerators[8].at = now;
  for (int i = 9; i < 16; ++i) e.accelerators[static_cast<std::size_t>(i)].at = now;
  const auto nodes = judge_nodes(s, EvidenceIndex(e), context());
  CHECK(nodes[0].accelerators_validated == 7);
  CHECK(nodes[1].state == NodeState::accepted);
}

TEST_CASE("old evidence and evidence of tomorrow do not hold") {
  auto s = site(1);
  s.tranches[0].ready_when.evidence_max_age_days = 30;
  CHECK(first(s, evidence(s)).state == NodeState::accepted);
  const auto n = first(s, evidence(s, at("2026-09-01T00:00:00Z")));
  CHECK(n.state == NodeState::revoked);
  CHECK(n.code == code::evidence_stale);
  CHECK(has(n.reason, "81 days old"));
  CHECK(first(s, evidence(s, at("2026-12-24T00:00:00Z"))).state == NodeState::revoked);
}

TEST_CASE("what a node says reaches no terminal unfiltered") {
  const auto s = site(1);
  auto e = evidence(s);
  e.accelerators[0].verdict = Verdict::fail;
  e.accelerators[0].id = "GPU\x1b]0;owned\x07";
  e.accelerators[0].reason = "line one\nline two\x1b[31m";
  const auto n = first(s, e);
  CHECK(n.reason.find('\x1b') == std::string::npos);
  CHECK(n.reason.find('\n') == std::string::npos);
}

TEST_CASE("a profile that expects no facts needs them taken, not judged") {
  auto s = site(1);
  s.profiles.begin()->second.expect = {};
  auto e = evidence(s);
  record(e, "n00001", "inventory").verdict = Verdict::not_judged;
  CHECK(first(s, e).state == NodeState::accepted);
  std::erase_if(e.nodes, [](const auto& r) { return r.step == "inventory"; });
  CHECK(first(s, e).state == NodeState::reachable);
}

TEST_CASE("an NPU that kfab cannot test is said to be so") {
  auto s = site(0);
  add_profile(s, profile("rngd", "furiosa", "RNGD", 4, 3.0));
  add_nodes(s, "p1", "rngd", 1, "m");
  auto e = evidence(s);
  e.accelerators.clear();
  const auto n = first(s, e);
  CHECK(n.state == NodeState::provisioned);
  CHECK(has(n.reason, "no test of its own for furiosa"));
}

TEST_CASE("a failure stands until the same is passed again, whatever else was passed since") {
  const auto s = site(1);
  const auto later = [](int hours) { return yesterday + std::chrono::hours(hours); };
  const auto add = [&](store::Evidence& e, const char* level, Verdict verdict, int hours) {
    auto r = e.accelerators.front();
    r.level = level;
    r.verdict = verdict;
    r.reason = verdict == Verdict::pass ? "" : "it broke";
    r.at = later(hours);
    e.accelerators.push_back(r);
  };
  auto e = evidence(s);                     // passed at level standard
  add(e, "burnin", Verdict::fail, 1);
  CHECK(first(s, e).state == NodeState::failed);
  SUBCASE("another family does not make it good") {
    add(e, "bandwidth", Verdict::pass, 2);
    CHECK(first(s, e).state == NodeState::failed);
    CHECK(has(first(s, e).reason, "it broke"));
  }
  SUBCASE("nor does a shorter level, or one that was cut short") {
    add(e, "quick", Verdict::pass, 2);
    add(e, "standard (shortened)", Verdict::pass, 3);
    CHECK(first(s, e).state == NodeState::failed);
  }
  SUBCASE("nor a try of the same that came to no verdict") {
    add(e, "burnin", Verdict::not_judged, 2);
    add(e, "bandwidth", Verdict::pass, 3);
    CHECK(first(s, e).state == NodeState::failed);
  }
  SUBCASE("the same family does") {
    add(e, "burnin", Verdict::pass, 2);
    CHECK(first(s, e).state == NodeState::accepted);
  }
  SUBCASE("and so does the whole level, or a longer one") {
    add(e, "soak", Verdict::pass, 2);
    CHECK(first(s, e).state == NodeState::accepted);
  }
  SUBCASE("but nothing that was passed before it") {
    add(e, "soak", Verdict::pass, 0);
    CHECK(first(s, e).state == NodeState::failed);
  }
}

TEST_CASE("a failure of some tests is made good by at least these tests, at least as long") {
  const auto s = site(1);
  struct Row { const char* failed; const char* passed; bool good; };
  for (const Row row : {Row{"burnin at standard", "burnin at standard", true}, Row{"burnin at standard", "burnin at quick", false},
                        Row{"burnin at quick", "burnin at soak", true}, Row{"burnin at soak", "standard", false}, Row{"burnin at soak", "soak", true},
                        Row{"burnin at quick", "memory+burnin at quick", true}, Row{"memory+burnin at quick", "burnin at quick", false},
                        Row{"burnin at quick", "memory at soak", false}, Row{"quick", "burnin at soak", false}, Row{"quick", "quick", true},
                        Row{"burnin at standard", "burnin at standard (shortened)", false}, Row{"burnin at standard (shortened)", "burnin at standard", true},
                        Row{"standard (shortened)", "standard (shortened)", false}, Row{"standard (shortened)", "standard", true},
                        // steps and pulses try what a steady load does not, and the other way round
                        Row{"burnin at quick", "burnin at quick (pulsed)", false}, Row{"burnin at quick (pulsed)", "burnin at quick", false},
                        Row{"quick (stepped)", "quick (pulsed)", false}, Row{"burnin at quick (pulsed)", "burnin at standard (pulsed)", true},
                        Row{"quick (pulsed, shortened)", "quick (pulsed)", true}, Row{"quick (pulsed)", "quick (pulsed, shortened)", false}}) {
    CAPTURE(row.failed);
    CAPTURE(row.passed);
    auto e = evidence(s);   // passed at level standard
    auto r = e.accelerators.front();
    r.level = row.failed;
    r.verdict = Verdict::fail;
    r.at = yesterday + std::chrono::hours(1);
    e.accelerators.push_back(r);
    CHECK(first(s, e).state == NodeState::failed);
    r.level = row.passed;
    r.verdict = Verdict::pass;
    r.at = yesterday + std::chrono::hours(2);
    e.accelerators.push_back(r);
    CHECK((first(s, e).state == NodeState::accepted) == row.good);
  }
}

TEST_CASE("a pass holds until the same was tried again and came to no verdict") {
  const auto s = site(1);
  auto e = evidence(s);
  auto r = e.accelerators.front();
  r.verdict = Verdict::not_judged;
  r.at = yesterday + std::chrono::hours(1);
  e.accelerators.push_back(r);
  CHECK(first(s, e).state == NodeState::provisioned);
}

TEST_CASE("a level that was cut short does not stand for the level") {
  const auto s = site(1);
  auto e = evidence(s);
  for (auto& r : e.accelerators) r.level = "standard (shortened)";
  const auto n = first(s, e);
  CHECK(n.state == NodeState::provisioned);
  CHECK(has(n.reason, "standard (shortened)"));
  CHECK(n.code == code::tests_cut_short);   // the rest of the tests is all that is missing
}

TEST_CASE("the rest of the tests is all that is missing only where the whole level would have been enough") {
  auto s = site(1);
  auto e = evidence(s);
  for (auto& r : e.accelerators) r.level = "quick (shortened)";
  CHECK(first(s, e).code == code::evidence_missing);
  s.tranches[0].ready_when.level = "quick";
  CHECK(first(s, e).code == code::tests_cut_short);
  s.tranches[0].ready_when.level = "";
  CHECK(first(s, e).code == code::tests_cut_short);
  SUBCASE("one is not judged") {
    e.accelerators[5].verdict = Verdict::not_judged;
    CHECK(first(s, e).code == code::evidence_missing);
  }
  SUBCASE("one was never tested") {
    e.accelerators.pop_back();
    CHECK(first(s, e).code == code::evidence_missing);
  }
  SUBCASE("one passed under other criteria") {
    e.accelerators[2].criteria_sha256 = "older";
    CHECK(first(s, e).code == code::acceptance_revoked);
  }
  SUBCASE("the others passed the whole") {
    for (std::size_t i = 1; i < e.accelerators.size(); ++i) e.accelerators[i].level = "quick";
    CHECK(first(s, e).code == code::tests_cut_short);
  }
}

TEST_CASE("a GPU profile that names no criteria is held against those it was judged by, and no other profile is") {
  auto s = site(1);
  auto e = evidence(s);
  const auto any = manifest::criteria_of({}, s.profiles.begin()->second);
  CHECK(any == nullptr);   // it names a set that is not there
  s.profiles.begin()->second.criteria.clear();
  const auto own = manifest::criteria_of(s.criteria, s.profiles.begin()->second);
  REQUIRE(own);
  CHECK(own->name == "nvidia-any");
  for (auto& a : e.accelerators) a.criteria_sha256 = own->sha256;
  CHECK(first(s, e).state == NodeState::accepted);
  for (auto& a : e.accelerators) a.criteria_sha256 = "another";
  CHECK(first(s, e).state == NodeState::revoked);
  s.profiles.begin()->second.vendor = "furiosa";
  s.profiles.begin()->second.device = "vendor";
  CHECK(manifest::criteria_of(s.criteria, s.profiles.begin()->second) == nullptr);
}

TEST_CASE("a step that is missing does not hide that the tests have failed") {
  const auto s = site(1);
  for (const char* missing : {"inventory", "provision"}) {
    CAPTURE(missing);
    auto e = evidence(s);
    std::erase_if(e.nodes, [&](const auto& r) { return r.step == missing; });
    e.accelerators[3].verdict = Verdict::fail;
    e.accelerators[3].reason = "three wrong bits";
    auto n = first(s, e);
    CHECK(n.state == NodeState::failed);
    CHECK(n.code == code::node_failed_validation);
    CHECK(n.accelerators_failed == 1);
    const std::string step = missing == std::string("inventory") ? "no inventory was taken" : "it was never provisioned";
    CHECK(n.reason.find("three wrong bits") < n.reason.find("; besides, " + step));   // the failure first, and both
    CHECK(has(n.reason, "; besides, " + step));
    e.accelerators[3].verdict = Verdict::pass;
    record(e, "n00001", "validate").verdict = Verdict::fail;
    record(e, "n00001", "validate").reason = "one is missing";
    // However the run ended: a node that was started again under its burn-in did not end it.
    for (const NodeOutcome outcome : {NodeOutcome::ok, NodeOutcome::failed}) {
      CAPTURE(to_string(outcome));
      record(e, "n00001", "validate").outcome = outcome;
      n = first(s, e);
      CHECK(n.state == NodeState::failed);
      CHECK(n.code == code::node_failed_validation);
      CHECK(n.reason == "validate: one is missing; besides, " + step);
    }
    record(e, "n00001", "validate").outcome = NodeOutcome::ok;
    record(e, "n00001", "validate").verdict = Verdict::not_judged;
    CHECK(first(s, e).verdict == Verdict::not_judged);
    CHECK(first(s, e).reason == step + "; besides, validate: one is missing");
    record(e, "n00001", "validate").verdict = Verdict::pass;
    CHECK(first(s, e).reason == step);
  }
}

TEST_CASE("one machine under two names is one machine, also where it tells no board serial") {
  auto s = site(0);
  add_profile(s, profile("cpu", "cpu", "processor", 1, 0.5));
  add_nodes(s, "p1", "cpu", 2, "x");
  auto e = evidence(s);
  for (auto& r : e.nodes) r.board_serial.clear();
  for (auto& a : e.accelerators) a.id = "cpu-of-the-one-machine";
  e.accelerators[1].at += std::chrono::minutes(1);
  auto nodes = judge_nodes(s, EvidenceIndex(e), context());
  CHECK(nodes[0].verdict == Verdict::not_judged);
  CHECK(nodes[0].accelerators_validated == 0);
  CHECK(has(nodes[0].reason, "cpu-of-the-one-machine was seen on x00002 since"));
  CHECK(nodes[0].code == code::accelerator_elsewhere);   // testing it again would turn them about, without an end
  CHECK(nodes[1].state == NodeState::accepted);

  e.accelerators[1].at = e.accelerators[0].at;   // it cannot be on both
  nodes = judge_nodes(s, EvidenceIndex(e), context());
  CHECK((nodes[0].state == NodeState::accepted) != (nodes[1].state == NodeState::accepted));

  for (auto& node : s.nodes) node.identity_by_name = true;   // declared to be names of one machine
  for (const auto& n : judge_nodes(s, EvidenceIndex(e), context())) CHECK(n.state == NodeState::accepted);
}

TEST_CASE("one accelerator that was moved is missing where it was, until another has passed in its place") {
  const auto s = site(2);
  auto e = evidence(s);
  auto moved = e.accelerators[2];   // of the first node
  moved.node = "n00002";
  moved.at += std::chrono::minutes(5);
  std::erase_if(e.accelerators, [](const auto& a) { return a.node == "n00002" && a.index == 2; });
  e.accelerators.push_back(moved);
  auto nodes = judge_nodes(s, EvidenceIndex(e), context());
  CHECK(nodes[0].verdict == Verdict::not_judged);
  CHECK(nodes[0].accelerators_validated == 7);
  CHECK(nodes[1].state == NodeState::accepted);
  auto replacement = e.accelerators[2];
  replacement.id = "GPU-new";
  replacement.at += std::chrono::minutes(6);
  e.accelerators.push_back(replacement);
  nodes = judge_nodes(s, EvidenceIndex(e), context());
  CHECK(nodes[0].state == NodeState::accepted);
  CHECK(nodes[1].state == NodeState::accepted);
}
