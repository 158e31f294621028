#include "fleet/turns.hpp"

#include <doctest/doctest.h>

#include <vector>

using kfab::fleet::Turns;

TEST_CASE("turns: only so many at once, and who asks first goes first") {
  Turns turns({{"mirror", 2}});
  std::vector<int> order;
  for (int node = 0; node < 5; ++node) turns.ask(static_cast<std::size_t>(node), "mirror", [&order, node] { order.push_back(node); });
  CHECK(order == std::vector<int>{0, 1});
  CHECK(turns.busy("mirror") == 2);
  turns.over(1, "mirror");
  CHECK(order == std::vector<int>{0, 1, 2});
  turns.over(4, "mirror");   // it gives up waiting
  turns.over(0, "mirror");
  turns.over(2, "mirror");
  CHECK(order == std::vector<int>{0, 1, 2, 3});
  CHECK(turns.busy("mirror") == 1);
}

TEST_CASE("turns: a node that ends lets the next one in, whatever it had or waited for") {
  Turns turns({{"a", 1}, {"b", 1}});
  std::vector<int> order;
  turns.ask(0, "a", [&] { order.push_back(0); });
  turns.ask(0, "b", [&] { order.push_back(1); });
  turns.ask(1, "a", [&] { order.push_back(2); });
  turns.ask(2, "a", [&] { order.push_back(3); });
  turns.gone(1);
  CHECK(order == std::vector<int>{0, 1});
  turns.gone(0);
  CHECK(order == std::vector<int>{0, 1, 3});
  CHECK(turns.busy("b") == 0);
}

TEST_CASE("turns: what has no limit is everybody's turn, and asking twice is asking once") {
  Turns turns({{"a", 1}});
  int given = 0;
  for (std::size_t node = 0; node < 3; ++node) turns.ask(node, "other", [&] { ++given; });
  CHECK(given == 3);
  turns.ask(0, "a", [&] { ++given; });
  turns.ask(0, "a", [&] { ++given; });
  turns.ask(1, "a", [&] { ++given; });
  turns.ask(1, "a", [&] { ++given; });
  CHECK(given == 4);
  turns.over(0, "a");
  CHECK(given == 5);
  turns.over(1, "a");
  CHECK(given == 5);
  CHECK(turns.busy("a") == 0);
}
