#include <doctest/doctest.h>

#include "fleet/admission.hpp"

using namespace kfab;
using namespace kfab::fleet;
using std::chrono::milliseconds;

namespace {

std::vector<ssh::Target> nodes(std::size_t count, bool one_server = false) {
  std::vector<ssh::Target> targets(count);
  for (std::size_t i = 0; i < count; ++i) {
    targets[i].node = "n" + std::to_string(i);
    targets[i].address = one_server ? "127.0.0.1" : "127.1." + std::to_string(i / 250) + "." + std::to_string(1 + i % 250);
  }
  return targets;
}

// Starts from `next` on whatever may start; returns how many did.
std::size_t start_all(Admission& admission, std::size_t& next, std::size_t count) {
  std::size_t started = 0;
  for (; next < count && admission.may_start(next); ++next, ++started) admission.started(next);
  return started;
}

}  // namespace

TEST_CASE("the window starts small and grows by one with every login, up to the most") {
  Admission admission(nodes(1000), 100);
  std::size_t next = 0;
  CHECK(start_all(admission, next, 1000) == Admission::first_window);
  for (std::size_t i = 0; i < 10; ++i) admission.entered(i, ssh::Phase::channel);
  CHECK(admission.window() == 42);
  CHECK(start_all(admission, next, 1000) == 10);
  for (std::size_t i = 0; i < 10; ++i) admission.ended(i);
  CHECK(start_all(admission, next, 1000) == 10);
  for (std::size_t i = 10; i < next; ++i) admission.entered(i, ssh::Phase::command);   // phases may be missed, logins not
  CHECK(admission.window() == 84);
  start_all(admission, next, 1000);
  for (std::size_t i = 52; i < next; ++i) admission.entered(i, ssh::Phase::channel);
  CHECK(admission.window() == 100);
  CHECK(Admission(nodes(5), 3).window() == 3);
}

TEST_CASE("nodes that do not get in leave their places to others, up to a bound") {
  Admission admission(nodes(1000), 64);
  Admission::Time now{};
  std::size_t next = 0;
  admission.look(now);
  CHECK(start_all(admission, next, 1000) == 32);
  now += milliseconds(1001);
  admission.look(now);
  CHECK(admission.slow() == 32);
  CHECK(start_all(admission, next, 1000) == 32);
  now += milliseconds(1001);
  admission.look(now);
  CHECK(start_all(admission, next, 1000) == 32);
  now += milliseconds(1001);
  admission.look(now);
  CHECK(admission.slow() == 96);
  CHECK(start_all(admission, next, 1000) == 0);   // 96 - 64 fill the window of 32
  admission.ended(0);
  CHECK(admission.slow() == 95);
  CHECK(start_all(admission, next, 1000) == 1);
  // One that gets in after all is an ordinary one again.
  admission.entered(1, ssh::Phase::channel);
  CHECK(admission.slow() == 94);
  for (std::size_t i = 1; i < next; ++i) admission.ended(i);
  CHECK(admission.at_work() == 0);
  CHECK(admission.slow() == 0);
}

TEST_CASE("a server that hangs up is asked by fewer at once, and by more again when it lets them in") {
  Admission admission(nodes(1000, true), 512);
  Admission::Time now{};
  std::size_t next = 0;
  admission.look(now);
  CHECK(start_all(admission, next, 1000) == 10);
  admission.hung_up(0);
  CHECK(admission.group_limit(1) == doctest::Approx(5));
  admission.hung_up(1);   // the same sign
  CHECK(admission.group_limit(1) == doctest::Approx(5));
  now += milliseconds(300);
  admission.look(now);
  admission.hung_up(2);
  CHECK(admission.group_limit(1) == doctest::Approx(2.5));
  for (std::size_t i = 0; i < 8; ++i) admission.entered(i, ssh::Phase::channel);
  CHECK(admission.group_limit(1) > 3);
  CHECK(admission.group_limit(1) < 6);
  CHECK(admission.may_start(next));
  for (int i = 0; i < 20; ++i) {
    now += milliseconds(300);
    admission.look(now);
    admission.hung_up(9);
  }
  CHECK(admission.group_limit(1) == doctest::Approx(1));   // never less: somebody has to try
  for (std::size_t i = 0; i < next; ++i) admission.ended(i);
  CHECK(admission.may_start(next));
}

TEST_CASE("nodes behind one jump host are a group as well, and those elsewhere do not wait for them") {
  auto targets = nodes(200);
  ssh::Target host;
  host.node = host.address = "127.0.0.9";
  const auto jump = std::make_shared<const ssh::Target>(host);
  for (std::size_t i = 0; i < 100; ++i) targets[i].via = {jump};
  Admission admission(targets, 512);
  admission.look({});
  for (std::size_t i = 0; i < 20; ++i) admission.started(i);
  admission.hung_up(3);
  CHECK(admission.group_limit(50) == doctest::Approx(10));
  CHECK_FALSE(admission.may_start(50));
  CHECK(admission.may_start(150));
  CHECK(admission.group_limit(150) > 1e9);
}
