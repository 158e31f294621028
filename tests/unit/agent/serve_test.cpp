#include "agent/serve.hpp"

#include <doctest/doctest.h>

#include "agent/clock_task.hpp"
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>

#include "agent/protocol.hpp"
#include "base/codes/agent.hpp"
#include "base/text.hpp"
#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent;

namespace {

// Tasks that show what the watchdog is for.
Status quick(const json::Value&, TaskContext& context) {
  context.progress("step", 1, 2, "half");
  context.emit(json::Object{{"type", "answer"}, {"value", 42}});
  return ok();
}
Status refuse(const json::Value&, TaskContext&) { return error(code::agent_bad_request, "not like this"); }
Status crash(const json::Value&, TaskContext&) { throw std::runtime_error("a fault"); }
Status polite(const json::Value&, TaskContext& context) {
  while (!context.stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return ok();
}
Status deaf(const json::Value&, TaskContext&) {
  for (;;) ::sleep(1000);
}
Status child(const json::Value& request, TaskContext& context) {
  ProcessSpec spec;
  spec.argv = {"/bin/sh", "-c", "sleep 1000 & echo $! > " + request.string_or("pid_file") + "; wait"};
  spec.timeout_s = 1000;
  context.run(spec);
  return ok();
}
Status narrow(const json::Value&, TaskContext& context) {
  for (const char* name : {"mirror", "disk"}) {
    if (!context.wait_for_turn(name)) return ok();
    context.emit(json::Object{{"type", "answer"}, {"turn", name}, {"remaining_s", context.remaining_s()}});
    context.end_turn(name);
  }
  return ok();
}
Status flood(const json::Value&, TaskContext& context) {
  for (;;) context.emit(json::Object{{"type", "answer"}, {"text", std::string(1000, 'x')}});
}
Status huge(const json::Value&, TaskContext& context) {
  context.emit(json::Object{{"type", "answer"}, {"text", std::string(max_agent_line_bytes, 'x')}});
  return ok();
}
const std::array tasks{TaskRow{"quick", quick},   TaskRow{"refuse", refuse}, TaskRow{"crash", crash},
                       TaskRow{"polite", polite}, TaskRow{"deaf", deaf},     TaskRow{"child", child},
                       TaskRow{"flood", flood},   TaskRow{"huge", huge},     TaskRow{"narrow", narrow}};

// The agent in a process of its own, at the other end of two pipes.
class Agent {
 public:
  Agent() {
    std::array<int, 2> to{}, from{};
    REQUIRE(::pipe(to.data()) == 0);
    REQUIRE(::pipe(from.data()) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::close(to[1]);
      ::close(from[0]);
      ServeOptions options;
      options.in = to[0];
      options.out = from[1];
      options.tasks = tasks;
      options.executable = KFAB_SOURCE_DIR "/VERSION";   // not this large test program
      options.leave = [](int with) { ::_exit(with); };
      ::_exit(serve(options));
    }
    ::close(to[0]);
    ::close(from[1]);
    in_ = to[1];
    out_ = from[0];
    ::signal(SIGPIPE, SIG_IGN);
  }
  ~Agent() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    close_in();
    if (out_ >= 0) ::close(out_);
  }
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  void say(const std::string& line) {
    const std::string whole = line + "\n";
    [[maybe_unused]] const auto n = ::write(in_, whole.data(), whole.size());
  }
  void ask(const std::string& task, double deadline_s = 30, double heartbeat_s = 30, const std::string& pid_file = "") {
    auto request = request_header("run", task, deadline_s, heartbeat_s);
    request.set("pid_file", pid_file);
    say(json::dump(request));
  }
  void close_in() {
    if (in_ >= 0) ::close(in_);
    in_ = -1;
  }
  void close_out() {
    ::close(out_);
    out_ = -1;
  }
  void signal(int number) const { ::kill(pid_, number); }
  pid_t pid() const { return pid_; }

  // Everything it says until it ends; `status` and `seconds` tell how and when.
  std::vector<json::Value> finish() {
    const auto start = std::chrono::steady_clock::now();
    std::string text;
    std::array<char, 65536> chunk;
    while (out_ >= 0) {
      pollfd wait{out_, POLLIN, 0};
      REQUIRE(::poll(&wait, 1, 20'000) == 1);
      const auto n = ::read(out_, chunk.data(), chunk.size());
      if (n <= 0) break;
      text.append(chunk.data(), static_cast<std::size_t>(n));
    }
    int ended = 0;
    REQUIRE(::waitpid(pid_, &ended, 0) == pid_);
    pid_ = -1;
    status = WIFEXITED(ended) ? WEXITSTATUS(ended) : 1000 + WTERMSIG(ended);
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::vector<json::Value> messages;
    for (const auto line : split_lines(text)) {
      auto message = json::parse(line);
      REQUIRE(message);
      messages.push_back(std::move(*message));
    }
    return messages;
  }

  int status = -1;
  double seconds = 0;

 private:
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1;
};

std::string code_of(const std::vector<json::Value>& messages) {
  REQUIRE_FALSE(messages.empty());
  CHECK(messages.front().string_or("type") == "hello");
  const auto& last = messages.back();
  CHECK(last.string_or("type") == "done");
  CHECK(last.bool_or("ok", true) == last["error"].is_null());
  return last["error"].string_or("code");
}

void wait_for_file(const std::string& path) {
  for (int i = 0; i < 1000 && test::read(path).empty(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  REQUIRE_FALSE(test::read(path).empty());
}

bool ends(pid_t pid) {
  for (int i = 0; i < 100; ++i) {
    const auto stat = test::read("/proc/" + std::to_string(pid) + "/stat");
    const auto paren = stat.rfind(')');
    if (stat.empty() || (paren != std::string::npos && stat.size() > paren + 2 && stat[paren + 2] == 'Z')) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace

TEST_CASE("serve: hello, messages, done, status 0") {
  Agent agent;
  agent.ask("quick");
  const auto messages = agent.finish();
  CHECK(code_of(messages).empty());
  REQUIRE(messages.size() == 4);
  CHECK(messages[0].int_or("protocol", 0) == protocol_version);
  CHECK(messages[0].string_or("sha256").size() == 64);
  CHECK(messages[1].string_or("type") == "progress");
  CHECK(messages[1].double_or("total", 0) == 2);
  CHECK(messages[2].int_or("value", 0) == 42);
  CHECK(agent.status == 0);
}

TEST_CASE("serve: a task's error and a task's fault are told") {
  Agent refused;
  refused.ask("refuse");
  CHECK(code_of(refused.finish()) == "KF2101");
  CHECK(refused.status == 1);
  Agent crashed;
  crashed.ask("crash");
  CHECK(code_of(crashed.finish()) == "KF2108");
  CHECK(crashed.status == 1);
  Agent oversized;
  oversized.ask("huge");
  CHECK(code_of(oversized.finish()) == "KF2108");
}

TEST_CASE("serve: requests that cannot be obeyed") {
  const std::pair<const char*, const char*> cases[] = {
      {"not json", "KF2101"},
      {"[1,2]", "KF2101"},
      {"{\"type\":\"heartbeat\"}", "KF2101"},
      {R"({"type":"request","protocol":2,"task":"quick","deadline_s":5})", "KF2102"},
      {R"({"type":"request","task":"quick","deadline_s":5})", "KF2102"},
      {R"({"type":"request","protocol":1,"task":"dance","deadline_s":5})", "KF2103"},
      {R"({"type":"request","protocol":1,"task":"quick"})", "KF2101"},
      {R"({"type":"request","protocol":1,"task":"quick","deadline_s":-1})", "KF2101"},
      {R"({"type":"request","protocol":1,"task":"quick","deadline_s":1e300})", "KF2101"},
      {R"({"type":"request","protocol":1,"task":"quick","deadline_s":5,"heartbeat_s":0})", "KF2101"},
  };
  for (const auto& [line, code] : cases) {
    CAPTURE(line);
    Agent agent;
    agent.say(line);
    CHECK(code_of(agent.finish()) == code);
    CHECK(agent.status == 1);
  }
}

TEST_CASE("serve: end of file before a request") {
  Agent agent;
  agent.close_in();
  const auto messages = agent.finish();
  CHECK(messages.size() == 1);
  CHECK(agent.status == 3);
}

TEST_CASE("serve: end of file stops a task that listens and one that does not") {
  for (const auto* task : {"polite", "deaf"}) {
    CAPTURE(task);
    Agent agent;
    agent.ask(task);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    agent.close_in();
    const auto messages = agent.finish();
    CHECK(messages.back().string_or("type") == "hello");
    CHECK(agent.status == 3);
    CHECK(agent.seconds < 15);
  }
}

TEST_CASE("serve: end of file kills what the task had started") {
  const test::TemporaryDirectory directory;
  Agent agent;
  agent.ask("child", 30, 30, directory / "pid");
  wait_for_file(directory / "pid");
  agent.close_in();
  agent.finish();
  CHECK(agent.status == 3);
  CHECK(agent.seconds < 15);
  CHECK(ends(static_cast<pid_t>(std::stol(test::read(directory / "pid")))));
}

TEST_CASE("serve: cancel, signals, deadline and silence each have their code") {
  for (const auto* task : {"polite", "deaf"}) {
    CAPTURE(task);
    Agent cancelled;
    cancelled.ask(task);
    cancelled.say("{\"type\":\"heartbeat\"}");
    cancelled.say("{\"type\":\"cancel\"}");
    CHECK(code_of(cancelled.finish()) == "KF2106");
    CHECK(cancelled.status == 1);
    CHECK(cancelled.seconds < 15);

    Agent late;
    late.ask(task, 0.2);
    CHECK(code_of(late.finish()) == "KF2104");
    CHECK(late.seconds < 15);

    Agent silent;
    silent.ask(task, 30, 0.2);
    CHECK(code_of(silent.finish()) == "KF2105");
    CHECK(silent.seconds < 15);
  }
  Agent told;
  told.ask("polite");
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  told.signal(SIGTERM);
  CHECK(code_of(told.finish()) == "KF2106");
}

TEST_CASE("serve: heartbeats keep a task alive, whatever else is on the lines") {
  Agent agent;
  agent.ask("polite", 30, 1.0);
  for (int i = 0; i < 8; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
    agent.say(i % 2 == 0 ? "{\"type\":\"heartbeat\"}" : "noise \xff {{{");
  }
  agent.say("{\"type\":\"cancel\"}");
  CHECK(code_of(agent.finish()) == "KF2106");   // and not of silence
}

TEST_CASE("serve: nobody reads any more") {
  Agent agent;
  agent.ask("flood");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  SUBCASE("the reader is gone") { agent.close_out(); }
  SUBCASE("the owner is gone while the pipe is full") { agent.close_in(); }
  const pid_t pid = agent.pid();
  CHECK(pid > 0);
  const auto start = std::chrono::steady_clock::now();
  bool ended = false;
  for (int i = 0; i < 20 && !ended; ++i) ended = ends(pid);
  CHECK(ended);
  CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < 40);
}

TEST_CASE("serve: a task waits for its turn, and what it waited is no part of its time") {
  Agent agent;
  agent.ask("narrow", 0.5);
  std::this_thread::sleep_for(std::chrono::milliseconds(900));   // longer than the deadline
  agent.say(R"({"type":"turn","name":"disk"})");                  // before it is asked for: kept
  agent.say(R"({"type":"turn","name":"mirror"})");
  const auto messages = agent.finish();
  CHECK(code_of(messages).empty());
  std::vector<std::string> said;
  for (const auto& message : messages) {
    if (message.string_or("type") == "turn") said.push_back(message.string_or("name") + " " + message.string_or("state"));
    if (message.string_or("type") == "answer") CHECK(message.double_or("remaining_s", 0) > 0.3);
  }
  CHECK(said == std::vector<std::string>{"mirror wanted", "mirror over", "disk wanted", "disk over"});
}

TEST_CASE("the clock of a node is compared within the shortest of several round trips") {
  struct Host final : TaskContext {
    std::vector<json::Value> said;
    double ahead = 0, now = 0;   // the host's clock before this one's
    int asked = 0;
    bool tells = true;
    void emit(const json::Value& message) override { said.push_back(message); }
    bool stop_requested() const override { return false; }
    double remaining_s() const override { return 10; }
    bool wait_for_turn(const std::string&) override {
      ++asked;
      now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count() + ahead;
      return true;
    }
    std::optional<double> host_now() const override { return tells ? std::optional(now) : std::nullopt; }
  };
  for (const double ahead : {0.0, 7.0, -3600.0}) {
    Host host;
    host.ahead = ahead;
    REQUIRE(run_clock_task({}, host));
    REQUIRE(host.said.size() == 1);
    CHECK(host.asked >= 3);
    const double uncertainty = host.said[0].double_or("uncertainty_s", -1);
    CHECK(uncertainty >= 0.001);
    CHECK(std::abs(host.said[0].double_or("offset_s", 1e9) + ahead) <= uncertainty);
  }
  Host silent;
  silent.tells = false;
  REQUIRE(run_clock_task({}, silent));
  CHECK(silent.said[0]["offset_s"].is_null());
}

TEST_CASE("serve: a task that waits for its turn ends when its owner cancels, and when he is gone") {
  Agent cancelled;
  cancelled.ask("narrow");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  cancelled.say(R"({"type":"cancel"})");
  CHECK(code_of(cancelled.finish()) == to_string(code::agent_cancelled));
  CHECK(cancelled.seconds < 1.5);
  Agent left;
  left.ask("narrow");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  left.close_in();
  left.finish();
  CHECK(left.status == 3);
}
