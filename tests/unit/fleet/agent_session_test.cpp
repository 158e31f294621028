#include <doctest/doctest.h>

#include "unit/fleet/fake_agent.hpp"

#include "base/codes/agent.hpp"
#include "base/codes/internal.hpp"
#include "fleet/turns.hpp"

using namespace kfab;
using namespace kfab::fleet;
using namespace kfab::fleet::test;

namespace {

struct Run : Home {
  std::vector<AgentEnd> go(const std::string& script, std::size_t nodes = 1, bool sudo = false) {
    const Image image(script);
    auto transport = ssh::make_transport({});
    auto clock = make_system_clock();
    return run_agents(*transport, local_targets(nodes), image.image,
                      [&](std::size_t i) {
                        return AgentTask{json::Object{{"task", "facts"}, {"run_id", "r1"}, {"index", static_cast<int>(i)}}, sudo, std::chrono::seconds(60)};
                      },
                      listener, options, *clock, sink, cancel);
  }
  Listener listener;
  Sink sink;
  FleetOptions options;
  CancelToken cancel;
};

}  // namespace

TEST_CASE_FIXTURE(Run, "an image knows what it holds, and a damaged one is refused") {
  const std::string gz = gzip("hello");
  auto image = make_agent_image(gz);
  REQUIRE(image);
  CHECK(image->size_bytes == 5);
  CHECK(image->sha256 == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
  CHECK(make_agent_image("").error().code == code::agent_image_broken);
  CHECK(make_agent_image(std::string_view(gz).substr(0, gz.size() - 3)).error().code == code::agent_image_broken);
  CHECK(make_agent_image("not gzip at all").error().code == code::agent_image_broken);
}

TEST_CASE_FIXTURE(Run, "the agent is sent once, used again, and gets its request") {
  const std::string script = agent_script("echo '{\"type\":\"facts\",\"facts\":{}}'; printf '{\"type\":\"echo\",\"request\":%s}\\n' \"$request\"; " + done_ok);
  auto ends = go(script);
  REQUIRE(ends.size() == 1);
  REQUIRE_MESSAGE(ends[0].outcome == NodeOutcome::ok, (ends[0].why ? ends[0].why->message : ""));
  CHECK(ends[0].image_sent);
  CHECK_FALSE(ends[0].why);
  CHECK(ends[0].done.bool_or("ok", false));
  REQUIRE(listener.messages[0].size() == 2);
  CHECK(listener.messages[0][0] == R"({"type":"facts","facts":{}})");
  const std::string& echoed = listener.messages[0][1];
  CHECK(echoed.find(R"("type":"request","protocol":1,"deadline_s":60)") != std::string::npos);
  CHECK(echoed.find(R"("run_id":"r1")") != std::string::npos);
  CHECK(cached().size() == 1);
  CHECK(sink.count("node_started") == 1);
  CHECK(sink.count("node_done") == 1);

  ends = go(script);
  CHECK(ends[0].outcome == NodeOutcome::ok);
  CHECK_FALSE(ends[0].image_sent);
}

TEST_CASE_FIXTURE(Run, "a node is sent the agent of the processors that it names") {
  Image own(agent_script("echo '{\"type\":\"own\"}'; " + done_ok)), arm(agent_script("echo '{\"type\":\"arm\"}'; " + done_ok));
  own.image.machine = "x86_64";
  arm.image.machine = "aarch64";
  own.image.others = {arm.image};
  const auto go_as = [&](const std::string& machine) {
    const OtherMachine node_says(path + "/bin", machine);
    auto transport = ssh::make_transport({});
    auto clock = make_system_clock();
    listener.messages.clear();
    return run_agents(*transport, local_targets(1), own.image, [](std::size_t) { return AgentTask{json::Object{}, false, std::chrono::seconds(60)}; }, listener, options, *clock,
                      sink, cancel);
  };
  for (const auto& [machine, type] : std::vector<std::pair<std::string, std::string>>{{"x86_64", "own"}, {"aarch64", "arm"}}) {
    const auto ends = go_as(machine);
    REQUIRE_MESSAGE(ends[0].outcome == NodeOutcome::ok, (ends[0].why ? ends[0].why->message : ""));
    CHECK(ends[0].image_sent);
    CHECK(listener.messages[0].back() == R"({"type":")" + type + R"("})");
  }
  const auto ends = go_as("mips64");
  REQUIRE(ends[0].why);
  CHECK(ends[0].why->code == code::agent_cannot_run);
  CHECK(ends[0].why->message.find("mips64") != std::string::npos);
  CHECK_FALSE(ends[0].image_sent);
}

TEST_CASE_FIXTURE(Run, "a damaged agent in the cache is replaced") {
  const std::string script = agent_script(done_ok);
  REQUIRE(go(script)[0].outcome == NodeOutcome::ok);
  const std::string file = path + "/.cache/kfab/" + cached().at(0);
  std::ofstream(file, std::ios::app) << "rm -rf /\n";
  auto ends = go(script);
  CHECK(ends[0].outcome == NodeOutcome::ok);
  CHECK(ends[0].image_sent);
  CHECK(cached().size() == 1);
}

TEST_CASE_FIXTURE(Run, "many nodes of one machine at once") {
  options.window = 8;
  auto ends = go(agent_script("echo '{\"type\":\"progress\",\"step\":\"s\",\"done\":1,\"total\":2,\"message\":\"m\"}'; " + done_ok), 20);
  for (const AgentEnd& end : ends) CHECK_MESSAGE(end.outcome == NodeOutcome::ok, (end.why ? end.why->message : ""));
  CHECK(listener.messages.size() == 20);
  CHECK(cached().size() == 1);
}

TEST_CASE_FIXTURE(Run, "a session without done is never ok") {
  const auto code = [&](const std::string& body) {
    auto ends = go(agent_script(body));
    CHECK(ends[0].outcome != NodeOutcome::ok);
    return ends[0].why ? ends[0].why->code : code::internal;
  };
  CHECK(code("exit 0") == code::agent_ended_early);
  CHECK(code("kill -9 $$") == code::agent_ended_early);
  CHECK(code("echo '{\"type\":\"done\"}'; exit 0") == code::agent_task_failed);
  CHECK(code("echo '{\"type\":\"done\",\"ok\":false,\"error\":{\"code\":\"KF2104\",\"message\":\"late\"}}'; exit 1") == code::agent_deadline);
  CHECK(code("echo '{\"type\":\"done\",\"ok\":\"true\"}'") == code::agent_task_failed);
}

TEST_CASE_FIXTURE(Run, "what an agent does not send ends the session") {
  for (const std::string body : {"echo nonsense", "echo '[1]'", "echo '{\"no\":\"type\"}'", "head -c 9000000 /dev/zero | tr '\\0' x",
                                 "printf '%0100d' 0 | tr 0 '['; echo"}) {
    auto ends = go(agent_script(body + "; sleep 60"));
    CHECK(ends[0].outcome == NodeOutcome::failed);
    REQUIRE(ends[0].why);
    CHECK(ends[0].why->code == code::agent_protocol_error);
    CHECK(ends[0].why->message.size() < 400);
  }
}

TEST_CASE_FIXTURE(Run, "a node that tells without end is cut off before it fills this machine's memory") {
  auto ends = go(agent_script("x=$(head -c 2000000 /dev/zero | tr '\\0' x); i=0; while [ $i -lt 60 ]; do echo \"{\\\"type\\\":\\\"facts\\\",\\\"x\\\":\\\"$x\\\"}\"; i=$((i+1)); done; " + done_ok));
  CHECK(ends[0].outcome == NodeOutcome::failed);
  REQUIRE(ends[0].why);
  CHECK(ends[0].why->code == code::agent_protocol_error);
  CHECK(listener.messages[0].size() < 45);
}

TEST_CASE_FIXTURE(Run, "another protocol is refused") {
  auto ends = go("#!/bin/sh\n[ \"$1\" != --version ] || exit 0\necho '{\"type\":\"hello\",\"protocol\":99}'\nread -r x\nread -r x\n");
  CHECK(ends[0].why->code == code::agent_protocol_unknown);
}

TEST_CASE_FIXTURE(Run, "an agent that cannot run here is told from one that does not fit on the disk") {
  auto ends = go("#!/bin/sh\necho 'GLIBC_2.99 not found' >&2\nexit 1\n");
  CHECK(ends[0].outcome == NodeOutcome::failed);
  CHECK(ends[0].why->code == code::agent_cannot_run);
  CHECK(ends[0].why->message.find("GLIBC_2.99") != std::string::npos);
  CHECK(cached().empty());
}

TEST_CASE_FIXTURE(Run, "with sudo, what ends before the agent's hello is sudo's refusal, in its own words") {
  auto ends = go("#!/bin/sh\n[ \"$1\" != --version ] || exit 0\necho 'sudo: a password is required' >&2\nexit 1\n", 1, true);
  CHECK(ends[0].outcome == NodeOutcome::failed);
  CHECK(ends[0].why->code == code::agent_sudo_refused);
  CHECK(ends[0].why->message.find("a password is required") != std::string::npos);
}

TEST_CASE_FIXTURE(Run, "the first stop tells the agents, and every node gets an end") {
  options.window = 2;
  struct Stopper final : EventSink {
    explicit Stopper(CancelToken& token) : token_(token) {}
    void emit(const Event& event) override {
      if (event.type == "progress" && event.step == "working") token_.raise(2);
    }
    CancelToken& token_;
  } stopper(cancel);
  const Image image(agent_script("echo '{\"type\":\"progress\",\"step\":\"working\"}'; while read -r line; do case $line in *cancel*) "
                                 "echo '{\"type\":\"done\",\"ok\":false,\"error\":{\"code\":\"KF2106\",\"message\":\"cancelled\"}}'; exit 1;; esac; done"));
  auto transport = ssh::make_transport({});
  auto clock = make_system_clock();
  auto ends = run_agents(*transport, local_targets(5), image.image, [](std::size_t) { return AgentTask{json::Object{}, false, std::chrono::seconds(60)}; },
                         listener, options, *clock, stopper, cancel);
  REQUIRE(ends.size() == 5);
  for (const AgentEnd& end : ends) {
    CHECK(end.outcome == NodeOutcome::unreachable);
    REQUIRE(end.why);
    CHECK((end.why->code == code::fleet_cancelled || end.why->code == code::agent_cancelled));
  }
  CHECK(ends[4].why->code == code::fleet_cancelled);
}

TEST_CASE_FIXTURE(Run, "agents take turns, and one that dies in its turn keeps nobody") {
  Turns turns({{"mirror", 1}});
  options.turns = &turns;
  // Each says it if another one is in the same place; the third dies there.
  const std::string place = path + "/place";
  auto ends = go(agent_script("echo '{\"type\":\"turn\",\"name\":\"mirror\",\"state\":\"wanted\"}'\n"
                              "while read -r line; do case $line in *'\"turn\"'*) break;; esac; done\n"
                              "case $request in *'\"index\":2'*) exit 1;; esac\n"
                              "mkdir " + place + " || echo '{\"type\":\"met\"}'; sleep 0.05; rmdir " + place + "\n"
                              "echo '{\"type\":\"turn\",\"name\":\"mirror\",\"state\":\"over\"}'\n" + done_ok), 6);
  for (std::size_t i = 0; i < ends.size(); ++i) CHECK((ends[i].outcome == NodeOutcome::ok) == (i != 2));
  CHECK(listener.messages.empty());   // nobody met anybody, and turns are no news of the task
  CHECK(turns.busy("mirror") == 0);
}
