#include <doctest/doctest.h>

#include "readiness/blocks.hpp"

using kfab::readiness::pack;
using kfab::readiness::Packing;

TEST_CASE("blocks are packed side by side, none shared") {
  CHECK(pack({}, {}) == Packing::fits);
  CHECK(pack({4}, {4}) == Packing::fits);
  CHECK(pack({4}, {3, 3}) == Packing::does_not_fit);
  CHECK(pack({2, 2}, {4}) == Packing::fits);
  CHECK(pack({2, 2}, {3, 1}) == Packing::does_not_fit);
  CHECK(pack({510, 255, 255, 32}, {1020, 32}) == Packing::fits);
  CHECK(pack({510, 255, 255, 32}, {1019, 33}) == Packing::does_not_fit);
}

TEST_CASE("a choice that is greedy and wrong is taken back") {
  // Best fit puts 6 into 7; then 5+4 and 4+3 must share 10 and 7 otherwise.
  CHECK(pack({6, 5, 4, 3}, {9, 9}) == Packing::fits);
  CHECK(pack({5, 4, 3, 3, 3}, {9, 9}) == Packing::fits);
  CHECK(pack({7, 5, 4, 4}, {11, 9}) == Packing::fits);
}

TEST_CASE("many equal blocks in many equal runs are no search") {
  CHECK(pack(std::vector<std::int64_t>(900, 32), std::vector<std::int64_t>(1000, 32)) == Packing::fits);
  CHECK(pack(std::vector<std::int64_t>(1001, 32), std::vector<std::int64_t>(1000, 32)) == Packing::does_not_fit);
}
