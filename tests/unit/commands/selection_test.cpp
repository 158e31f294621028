#include <doctest/doctest.h>

#include "commands/selection.hpp"

using namespace kfab;
using namespace kfab::commands;

namespace {

manifest::Site site() {
  manifest::Site s;
  for (const char* name : {"t1", "t2"}) {
    manifest::Tranche tranche;
    tranche.name = name;
    s.tranches.push_back(tranche);
  }
  const auto add = [&](const char* name, const char* rack, const char* tranche) {
    manifest::Node node;
    node.name = name;
    node.rack = rack;
    node.tranche = tranche;
    node.group = "all-of-them";
    s.nodes.push_back(node);
  };
  add("gpu001", "r1", "t1");
  add("gpu002", "r1", "t1");
  add("gpu003", "r2", "t2");
  return s;
}

std::string chosen(const Selection& selection) {
  const auto s = site();
  const auto nodes = select_nodes(s, selection);
  if (!nodes) return to_string(nodes.error().code) + " " + info(nodes.error().code).name.data();
  std::string names;
  for (const auto* node : *nodes) names += node->name + " ";
  return names;
}

}  // namespace

TEST_CASE("selection: tranche, set and exclusion narrow in turn") {
  CHECK(chosen({}) == "gpu001 gpu002 gpu003 ");
  CHECK(chosen({{"t2"}, "", ""}) == "gpu003 ");
  CHECK(chosen({{"t1", "t2"}, "", "gpu002"}) == "gpu001 gpu003 ");
  CHECK(chosen({{}, "@rack:r1", ""}) == "gpu001 gpu002 ");
  CHECK(chosen({{}, "@tranche:t2,gpu001", ""}) == "gpu001 gpu003 ");
  CHECK(chosen({{}, "gpu*", "@rack:r2"}) == "gpu001 gpu002 ");
}

TEST_CASE("selection: nothing selected, and nothing known by that name, are errors") {
  CHECK(chosen({{"t3"}, "", ""}).starts_with("KF1251"));
  CHECK(chosen({{}, "gpu009", ""}).starts_with("KF1254"));
  CHECK(chosen({{}, "@rack:r9", ""}).starts_with("KF11"));
  CHECK(chosen({{"t2"}, "gpu001", ""}).starts_with("KF1252"));
  CHECK(chosen({{}, "gpu001", "gpu001"}).starts_with("KF1252"));
}
