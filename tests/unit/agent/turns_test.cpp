#include <doctest/doctest.h>

#include "base/codes/agent.hpp"
#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent;
using namespace kfab::agent::test;

// What only so many nodes may do at once is asked for before it is done, and only where something is to be done.
namespace {

class AskingContext final : public TaskContext {
 public:
  void emit(const json::Value& message) override {
    if (message.string_or("type") == "resource") said.push_back(message.string_or("id") + " " + message.string_or("status"));
  }
  bool stop_requested() const override { return stop; }
  double remaining_s() const override { return 60; }
  bool wait_for_turn(const std::string& name) override {
    said.push_back("wait " + name);
    stop = name == refused;
    return !stop;
  }
  void end_turn(const std::string& name) override { said.push_back("over " + name); }

  std::vector<std::string> said;
  std::string refused;
  bool stop = false;
};

struct Node {
  TemporaryDirectory directory;
  NodeEnvironment environment;

  // Four files; the first three are of a role with a turn, and the second has one of its own.
  std::vector<std::string> run(const std::string& mode, const std::string& refused = {}) {
    const auto file = [&](const std::string& name, const std::string& turns) {
      return R"({"id":")" + name + R"(","type":"file","attributes":{"path":")" + (directory / name) + R"(","content":"x\n"})" + turns + "}";
    };
    const std::string role = R"(,"turns":[{"name":"role","limit":4}])";
    const std::string both = R"(,"turns":[{"name":"role","limit":4},{"name":"role/b","limit":1}])";
    const auto request = json::parse(R"({"mode":")" + mode + R"(","resources":[)" + file("a", role) + "," + file("b", both) + "," + file("c", role) + "," + file("d", "") + "]}");
    REQUIRE(request);
    AskingContext context;
    context.refused = refused;
    environment.root = directory / "root";
    (void)run_provision_task(*request, context, environment);
    return context.said;
  }
};

}  // namespace

TEST_CASE("turns: waited for before the first change, given back after the last resource of the name") {
  Node node;
  CHECK(node.run("apply") == std::vector<std::string>{"wait role", "a changed", "wait role/b", "b changed", "over role/b", "c changed", "over role", "d changed"});
}

TEST_CASE("turns: none is asked for where nothing is to be changed, or is only planned") {
  Node node;
  CHECK(node.run("plan") == std::vector<std::string>{"a would_change", "b would_change", "c would_change", "d would_change"});
  node.run("apply");
  CHECK(node.run("apply") == std::vector<std::string>{"a in_sync", "b in_sync", "c in_sync", "d in_sync"});
  write(node.directory / "c", "other\n");
  CHECK(node.run("apply") == std::vector<std::string>{"a in_sync", "b in_sync", "wait role", "c changed", "over role", "d in_sync"});
}

TEST_CASE("turns: a run that is stopped while it waits changes nothing more") {
  Node node;
  CHECK(node.run("apply", "role/b") == std::vector<std::string>{"wait role", "a changed", "wait role/b", "b cancelled", "c cancelled", "over role", "d cancelled"});
  CHECK(read(node.directory / "b").empty());
}
