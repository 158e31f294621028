#include <doctest/doctest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "agent/jobs/job_task.hpp"
#include "agent/jobs/job_worker.hpp"
#include "agent/task.hpp"
#include "base/codes/agent.hpp"
#include "unit/agent/support.hpp"

using namespace kfab;
using namespace kfab::agent;
using namespace kfab::agent::test;

namespace {

const std::string run_a = "20261121T164158Z-7f3a9c", run_b = "20261121T170000Z-0a1b2c";

json::Value inner(double deadline_s = 60, double predicted_s = 20) {
  return json::Object{{"type", "request"}, {"task", "test"}, {"deadline_s", deadline_s}, {"predicted_s", predicted_s}};
}
json::Value detach(const std::string& job, json::Value request = inner()) { return json::Object{{"task", "detach"}, {"job", job}, {"request", std::move(request)}}; }
json::Value ask(const std::string& job, const char* what = "report") { return json::Object{{"task", "job"}, {"job", job}, {"do", what}}; }

// Tests stand in: they speak and then wait for as long as they are told.
Status speaks(const json::Value&, TaskContext& task) {
  task.progress("memory", 1, 4, "a quarter");
  task.emit(json::Object{{"type", "measurement"}, {"value", 42}});
  return ok();
}
Status stays(const json::Value& request, TaskContext& task) {
  KFAB_TRY_VOID(speaks(request, task));
  while (!task.stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return ok();
}
Status floods(const json::Value&, TaskContext& task) {
  while (!task.stop_requested()) task.emit(json::Object{{"type", "measurement"}, {"text", std::string(1000, 'x')}});
  return ok();
}

// A place for jobs of this test alone.
class Jobs {
 public:
  Jobs() { ::setenv("KFAB_JOBS_DIR", root_.string().c_str(), 1); }
  ~Jobs() {
    for (const auto& id : JobFolder::all(root_.string())) {
      const auto folder = JobFolder::find(root_.string(), id);
      if (!folder || !folder->is_held()) continue;
      (void)folder->ask_to_stop();
      for (int i = 0; i < 400 && folder->is_held(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ::unsetenv("KFAB_JOBS_DIR");
  }
  Jobs(const Jobs&) = delete;
  Jobs& operator=(const Jobs&) = delete;

  JobLaunch launch(Status (*task)(const json::Value&, TaskContext&), JobLimits limits = {}) const {
    JobLaunch how;
    how.in_fork = [task, limits](const std::string& folder) { return run_job(folder, task, [](int status) { ::_exit(status); }, limits); };
    return how;
  }
  JobFolder folder(const std::string& id) const { return JobFolder::at(root_ / id); }
  std::string root() const { return root_.string(); }

 private:
  TemporaryDirectory root_;
};

json::Value told(const json::Value& request) {
  RecordingContext context;
  REQUIRE(run_job_task(request, context));
  REQUIRE(!context.messages.empty());
  return context.messages.front();
}

void wait_until(const std::function<bool()>& reached) {
  for (int i = 0; i < 1000 && !reached(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  REQUIRE(reached());
}

}  // namespace

TEST_CASE("a job goes on by itself, tells how far it is, and gives back all that it found") {
  Jobs jobs;
  RecordingContext context;
  const std::string id = run_a + "-gpu1";
  REQUIRE(run_detach_task(detach(id), context, jobs.launch(stays)));
  REQUIRE(context.messages.size() == 1);
  CHECK(context.messages[0].string_or("state") == "running");
  CHECK(context.messages[0].double_or("left_s", -1) > 10);
  CHECK(context.messages[0].double_or("left_s", -1) <= 20);

  SUBCASE("while it is at work") {
    wait_until([&] { return told(ask(id)).array_at("progress").size() == 1; });
    CHECK(told(ask(id)).array_at("progress")[0].string_or("message") == "a quarter");
    RecordingContext later;
    REQUIRE(run_job_task(ask(id), later));
    CHECK(later.messages.size() == 1);   // what it found is fetched when it is whole
  }
  SUBCASE("it is not started twice") {
    RecordingContext again;
    REQUIRE(run_detach_task(detach(id), again, jobs.launch(floods)));
    CHECK(again.messages[0].string_or("state") == "running");
  }
  SUBCASE("tests of another run would spoil its figures") {
    RecordingContext other;
    const auto status = run_detach_task(detach(run_b + "-gpu1"), other, jobs.launch(stays));
    REQUIRE(!status);
    CHECK(status.error().code == code::agent_job_busy);
    CHECK(status.error().message.find(run_a) != std::string::npos);
    RecordingContext same;   // the same machine under another name, in the same run
    CHECK(run_detach_task(detach(run_a + "-gpu2"), same, jobs.launch(stays)));
  }
  SUBCASE("asked to stop, it ends and says so") {
    RecordingContext stopped;
    REQUIRE(run_job_task(ask(id, "stop"), stopped));
    REQUIRE(stopped.messages.size() == 2);
    CHECK(stopped.messages[0].string_or("state") == "done");
    CHECK(stopped.messages[0]["ok"].as_bool() == false);
    CHECK(stopped.messages[0]["error"].string_or("code") == to_string(code::agent_cancelled));
    CHECK(stopped.messages[1].int_or("value", 0) == 42);
  }
}

TEST_CASE("a job that came to its end is told whole, as often as it is asked for") {
  Jobs jobs;
  RecordingContext context;
  const std::string id = run_a + "-gpu1";
  REQUIRE(run_detach_task(detach(id), context, jobs.launch(speaks)));
  wait_until([&] { return told(ask(id)).string_or("state") == "done"; });
  for (int i = 0; i < 2; ++i) {
    RecordingContext later;
    REQUIRE(run_job_task(ask(id), later));
    REQUIRE(later.messages.size() == 2);
    CHECK(later.messages[0]["ok"].as_bool() == true);
    CHECK(later.messages[1].string_or("type") == "measurement");
  }
}

TEST_CASE("a job that vanished is lost, one whose node was started again says that, and neither is done") {
  Jobs jobs;
  RecordingContext context;
  const std::string id = run_a + "-gpu1";
  REQUIRE(run_detach_task(detach(id), context, jobs.launch(stays)));
  const auto state = json::parse(read(jobs.folder(id).file("state")));
  REQUIRE(state);
  REQUIRE(::kill(static_cast<pid_t>(state->int_or("pid", 0)), SIGKILL) == 0);
  wait_until([&] { return !jobs.folder(id).is_held(); });
  CHECK(told(ask(id)).string_or("state") == "lost");
  CHECK(told(ask(id))["ok"].is_null());

  json::Object other = *state->as_object();
  write(jobs.folder(id).file("state"), json::dump(other.set("boot_id", "another")));
  CHECK(told(ask(id)).string_or("state") == "restarted");
  CHECK(told(ask(id))["elapsed_s"].is_null());   // its clock began anew

  SUBCASE("half a line at the end is no message") {
    write(jobs.folder(id).file("messages"), "{\"type\":\"measurement\"}\n{\"type\":\"done\",\"ok\":tr");
    CHECK(jobs.folder(id).done().is_null());
    CHECK(told(ask(id)).string_or("state") == "restarted");
  }
  SUBCASE("a record that was damaged is never done") {
    write(jobs.folder(id).file("messages"), "{\"type\":\"meas\xff\n{\"type\":\"done\",\"ok\":true}\n");
    CHECK(jobs.folder(id).done().is_null());
  }
}

TEST_CASE("a job ends at its deadline, and when it says more than can be kept") {
  Jobs jobs;
  RecordingContext context;
  REQUIRE(run_detach_task(detach(run_a + "-late", inner(0.3)), context, jobs.launch(stays)));
  REQUIRE(run_detach_task(detach(run_a + "-loud"), context, jobs.launch(floods, JobLimits{.messages = 50, .bytes = 1 << 20})));
  wait_until([&] { return !jobs.folder(run_a + "-late").is_held() && !jobs.folder(run_a + "-loud").is_held(); });
  CHECK(told(ask(run_a + "-late"))["error"].string_or("code") == to_string(code::agent_deadline));
  CHECK(told(ask(run_a + "-loud"))["error"].string_or("code") == to_string(code::agent_job_lost));
  CHECK(jobs.folder(run_a + "-loud").done()["ok"].as_bool() == false);
}

TEST_CASE("what is no job is refused or unknown") {
  Jobs jobs;
  RecordingContext context;
  CHECK(!run_detach_task(detach("../etc"), context, jobs.launch(speaks)));
  CHECK(!run_detach_task(detach(".hidden"), context, jobs.launch(speaks)));
  CHECK(!run_detach_task(detach(run_a + "-x", json::Object{{"task", "provision"}}), context, jobs.launch(speaks)));
  CHECK(told(ask(run_a + "-never")).string_or("state") == "unknown");
  CHECK(!is_job_id(std::string(121, 'a')));
  CHECK(is_job_id(run_a + "-gpu-001.rack_7"));
}

TEST_CASE("a place that others can write to is not used") {
  Jobs jobs;
  REQUIRE(::chmod(jobs.root().c_str(), 0777) == 0);
  RecordingContext context;
  const auto status = run_detach_task(detach(run_a + "-gpu1"), context, jobs.launch(speaks));
  REQUIRE(!status);
  CHECK(status.error().code == code::agent_job_not_started);
  REQUIRE(::chmod(jobs.root().c_str(), 0700) == 0);
}

TEST_CASE("a job tells how long ago it ended, whatever happened to the node's clock") {
  Jobs jobs;
  RecordingContext context;
  const std::string id = run_a + "-gpu1", busy = run_a + "-gpu2";
  REQUIRE(run_detach_task(detach(busy), context, jobs.launch(stays)));
  CHECK(told(ask(busy))["ended_s_ago"].is_null());
  REQUIRE(run_detach_task(detach(id), context, jobs.launch(speaks)));
  wait_until([&] { return told(ask(id)).string_or("state") == "done"; });
  // Its files are from another time by the node's clock: that was set.
  for (const char* name : {"messages", "state", "request", "progress"}) {
    const timespec long_ago[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
    ::utimensat(AT_FDCWD, jobs.folder(id).file(name).c_str(), long_ago, 0);
  }
  CHECK(told(ask(id)).double_or("ended_s_ago", -1) >= 0);
  CHECK(told(ask(id)).double_or("ended_s_ago", 1e9) < 60);
  // Of an earlier boot it is at least as old as this one.
  std::string messages = read(jobs.folder(id).file("messages"));
  const auto at = messages.find(boot_id());
  REQUIRE(at != std::string::npos);
  write(jobs.folder(id).file("messages"), messages.replace(at, boot_id().size(), "another"));
  write(jobs.folder(id).file("state"), "{\"boot_id\":\"another\",\"started_at\":\"x\"}");
  CHECK(told(ask(id)).string_or("state") == "done");
  CHECK(told(ask(id)).double_or("ended_s_ago", -1) >= boottime_s() - 1);
}

TEST_CASE("a record that came with a disk from another machine is none of this one") {
  Jobs jobs;
  RecordingContext context;
  const std::string id = run_a + "-gpu1";
  REQUIRE(run_detach_task(detach(id), context, jobs.launch(speaks)));
  wait_until([&] { return told(ask(id)).string_or("state") == "done"; });
  const auto state = json::parse(read(jobs.folder(id).file("state")));
  REQUIRE(state);
  json::Object moved = *state->as_object();
  write(jobs.folder(id).file("state"), json::dump(moved.set("board_serial", "BOARD-A")));
  const auto on = [&](const std::string& board) {
    RecordingContext answer;
    REQUIRE(run_job_task(ask(id), answer, board));
    return answer.messages.front();
  };
  CHECK(on("BOARD-A").string_or("state") == "done");
  CHECK(on("").string_or("state") == "done");   // a machine that tells no serial cannot be told from another
  CHECK(on("BOARD-B").string_or("state") == "lost");
  CHECK(on("BOARD-B")["ok"].is_null());
  CHECK(on("BOARD-B").string_or("reason").find("BOARD-A") != std::string::npos);
}

TEST_CASE("a node is neither changed nor restarted under its tests") {
  Jobs jobs;
  RecordingContext context;
  REQUIRE(run_detach_task(detach(run_a + "-gpu1"), context, jobs.launch(stays)));
  context.stop = true;   // so that nothing is restarted, whatever is wrong here
  for (const char* name : {"provision", "reboot"}) {
    const auto tasks = all_tasks();
    const auto row = std::find_if(tasks.begin(), tasks.end(), [&](const TaskRow& one) { return one.name == name; });
    REQUIRE(row != tasks.end());
    const auto status = row->run(json::Object{{"task", name}, {"mode", "apply"}, {"resources", "none"}, {"run_id", run_a}}, context);
    REQUIRE(!status);
    CHECK(status.error().code == code::agent_job_busy);
  }
}

TEST_CASE("a folder that another session is just making is young, whatever is in it yet") {
  Jobs jobs;
  const std::string id = run_a + "-gpu2";
  REQUIRE(::mkdir(jobs.folder(id).path().c_str(), 0700) == 0);   // and its request is written next
  CHECK(jobs.folder(id).age_s() < 60);
  RecordingContext context;
  REQUIRE(run_detach_task(detach(run_a + "-gpu1"), context, jobs.launch(speaks)));
  CHECK(JobFolder::find(jobs.root(), id));
}

TEST_CASE("whoever makes the usual place first keeps nobody's jobs away") {
  TemporaryDirectory lib, tmp;
  const JobPlaces places{lib.string(), tmp.string()};
  ::unsetenv("KFAB_JOBS_DIR");
  const std::string usual = tmp / ("kfab-" + std::to_string(::geteuid()));
  CHECK(jobs_roots(places).empty());   // looking makes nothing
  CHECK_FALSE(std::filesystem::exists(usual));

  SUBCASE("what only root can write to is root's place") {
    ::chmod(lib.string().c_str(), 0755);
    const auto root = jobs_root(places);
    REQUIRE(root);
    CHECK(*root == (::geteuid() == 0 ? lib / "kfab/jobs" : usual + "/jobs"));
  }
  SUBCASE("a job that was begun in the usual place is found from the other") {
    ::chmod(lib.string().c_str(), 0777);   // others can write there: not for root's jobs
    const auto first = jobs_root(places);
    REQUIRE(first);
    CHECK(*first == usual + "/jobs");
    REQUIRE(JobFolder::make(*first, run_a + "-gpu1", inner()));
    ::chmod(lib.string().c_str(), 0755);
    CHECK(JobFolder::find(jobs_roots(places), run_a + "-gpu1"));
    CHECK_FALSE(JobFolder::find(jobs_roots(places), run_b + "-gpu1"));
  }
  SUBCASE("one that others may write to, is a file or a link is gone around by a name that nobody knows") {
    ::chmod(lib.string().c_str(), 0777);
    TemporaryDirectory elsewhere;
    for (const int kind : {0, 1, 2}) {
      CAPTURE(kind);
      std::filesystem::remove_all(usual);
      if (kind == 0) {
        std::filesystem::create_directory(usual);
        ::chmod(usual.c_str(), 0777);
      }
      if (kind == 1) write(usual, "mine");
      if (kind == 2) std::filesystem::create_directory_symlink(elsewhere.string(), usual);
      const auto root = jobs_root(places);
      REQUIRE(root);
      CHECK(root->starts_with(usual + "-"));
      CHECK(root->size() == usual.size() + std::string("-XXXXXX/jobs").size());
      CHECK(*jobs_root(places) == *root);   // the same the next time
      CHECK(jobs_roots(places) == std::vector<std::string>{*root});
      CHECK(std::filesystem::is_empty(elsewhere.string()));
    }
    // A name of that kind that is not this user's own counts for nothing.
    ::mkdir((usual + "-000000").c_str(), 0777);
    ::chmod((usual + "-000000").c_str(), 0777);
    CHECK(jobs_roots(places).size() == 1);
  }
}
