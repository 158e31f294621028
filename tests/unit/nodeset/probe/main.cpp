// The node set library as a filter, for comparing it with another implementation: oracle.sh.
//   probe generate COUNT SEED   prints valid expressions, one a line
//   probe evaluate              reads expressions, prints "fold<TAB>name name ..." or "error" for each
//   probe time                  prints how long the figures of the design take
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "base/text.hpp"
#include "nodeset/nodeset.hpp"

namespace {

using kfab::nodeset::NodeSet;
std::mt19937 random_source;
unsigned below(unsigned n) { return static_cast<unsigned>(random_source() % n); }

std::string range() {
  if (below(4) == 0) {   // padded
    const int width = 2 + static_cast<int>(below(2));
    const unsigned from = below(30), to = from + below(12);
    return below(4) == 0 ? fmt::format("{:0{}}", from, width) : fmt::format("{:0{}}-{:0{}}", from, width, to, width);
  }
  const unsigned from = below(30), to = from + below(100) / 8;
  if (below(3) == 0) return fmt::format("{}", from);
  return below(6) == 0 ? fmt::format("{}-{}/{}", from, to, 1 + below(3)) : fmt::format("{}-{}", from, to);
}

std::string brackets() {
  std::string text = range();
  for (unsigned more = below(3); more > 0; --more) text += "," + range();
  return "[" + text + "]";
}

std::string term() {
  static constexpr std::string_view heads[] = {"n", "r", "gpu-", "x", "a.b", ""};
  static constexpr std::string_view middles[] = {"n", "-", "x", ".c"};
  static constexpr std::string_view tails[] = {"", "", "", "-bmc", ".dc"};
  if (below(12) == 0) return fmt::format("n{}[{}-{}]{}", below(20), 10 + below(20), 30 + below(20), below(2) == 0 ? "" : "0");
  std::string text{heads[below(6)]};
  const unsigned axes = 1 + below(100) / 45;
  for (unsigned axis = 0; axis < axes; ++axis) {
    if (axis > 0) text += middles[below(4)];
    text += below(3) == 0 ? fmt::format("{}", below(12)) : brackets();
  }
  return text + std::string(tails[below(5)]);
}

// Sets over few names, so that operators meet and folding has work.
std::string dense_term() {
  std::string text = "r";
  const unsigned axes = 2 + below(2);
  for (unsigned axis = 0; axis < axes; ++axis) {
    const unsigned from = below(5), to = from + below(4);
    text += (axis == 0 ? "" : axis == 1 ? "n" : "x") + fmt::format("[{}-{}]", from + 7, to + 7);
  }
  return text;
}

void generate(int count) {
  static constexpr std::string_view ops[] = {",", ",", ",", "!", "&", "^"};
  for (int i = 0; i < count; ++i) {
    const bool dense = below(2) == 0;
    std::string text = dense ? dense_term() : term();
    for (unsigned more = below(5); more > 0; --more) text += std::string(ops[below(6)]) + (dense ? dense_term() : term());
    std::cout << text << '\n';
  }
}

void evaluate() {
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto set = NodeSet::parse(line);
    if (set) std::cout << set->fold() << '\t' << kfab::join(set->names(), " ") << '\n';
    else std::cout << "error\n";
  }
}

template <class Job>
void report(std::string_view what, Job job) {
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    job();
    best = std::min(best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::cout << fmt::format("{:52} {:8.1f} ms\n", what, best);
}

void time() {
  std::vector<std::string> names = NodeSet::parse("r[1-650]n[1-50]")->names();
  std::shuffle(names.begin(), names.end(), random_source);
  names.resize(30'000);
  const NodeSet set = *NodeSet::from_names(names);
  report("names to set, 30,000 of 32,500, two axes", [&] { return NodeSet::from_names(names)->size(); });
  report("fold 30,000 of 32,500, two axes", [&] { return set.fold().size(); });
  std::vector<std::string> sparse = NodeSet::parse("r[1-650]n[1-500]")->names();
  std::shuffle(sparse.begin(), sparse.end(), random_source);
  sparse.resize(30'000);
  const NodeSet thin = *NodeSet::from_names(sparse);
  report("fold 30,000 of 325,000, two axes", [&] { return thin.fold().size(); });
  report("parse n[1-100000]", [&] { return NodeSet::parse("n[1-100000]")->size(); });
  report("parse and list n[1-100000]", [&] { return NodeSet::parse("n[1-100000]")->names().size(); });
  report("parse and fold r[1-1000]n[1-1000]", [&] { return NodeSet::parse("r[1-1000]n[1-1000]")->fold().size(); });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view action = argc > 1 ? argv[1] : "";
  random_source.seed(argc > 3 ? static_cast<unsigned>(std::atoi(argv[3])) : 1);
  if (action == "generate" && argc > 2) generate(std::atoi(argv[2]));
  else if (action == "evaluate") evaluate();
  else if (action == "time") time();
  else return 2;
  return 0;
}
