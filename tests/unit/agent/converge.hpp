#pragma once

#include <doctest/doctest.h>

#include <string>

#include "unit/agent/support.hpp"

namespace kfab::agent::test {

// A resource that is planned (which writes nothing), applied, and right afterwards; what planning said.
inline std::string converge(const TemporaryDirectory& directory, Provisioner& node, const std::string& resources) {
  const auto before = tree_hash(directory.string());
  const auto planned = node.run("plan", resources);
  REQUIRE(said(planned) == "would_change");
  CHECK(tree_hash(directory.string()) == before);
  const auto applied = node.run("apply", resources);
  for (const auto& record : applied) CAPTURE(json::dump(record));
  CHECK(said(applied) == "changed");
  CHECK(said(node.run("apply", resources)) == "in_sync");
  CHECK(said(node.run("plan", resources)) == "in_sync");
  CHECK(nothing_left_over(directory));
  return changes_of(planned.front());
}

}  // namespace kfab::agent::test
