#include <doctest/doctest.h>

#include "fleet/relay_plan.hpp"

using namespace kfab;
using namespace kfab::fleet;
using Way = RelayPlan::Way;

namespace {
std::vector<ssh::Target> rack_of(std::size_t nodes, const std::string& rack = "r1") {
  std::vector<ssh::Target> targets(nodes);
  for (std::size_t i = 0; i < nodes; ++i) {
    targets[i].node = targets[i].address = "n" + std::to_string(i);
    targets[i].rack = rack;
  }
  return targets;
}
}  // namespace

TEST_CASE("the first of a rack is sent the agent, the others wait and then get it from there") {
  RelayPlan plan(rack_of(4));
  CHECK(plan.ask(1) == Way::direct);
  CHECK(plan.ask(0) == Way::wait);
  CHECK(plan.ask(2) == Way::wait);
  CHECK_FALSE(plan.stored(3));   // it had the agent already
  CHECK(plan.take_released().empty());
  CHECK(plan.stored(1));
  CHECK_FALSE(plan.stored(1));
  plan.serving(1, {"n1", 4711, "t"});
  CHECK(plan.take_released() == std::vector<std::size_t>{0, 2});
  CHECK(plan.take_released().empty());
  CHECK(plan.ask(0) == Way::relay);
  CHECK(plan.endpoint(0).port == 4711);
  CHECK(plan.ask(3) == Way::relay);
}

TEST_CASE("a relay that fails costs nobody the agent, and a leader that dies is followed by the next") {
  RelayPlan plan(rack_of(5));
  CHECK(plan.ask(0) == Way::direct);
  CHECK(plan.ask(1) == Way::wait);
  CHECK(plan.ask(2) == Way::wait);
  plan.gone(0);
  CHECK(plan.take_released() == std::vector<std::size_t>{1, 2});
  CHECK(plan.ask(1) == Way::direct);
  CHECK(plan.ask(2) == Way::wait);
  CHECK(plan.stored(1));
  plan.gone(1);   // its own session may end while it serves
  CHECK(plan.take_released().empty());
  plan.failed(1);
  CHECK(plan.take_released() == std::vector<std::size_t>{2});
  for (std::size_t i = 0; i < 5; ++i) CHECK(plan.ask(i) == Way::direct);
  plan.serving(1, {"n1", 1, "t"});   // too late
  CHECK(plan.ask(3) == Way::direct);
}

TEST_CASE("nodes of a rack with other processors have a relay of their own, whoever asks first") {
  RelayPlan plan(rack_of(6));
  CHECK(plan.ask(0, "aarch64") == Way::direct);
  CHECK(plan.ask(1, "x86_64") == Way::direct);
  CHECK(plan.ask(2, "aarch64") == Way::wait);
  CHECK(plan.ask(3, "x86_64") == Way::wait);
  CHECK(plan.stored(0));
  CHECK(plan.stored(1));
  plan.serving(0, {"n0", 4711, "t"});
  CHECK(plan.take_released() == std::vector<std::size_t>{2});
  CHECK(plan.ask(2, "aarch64") == Way::relay);
  CHECK(plan.endpoint(2).port == 4711);
  plan.failed(0);   // which is none of the others' business
  CHECK(plan.take_released().empty());
  plan.serving(1, {"n1", 4712, "t"});
  CHECK(plan.take_released() == std::vector<std::size_t>{3});
  CHECK(plan.ask(3, "x86_64") == Way::relay);
  CHECK(plan.endpoint(3).port == 4712);
  CHECK(plan.ask(4, "aarch64") == Way::direct);
  CHECK(plan.ask(5, "x86_64") == Way::relay);
}

TEST_CASE("small racks, nodes of no rack and hostile addresses have no relay; racks do not wait for each other") {
  auto targets = rack_of(2);
  for (auto& target : rack_of(3, "r2")) targets.push_back(target);
  for (auto& target : rack_of(3, "")) targets.push_back(target);
  for (auto& target : rack_of(3, "r3")) {
    target.address = "n; reboot";
    targets.push_back(target);
  }
  RelayPlan plan(targets);
  CHECK(plan.ask(0) == Way::direct);
  CHECK(plan.ask(1) == Way::direct);
  CHECK(plan.ask(2) == Way::direct);
  CHECK(plan.ask(3) == Way::wait);
  for (std::size_t i = 5; i < targets.size(); ++i) CHECK(plan.ask(i) == Way::direct);
  for (const std::string host : {"", "-x", "a b", "a\nb", "$(x)", "a;b"}) CHECK_FALSE(is_plain_host(host));
  for (const std::string host : {"10.0.0.1", "fe80::1", "gpu-1.example.org"}) CHECK(is_plain_host(host));
}
