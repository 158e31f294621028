// A node whose tests were left to it: what is missing is at work, and readiness says so and nothing else of it.
#include <doctest/doctest.h>

#include "base/codes/readiness.hpp"
#include "base/codes/validation.hpp"
#include "fixture.hpp"

using namespace kfab;
using namespace kfab::readiness;
using namespace kfab::readiness::fixture;

TEST_CASE("where tests were left to a node the run is named instead of the tests asked for again") {
  const auto s = site(2);
  const auto without = [&] {
    auto e = evidence(s);
    std::erase_if(e.accelerators, [](const auto& record) { return record.node == "n00001"; });
    return e;
  };
  Context c = context();
  CHECK(first(s, without(), c).code == code::evidence_missing);
  c.tests_left["n00001"] = "20261121T164158Z-7f3a9c";
  const auto node = first(s, without(), c);
  CHECK(node.code == code::tests_not_fetched);
  CHECK(node.reason.find("20261121T164158Z-7f3a9c") != std::string::npos);
  CHECK(node.state == first(s, without()).state);
  CHECK(first(s, evidence(s), c).state == NodeState::accepted);   // what it has is enough already
  auto failed = evidence(s);
  for (auto& record : failed.accelerators)
    if (record.node == "n00001") record.verdict = Verdict::fail;
  CHECK(first(s, failed, c).code == code::node_failed_validation);
}
