#include <doctest/doctest.h>

#include <algorithm>

#include <fmt/format.h>

#include "base/codes/agent.hpp"
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

TEST_CASE("exec: what was typed travels as data, and only --plain gives it to the login shell") {
  test::World world;
  auto& transport = *world.transport;
  transport.answers["n1"] = {ended(NodeOutcome::ok, 0)};
  auto options = on("n1", {"echo", "it's  $HOME\n!"});
  options.environment = {"A=1", "B=two\nlines'"};
  CHECK(run_exec(options, world.env).outcome == Outcome::yes);
  CHECK(transport.inputs.back() == "echo it's  $HOME\n!\n1 A\n1\n2 B\ntwo\nlines'\n");
  CHECK(transport.lines.back().ends_with(" plain 0 2 2 0"));
  CHECK(transport.lines.back().find("two") == std::string::npos);

  options.site.reach.become = true;
  (void)run_exec(options, world.env);
  CHECK(transport.lines.back().ends_with(" sudo 0 2 2 0"));

  options = on("n1", {"echo", "a  b"});
  options.plain = true;
  (void)run_exec(options, world.env);
  CHECK(transport.lines.back() == "echo a  b");
  CHECK(transport.inputs.back().empty());
  options = on("n1", {"echo 'it'"});
  options.plain = options.site.reach.become = true;
  (void)run_exec(options, world.env);
  CHECK(transport.lines.back() == R"(exec sudo -n -- /bin/sh -c 'echo '\''it'\''')");
}

TEST_CASE("exec: what cannot be an environment variable is refused before anything starts") {
  test::World world;
  for (const char* wrong : {"A", "=1", "1A=x", "A-B=x", "kf_text=x", "IFS=x", "A B=x"}) {
    auto options = on("n1");
    options.environment = {wrong};
    CHECK(run_exec(options, world.env).outcome == Outcome::invalid);
  }
  auto options = on("n1");
  options.environment = {"A=1"};
  options.plain = true;
  CHECK(run_exec(options, world.env).outcome == Outcome::invalid);
  CHECK(world.transport->lines.empty());
}

TEST_CASE("exec: without a target or a command nothing starts") {
  test::World world;
  CHECK(run_exec(on(""), world.env).outcome == Outcome::invalid);
  CHECK(run_exec(on("n1!n1"), world.env).outcome == Outcome::invalid);
  CHECK(run_exec(on("n[1"), world.env).outcome == Outcome::invalid);
  CHECK(run_exec(on("n1", {}), world.env).outcome == Outcome::invalid);
  CHECK(world.transport->lines.empty());
}

TEST_CASE("exec: a budget that is used up leaves the rest, says so once, and is incomplete") {
  test::World world;
  for (int i = 1; i <= 30; ++i)
    if (i % 5 != 0) world.transport->answers[fmt::format("n{:02}", i)] = {ended(NodeOutcome::ok, 0)};
  auto options = on("n[01-30]");
  options.site.reach.window = 1;
  options.site.reach.pace.max_fail = Share{10, true};
  const auto output = run_exec(options, world.env);
  CHECK(output.outcome == Outcome::incomplete);
  CHECK(world.transport->lines.size() == 20);   // n05, n10 and n15 are within it, n20 is not
  const auto& failures = output.data["failures"];
  CHECK(failures.int_or("failed", 0) == 4);
  CHECK(failures.string_or("failed_nodes") == "n[05,10,15,20]");
  CHECK(failures.int_or("not_started", 0) == 10);
  CHECK(failures.string_or("not_started_nodes") == "n[21-30]");
  CHECK(output.data["cost"].is_null());   // this world does not tell
  CHECK(output.data.array_at("nodes").size() == 30);
  CHECK(output.data.array_at("nodes").at(29).string_or("code") == "KF2130");
  const auto stopped = std::find_if(output.diagnostics.begin(), output.diagnostics.end(),
                                    [](const Diagnostic& d) { return d.code == code::fleet_stopped_by_budget; });
  REQUIRE(stopped != output.diagnostics.end());
  CHECK(stopped->message == "4 of 30 nodes failed, and --max-fail allows 10%, which is 3, so 10 of 30 nodes were not started");
  REQUIRE(stopped->help.size() == 3);
  CHECK(stopped->help[0] == "failed in the end (4): n[05,10,15,20]");
  CHECK(stopped->help[1] == "not started (10): n[21-30]");
  CHECK(stopped->help[2] == "to go on with them: the same command with -w 'n[21-30]'");
  CHECK(output.diagnostics.size() == 2);   // and one for the four, not one each
}

TEST_CASE("exec: the end names each outcome once, with its nodes, and what a thousand dead nodes say is one line") {
  test::World world;
  world.env.usage = [] { return ProcessUsage{41.2, std::uint64_t{310} << 20}; };
  world.env.started_at = world.clock.now() - std::chrono::seconds(192);
  for (int i = 1; i <= 1000; ++i) world.transport->answers[fmt::format("a{:04}", i)] = {ended(NodeOutcome::ok, 0)};
  const auto output = run_exec(on("a[0001-1000],b[0001-1000]"), world.env);
  const std::string text = test::rendered(output);
  CHECK(text.find("\nok           1,000  a[0001-1000]\nunreachable  1,000  b[0001-1000]\n") != std::string::npos);
  CHECK(std::count(text.begin(), text.end(), '\n') == 4);
  CHECK(output.diagnostics.size() == 1);
  CHECK(output.diagnostics.front().message.starts_with("1,000 nodes: "));
  REQUIRE(output.cost);
  CHECK(to_text(*output.cost) == "2,000 nodes, 41 s CPU, 310 MiB, 3 min 12 s");
  CHECK(output.data["cost"].int_or("peak_rss_bytes", 0) == std::int64_t{310} << 20);
}

TEST_CASE("exec: one node has no summary, and a failing one is told as it was said") {
  test::World world;
  const auto output = run_exec(on("n1"), world.env);
  CHECK(test::rendered(output) == "n1: unreachable, scripted\n");
  REQUIRE(output.diagnostics.size() == 1);
  CHECK(output.diagnostics.front().message == "scripted");
  CHECK(output.diagnostics.front().node == "n1");
}
