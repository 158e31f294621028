#include <doctest/doctest.h>

#include "commands/exec.hpp"
#include "unit/commands/fake_env.hpp"

using namespace kfab;
using namespace kfab::commands;
using test::ended;

namespace {

ExecOptions on(std::string nodes, std::vector<std::string> command = {"uptime"}) {
  ExecOptions options;
  options.site.selection.nodes = std::move(nodes);
  options.command = std::move(command);
  return options;
}

}  // namespace

TEST_CASE("exec: the exit code tells the worst of what happened") {
  test::World world;
  auto& answers = world.transport->answers;
  answers["n1"] = {ended(NodeOutcome::ok, 0), "up\n"};
  answers["n2"] = {ended(NodeOutcome::ok, 0), "up\n"};
  CHECK(run_exec(on("n[1-2]"), world.env).outcome == Outcome::yes);

  answers["n2"] = {ended(NodeOutcome::failed, 7)};
  CHECK(run_exec(on("n[1-2]"), world.env).outcome == Outcome::no);

  for (const auto lost : {NodeOutcome::timed_out, NodeOutcome::refused, NodeOutcome::unreachable}) {
    answers["n1"] = {ended(lost)};
    CHECK(run_exec(on("n[1-2]"), world.env).outcome == Outcome::incomplete);   // over the failed one
  }
  world.cancel.raise(2);
  CHECK(run_exec(on("n[1-2]"), world.env).outcome == Outcome::cancelled);
}

TEST_CASE("exec: a signal is not an exit status") {
  test::World world;
  world.transport->answers["n1"] = {ended(NodeOutcome::failed, {}, "KILL")};
  const auto output = run_exec(on("n1", {"kill -9 $$"}), world.env);
  CHECK(output.outcome == Outcome::no);
  const auto& node = output.data.array_at("nodes").at(0);
  CHECK(node.string_or("outcome") == "failed");
  CHECK(node.string_or("signal") == "KILL");
  CHECK(node["exit_status"].is_null());
  CHECK(test::rendered(output).find("killed by signal KILL") != std::string::npos);
}

TEST_CASE("exec: identical outputs are shown once, and a hostile one cannot write escapes") {
  test::World world;
  auto& answers = world.transport->answers;
  for (const char* name : {"n1", "n2", "n3"}) answers[name] = {ended(NodeOutcome::ok, 0), "same\n"};
  answers["n4"] = {ended(NodeOutcome::ok, 0), "\x1b[2Jother\n"};
  const auto output = run_exec(on("n[1-4]"), world.env);
  const std::string text = test::rendered(output);
  CHECK(text.find("n[1-3]") != std::string::npos);
  CHECK(text.find("same") == text.rfind("same"));
  CHECK(text.find("other") != std::string::npos);
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(output.data.array_at("nodes").at(3).string_or("stdout") == "\x1b[2Jother\n");   // JSON keeps the bytes
}

TEST_CASE("exec: the words are joined as ssh does, and become quotes them whole") {
  test::World world;
  world.transport->answers["n1"] = {ended(NodeOutcome::ok, 0)};
  (void)run_exec(on("n1", {"echo", "a  b"}), world.env);
  CHECK(world.transport->lines.back() == "echo a  b");
  auto options = on("n1", {"echo 'it'"});
  options.site.reach.become = true;
  (void)run_exec(options, world.env);
  CHECK(world.transport->lines.back() == R"(exec sudo -n -- /bin/sh -c 'echo '\''it'\''')");
}

TEST_CASE("exec: without a target or a command nothing starts") {
  test::World world;
  CHECK(run_exec(on(""), world.env).outcome == Outcome::invalid);
  CHECK(run_exec(on("n1!n1"), world.env).outcome == Outcome::invalid);
  CHECK(run_exec(on("n[1"), world.env).outcome == Outcome::invalid);
  CHECK(run_exec(on("n1", {}), world.env).outcome == Outcome::invalid);
  CHECK(world.transport->lines.empty());
}
