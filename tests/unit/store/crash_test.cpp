#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <thread>

#include "base/codes/store.hpp"
#include "store/store.hpp"
#include "temp_dir.hpp"

// The store under processes that die, crowd and run out of space. The children are real processes.
using namespace kfab;
using namespace kfab::store;
using kfab::test::TempDir;

namespace {

Timestamp at(std::int64_t ms) { return Timestamp{std::chrono::milliseconds{1'795'000'000'000 + ms}}; }

struct Child {
  pid_t pid = -1;
  int from_child = -1;
};

// Runs `job` in a child that can tell its parent lines; the child ends with the value it returns.
Child start(const std::function<int(int to_parent)>& job) {
  int ends[2];
  if (::pipe(ends) != 0) return {};
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
    ::_exit(job(ends[1]));
  }
  ::close(ends[1]);
  return {pid, ends[0]};
}

// Appends to `text` until it has so many lines or the other end is closed.
void read_lines(int fd, std::ptrdiff_t lines, std::string& text) {
  char chunk[256];
  while (std::count(text.begin(), text.end(), '\n') < lines) {
    const auto n = ::read(fd, chunk, sizeof chunk);
    if (n <= 0) return;
    text.append(chunk, static_cast<std::size_t>(n));
  }
}

std::string read_all(int fd) {
  std::string text;
  read_lines(fd, std::numeric_limits<std::ptrdiff_t>::max(), text);
  return text;
}

int wait_for(pid_t pid) {
  int status = 0;
  return ::waitpid(pid, &status, 0) == pid ? status : -1;
}

// Writes nodes <prefix>0, <prefix>1, ... and tells each one after it was put; stops at the first error or at `most`.
int write_nodes(const TempDir& dir, const std::string& run, const std::string& prefix, int most, int to_parent) {
  auto store = Store::open(dir.path(), "seoul");
  if (!store) return 10;
  if (!(*store)->begin_run({run, "validate", {}, "seoul", "", "", "", at(0), {}, {}})) return 11;
  for (int i = 0; i < most; ++i) {
    const std::string node = prefix + std::to_string(i);
    Findings found;
    found.nodes.push_back({run, node, "", "validate", at(i), NodeOutcome::ok, Verdict::pass, "", json::Object{{"text", std::string(300, 'x')}}});
    found.accelerators.push_back({run, node, "gpu-" + node, "cuda", "H200", 0, at(i), Verdict::pass, "", "quick", "", "", ""});
    const Status put = (*store)->put(found);
    if (!put) return static_cast<int>(put.error().code) - 6000;
    const std::string line = node + "\n";
    if (::write(to_parent, line.data(), line.size()) != static_cast<ssize_t>(line.size())) return 12;
  }
  return 0;
}

std::set<std::string> lines_of(const std::string& text) {
  std::set<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = text.find('\n', begin);
    if (end == std::string::npos) break;
    lines.insert(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace

TEST_CASE("a process killed at any moment loses nothing that it has told") {
  const TempDir dir;
  std::mt19937 random(7);
  std::set<std::string> told;
  for (int round = 0; round < 25; ++round) {
    const std::string run = "run-" + std::to_string(round);
    const Child child = start([&](int to_parent) { return write_nodes(dir, run, run + "-", 1'000'000, to_parent); });
    REQUIRE(child.pid > 0);
    // Some die while they open the store, most after they have told a few lines, in the middle of the next ones.
    std::string text;
    read_lines(child.from_child, static_cast<std::ptrdiff_t>(random() % 12), text);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 5'000));
    ::kill(child.pid, SIGKILL);
    const int status = wait_for(child.pid);
    text += read_all(child.from_child);
    const auto lines = lines_of(text);
    ::close(child.from_child);
    REQUIRE(WIFSIGNALED(status));
    told.insert(lines.begin(), lines.end());

    const auto store = Store::open(dir.path(), "seoul");
    INFO("round " << round);
    REQUIRE(store);
    const auto evidence = (*store)->evidence("seoul", {}, {false, EvidenceScope::Figures::none});
    REQUIRE(evidence);
    std::set<std::string> kept, kept_accelerators;
    for (const auto& record : evidence->nodes) kept.insert(record.node);
    for (const auto& record : evidence->accelerators) kept_accelerators.insert(record.node);
    CHECK(kept == kept_accelerators);   // never half of one node
    for (const auto& node : told) REQUIRE(kept.contains(node));
    if (!lines.empty()) {
      const auto done = (*store)->nodes_done(run);
      REQUIRE(done);
      CHECK(done->size() >= lines.size());
      CHECK(done->size() <= lines.size() + 1);
      CHECK_FALSE((*store)->run(run)->finished_at);
    }
  }
  CHECK(told.size() > 25);
}

TEST_CASE("several processes open a new store and write it at once") {
  const TempDir dir;
  std::vector<Child> children;
  for (int i = 0; i < 4; ++i) {
    const std::string name = "p" + std::to_string(i);
    children.push_back(start([&](int to_parent) { return write_nodes(dir, name, name + "-", 100, to_parent); }));
    REQUIRE(children.back().pid > 0);
  }
  for (const Child& child : children) {
    CHECK(lines_of(read_all(child.from_child)).size() == 100);
    ::close(child.from_child);
    const int status = wait_for(child.pid);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
  }
  const auto store = Store::open(dir.path(), "seoul");
  REQUIRE(store);
  CHECK((*store)->evidence("seoul")->nodes.size() == 400);
  CHECK((*store)->runs(10)->size() == 4);
}

TEST_CASE("where no more can be written the error says so and what was kept stays") {
  const TempDir dir;
  { REQUIRE(Store::open(dir.path(), "seoul")); }
  const Child child = start([&](int to_parent) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{400'000, 400'000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    return write_nodes(dir, "r1", "n", 100'000, to_parent);
  });
  REQUIRE(child.pid > 0);
  const auto told = lines_of(read_all(child.from_child));
  ::close(child.from_child);
  const int status = wait_for(child.pid);
  REQUIRE(WIFEXITED(status));
  const int code = 6000 + WEXITSTATUS(status);
  CHECK((code == static_cast<int>(code::store_unwritable) || code == static_cast<int>(code::store_full)));
  CHECK(told.size() > 10);
  const auto store = Store::open(dir.path(), "seoul");
  REQUIRE(store);
  CHECK((*store)->nodes_done("r1")->size() == told.size());
  REQUIRE((*store)->put(NodeRecord{"r1", "after", "", "validate", at(1), NodeOutcome::ok, Verdict::pass, "", {}}));
}
