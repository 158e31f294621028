#include <doctest/doctest.h>

#include <cstdlib>

#include "base/codes/ssh.hpp"
#include "fleet/run_command.hpp"
#include "unit/fleet/fake_agent.hpp"

using namespace kfab;
using namespace kfab::fleet;
using namespace kfab::fleet::test;

namespace {

struct Heard {
  std::string own;
  std::vector<std::string> words;
};
Heard feed(SupervisorVoice& voice, const std::vector<std::string>& pieces) {
  Heard heard;
  for (const auto& piece : pieces)
    voice.feed(piece, [&](std::string_view bytes) { heard.own += bytes; },
               [&](const SupervisorVoice::Word& word) { heard.words.push_back(word.word + "/" + word.detail); });
  heard.own += voice.rest();
  return heard;
}

CommandResult run_local(const CommandTask& task, FleetOptions options = {}) {
  auto transport = ssh::make_transport({});
  auto clock = make_system_clock();
  Sink sink;
  CancelToken cancel;
  return run_command(*transport, local_targets(1), task, options, *clock, sink, cancel).at(0);
}

}  // namespace

TEST_CASE("the script travels through any login shell: one line, nothing a shell would read") {
  const std::string script = supervisor_script();
  CHECK(script.size() > 1000);
  for (const char* never : {"'", "!", "\n", "\\\\", "#kfab"}) CHECK(script.find(never) == std::string::npos);
  const auto one = supervise("echo 'hi'; rm -rf \"$HOME\"\nexit 3", {}, 12, Become::none);
  CHECK(one.line.ends_with(one.nonce + " plain 0 2 0 12"));
  CHECK(one.line.find("HOME\"\n") == std::string::npos);
  CHECK(one.nonce != supervise("x", {}, 0, Become::none).nonce);
}

TEST_CASE("the supervisor's words are taken out of the stream wherever it is cut, and nothing else is") {
  const std::string nonce = "0123456789abcdef", stream = "motd 0123\n" + nonce + ":password:;\nsorry" + nonce + ":ready:;a " + nonce + ":ready:;b";
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    SupervisorVoice voice(nonce);
    const Heard heard = feed(voice, {stream.substr(0, cut), stream.substr(cut)});
    CHECK(heard.own == "motd 0123\nsorrya " + nonce + ":ready:;b");   // after "ready" everything is the command's own
    CHECK(heard.words == std::vector<std::string>{"password/", "ready/"});
  }
  std::vector<std::string> bytes;
  for (const char c : stream) bytes.emplace_back(1, c);
  SupervisorVoice one_by_one(nonce);
  CHECK(feed(one_by_one, bytes).words.size() == 2);
  SupervisorVoice endless(nonce);
  const Heard heard = feed(endless, {nonce + std::string(5000, 'x')});
  CHECK(heard.own.size() == 5016);   // not a word of ours: nothing is withheld
}

TEST_CASE("every byte of a command, of its environment and of its input arrives") {
  std::string all;
  for (int byte = 1; byte < 256; ++byte) all += static_cast<char>(byte);
  const std::string value = "'\"$(id) `id` \\ !! ~\n\n two\n" + all, input = all + std::string(1, '\0') + all;
  CommandTask task{.text = "cat; printf %s \"$KF_TEST\"; echo it\\'s '\n" + all.substr(0, 38) + all.substr(39) + "\n'", .environment = {{"KF_TEST", value}}, .input = input};
  const CommandResult result = run_local(task);
  INFO(result.stderr_text);
  CHECK(result.outcome == NodeOutcome::ok);
  CHECK(result.stdout_text == input + value + "it's \n" + all.substr(0, 38) + all.substr(39) + "\n\n");
  CHECK(result.stderr_text.empty());
}

TEST_CASE("the command's own end is told: its status, its signal, its words") {
  CHECK(run_local({.text = "exit 7"}).exit_status == 7);
  CHECK(run_local({.text = "kill -9 $$"}).signal == "KILL");
  CHECK(run_local({.text = "exit 125"}).exit_status == 125);
  const CommandResult spoke = run_local({.text = "echo out; echo err >&2; cat"});
  CHECK(spoke.stdout_text == "out\n");
  CHECK(spoke.stderr_text == "err\n");
  CHECK(spoke.outcome == NodeOutcome::ok);   // without an input its input is at its end
  // It has no child that it did not start.
  CHECK(run_local({.text = "wait; cat /proc/$$/task/$$/children"}).stdout_text.find_first_not_of(" \n0123456789") == std::string::npos);
}

TEST_CASE("a node that does not start the command refuses it, whatever its shell ended with") {
  ::setenv("PATH", "/nonexistent", 1);
  const CommandResult result = run_local({.text = "true"});
  ::setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
  CHECK(result.outcome == NodeOutcome::refused);
  REQUIRE(result.why);
  CHECK(result.why->code == code::exec_no_tool);
  CHECK_FALSE(result.exit_status);
}

TEST_CASE("a taker gets everything, the result only what it may keep") {
  struct Taker final : OutputTaker {
    std::string out, err;
    int results = 0;
    void on_output(std::size_t, bool is_stderr, std::string_view bytes) override { (is_stderr ? err : out) += bytes; }
    void on_result(std::size_t, const CommandResult&) override { ++results; }
  } taker;
  auto transport = ssh::make_transport({});
  auto clock = make_system_clock();
  Sink sink;
  CancelToken cancel;
  FleetOptions options;
  options.max_stdout_bytes = 10;
  const auto result = run_command(*transport, local_targets(1), CommandTask{.text = "seq 100000; echo e >&2"}, options, *clock, sink, cancel, &taker).at(0);
  CHECK(result.stdout_text == "1\n2\n3\n4\n5\n");
  CHECK(taker.out.size() == 588895);
  CHECK(taker.err == "e\n");
  CHECK(result.truncated_bytes == 588885);
  CHECK(taker.results == 1);
}
