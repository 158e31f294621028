#include <doctest/doctest.h>

#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "base/codes/ssh.hpp"
#include "base/ids.hpp"
#include "unit/ssh/recorder.hpp"

using namespace kfab;
using namespace kfab::ssh;
using namespace kfab::ssh::test;

namespace {

std::shared_ptr<Recorder> run_local(const std::string& line, Command command = {}, std::string input = {}) {
  auto transport = make_transport({});
  Target target;
  target.node = "here";
  target.transport = TransportKind::local;
  command.line = line;
  auto recorder = std::make_shared<Recorder>(std::move(input));
  transport->launch(target, command, recorder);
  drive_to_end(*transport);
  REQUIRE(recorder->end);
  return recorder;
}

}  // namespace

TEST_CASE("a local command ends with its status, its output and its errors") {
  auto ran = run_local("echo out; echo err >&2");
  CHECK(ran->end->outcome == NodeOutcome::ok);
  CHECK(ran->end->exit_status == 0);
  CHECK(ran->out == "out\n");
  CHECK(ran->err == "err\n");
  ran = run_local("exit 7");
  CHECK(ran->end->outcome == NodeOutcome::failed);
  CHECK(ran->end->exit_status == 7);
}

TEST_CASE("a local command that a signal ended is never ok") {
  auto ran = run_local("kill -9 $$");
  CHECK(ran->end->outcome == NodeOutcome::failed);
  CHECK(ran->end->signal == "KILL");
  CHECK_FALSE(ran->end->exit_status);
}

TEST_CASE("input is passed through whole, and a reader that stops reading is no error") {
  const std::string large(3'000'000, 'x');
  CHECK(run_local("wc -c | tr -d ' '", {}, large)->out == "3000000\n");
  auto ran = run_local("head -c 1 >/dev/null; exit 0", {}, large);
  CHECK(ran->end->outcome == NodeOutcome::ok);
}

TEST_CASE("output past the cap is dropped and counted") {
  Command command;
  command.max_stdout_bytes = 1000;
  auto ran = run_local("head -c 5000 /dev/zero", command);
  CHECK(ran->end->outcome == NodeOutcome::ok);
  CHECK(ran->out.size() == 1000);
  CHECK(ran->end->truncated_bytes == 4000);
}

TEST_CASE("a deadline ends the whole process group") {
  Command command;
  command.deadlines.total = std::chrono::milliseconds(300);
  auto ran = run_local("echo $$; sleep 600 & sleep 600", command);
  CHECK(ran->end->outcome == NodeOutcome::timed_out);
  CHECK(ran->end->phase == Phase::command);
  CHECK(ran->end->why->code == code::remote_command_timed_out);
  const int group = std::stoi(ran->out);
  bool gone = false;
  for (int tries = 0; tries < 500 && !gone; ++tries) {   // killed children of init are reaped in their own time
    gone = ::kill(-group, 0) != 0;
    if (!gone) ::usleep(10'000);
  }
  CHECK(gone);
}

TEST_CASE("a silent command is ended by the idle deadline") {
  Command command;
  command.deadlines.idle = std::chrono::milliseconds(300);
  CHECK(run_local("sleep 600", command)->end->outcome == NodeOutcome::timed_out);
}

TEST_CASE("what a command leaves in the background does not hold it up") {
  auto ran = run_local("sleep 60 & echo $!; exit 0");
  CHECK(ran->end->outcome == NodeOutcome::ok);
  ::kill(std::stoi(ran->out), SIGKILL);
}

TEST_CASE("many local commands run side by side, and abort ends one of them") {
  auto transport = make_transport({});
  Target target;
  target.node = "here";
  target.transport = TransportKind::local;
  Command command;
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (int i = 0; i < 30; ++i) {
    command.line = i == 7 ? "sleep 600" : "true";
    recorders.push_back(std::make_shared<Recorder>(""));
    recorders.back()->abort_at_start = i == 7;
    transport->launch(target, command, recorders.back());
  }
  drive_to_end(*transport);
  for (int i = 0; i < 30; ++i) {
    REQUIRE(recorders[static_cast<std::size_t>(i)]->end);
    CHECK((recorders[static_cast<std::size_t>(i)]->end->outcome == NodeOutcome::ok) == (i != 7));
  }
  CHECK(recorders[7]->end->why->code == code::remote_command_aborted);
}

TEST_CASE("who drives comes to his other duties, however much there is to be told and however long listeners take") {
  using std::chrono::milliseconds, std::chrono::steady_clock;
  struct Slow final : CommandListener {
    explicit Slow(int& ends) : ends_(ends) {}
    void on_end(const CommandEnd&) override {
      std::this_thread::sleep_for(milliseconds(30));
      ++ends_;
    }
    int& ends_;
  };
  constexpr int count = 40;
  int ends = 0;
  auto transport = make_transport({});
  const std::filesystem::path dir = std::filesystem::temp_directory_path() / ("kfab-transport-test-" + random_hex(6));
  std::filesystem::create_directory(dir);
  for (int i = 0; i < count; ++i) {
    Target target;
    target.node = "n" + std::to_string(i);
    target.transport = TransportKind::local;
    Command command;
    command.line = "echo > " + (dir / target.node).string();
    transport->launch(target, command, std::make_shared<Slow>(ends));
  }
  // All of them are over, and so is what is told of them, before anybody listens.
  const auto limit = steady_clock::now() + std::chrono::seconds(60);
  const auto over = [&] { return std::distance(std::filesystem::directory_iterator(dir), {}) == count; };
  while (!over() && steady_clock::now() < limit) std::this_thread::sleep_for(milliseconds(20));
  REQUIRE(over());
  std::this_thread::sleep_for(milliseconds(500));

  int drives = 0, most_at_once = 0, put_off = 0;
  while (transport->running() > 0 && steady_clock::now() < limit) {
    const int before = ends;
    transport->drive(milliseconds(60));
    most_at_once = std::max(most_at_once, ends - before);
    put_off += transport->behind();
    ++drives;
  }
  CHECK(ends == count);
  CHECK(most_at_once <= 2);   // each takes half of the time that there is
  CHECK(drives >= count / 2);
  CHECK(put_off >= count / 4);
  CHECK_FALSE(transport->behind());
  std::filesystem::remove_all(dir);
}

TEST_CASE("destroying a transport calls nobody and leaves no process") {
  auto recorder = std::make_shared<Recorder>("");
  {
    auto transport = make_transport({});
    Target target;
    target.node = "here";
    target.transport = TransportKind::local;
    Command command;
    command.line = "echo started; exec sleep 600";
    transport->launch(target, command, recorder);
    for (int i = 0; i < 200 && recorder->out.empty(); ++i) transport->drive(std::chrono::milliseconds(100));
  }
  CHECK(recorder->out == "started\n");
  CHECK_FALSE(recorder->end);
}
