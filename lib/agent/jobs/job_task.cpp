#include "agent/jobs/job_task.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>

#include "agent/facts_sections.hpp"
#include "agent/jobs/fork_away.hpp"
#include "base/codes/agent.hpp"
#include "base/text.hpp"
#include "json/shorthand.hpp"

namespace kfab::agent {
namespace {

constexpr double kept_s = 14.0 * 24 * 3600;     // what ended longer ago is removed when another job begins
constexpr std::size_t kept_jobs = 32;
constexpr double stop_wait_s = 10;
constexpr auto between_looks = std::chrono::milliseconds(50);

// Of which run a job is: its id without the node.
std::string run_of(std::string_view id) {
  // A run's id is "20261121T164158Z-7f3a9c": the node's name comes after the second dash.
  const auto first = id.find('-');
  const auto second = first == std::string_view::npos ? first : id.find('-', first + 1);
  return std::string(id.substr(0, second));
}

Result<std::string> id_of(const json::Value& request) {
  std::string id = request.string_or("job");
  if (!is_job_id(id)) return error(code::agent_bad_request, "job must be a name of letters, digits, '.', '_' and '-'");
  return id;
}

std::string_view word_of(JobFolder::State state) {
  constexpr std::array<std::string_view, 4> words{"running", "done", "lost", "restarted"};
  return words[static_cast<std::size_t>(state)];
}

void tell(const JobFolder& folder, TaskContext& task, const std::string& board) {
  JobFolder::State state = folder.state();
  // A disk that was put into another machine brings the record along: that machine was not tested.
  const std::string then = folder.board_serial(), now = one_line(board, 80);
  const bool other_board = !then.empty() && !now.empty() && then != now;
  if (other_board && state != JobFolder::State::running) state = JobFolder::State::lost;
  const json::Value done = state == JobFolder::State::done ? folder.done() : json::Value();
  const auto elapsed = folder.elapsed_s();
  json::Value left, reason;
  if (state == JobFolder::State::running && elapsed) {
    const auto request = folder.request();
    const double predicted = request ? request->double_or("predicted_s", -1) : -1;
    if (predicted >= 0) left = std::max(0.0, predicted - *elapsed);
  }
  if (state == JobFolder::State::restarted) reason = "the node was started again before it was done";
  if (state == JobFolder::State::lost) {
    const std::string words = folder.last_words();
    reason = "its process ended without a result" + (words.empty() ? "" : ": " + words);
  }
  if (other_board) reason = fmt::format("its tests were begun on the board {}, and this is {}", then, now);
  json::Object message{{"type", "job"}, {"job", folder.id()}, {"state", word_of(state)}, {"started_at", json::text_or_null(folder.started_at())}};
  message.set("elapsed_s", json::Value(elapsed)).set("left_s", std::move(left)).set("progress", folder.progress());
  message.set("ok", done.is_null() ? json::Value() : json::Value(done["ok"])).set("error", done.is_null() ? json::Value() : json::Value(done["error"]));
  message.set("ended_s_ago", json::Value(folder.ended_s_ago()));
  task.emit(message.set("reason", std::move(reason)));
}

void tell_all(const JobFolder& folder, TaskContext& task, const std::string& board) {
  tell(folder, task, board);
  if (folder.is_held()) return;
  folder.each_message([&](const json::Value& message) {
    if (message.string_or("type") != "done" && !task.stop_requested()) task.emit(message);
  });
}

// A unit of the system's: true when systemd took it.
bool start_unit(const JobFolder& folder, const JobLaunch& launch, TaskContext& task) {
  if (launch.in_fork || ::geteuid() != 0 || ::access(launch.systemd_marker.c_str(), F_OK) != 0) return false;
  std::array<char, PATH_MAX> exe{};
  if (::readlink("/proc/self/exe", exe.data(), exe.size() - 1) <= 0 || ::access(exe.data(), X_OK) != 0) return false;
  ProcessSpec spec;
  spec.argv = {launch.systemd_run, "--quiet", "--collect", "--unit=kfab-" + folder.id(), "--description=kfab tests that go on by themselves",
               "--property=KillMode=mixed", "--property=StandardError=append:" + folder.file("log"), "--property=WorkingDirectory=/"};
  for (const char* name : {"PATH", "LD_LIBRARY_PATH"})   // by which the drivers' libraries are found
    if (const char* value = std::getenv(name)) spec.argv.push_back(fmt::format("--setenv={}={}", name, value));
  for (const std::string& word : {std::string("--"), std::string(exe.data()), std::string("job"), folder.path()}) spec.argv.push_back(word);
  spec.timeout_s = launch.wait_s;
  return task.run(std::move(spec)).success();
}

// Old ones go: those that nobody asked after for long, and the oldest where there are many.
void prune(const std::string& root) {
  std::vector<std::pair<double, std::string>> ended;
  for (const auto& id : JobFolder::all(root))
    if (const auto folder = JobFolder::find(root, id); folder && !folder->is_held()) ended.emplace_back(folder->age_s(), id);
  std::sort(ended.begin(), ended.end());
  for (std::size_t i = 0; i < ended.size(); ++i)
    if (ended[i].first > kept_s || i >= kept_jobs)
      if (const auto folder = JobFolder::find(root, ended[i].second)) folder->remove();
}

Status no_other_job_in(const std::vector<std::string>& roots, const std::string& run_id) {
  for (const auto& root : roots)
    for (const auto& other : JobFolder::all(root)) {
      if (run_of(other) == run_id) continue;   // this machine under another name
      if (const auto folder = JobFolder::find(root, other); folder && folder->is_held())
        return error(code::agent_job_busy, fmt::format("tests of the run {} are at work since {}", run_of(other), folder->started_at()));
    }
  return ok();
}

}  // namespace

Status no_other_job(const std::string& run_id) {
  return no_other_job_in(jobs_roots(), run_id);   // without a place for jobs there is none
}

Status run_detach_task(const json::Value& request, TaskContext& task, const JobLaunch& launch) {
  KFAB_TRY(id, id_of(request));
  if (request["request"].string_or("task") != "test") return error(code::agent_bad_request, "only tests can go on by themselves");
  KFAB_TRY(root, jobs_root());
  const auto roots = jobs_roots();
  if (const auto there = JobFolder::find(roots, id)) {
    tell(*there, task, board_serial());
    return ok();
  }
  KFAB_TRY_VOID(no_other_job_in(roots, run_of(id)));
  for (const auto& one : roots) prune(one);
  KFAB_TRY(folder, JobFolder::make(root, id, request["request"]));
  if (!start_unit(folder, launch, task)) KFAB_TRY_VOID(fork_away(folder.path(), folder.file("log"), launch.in_fork));
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(launch.wait_s);
  const auto began = [&] { return !folder.started_at().empty(); };
  while (!began() && !task.stop_requested() && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(between_looks);
    if (!folder.is_held() && !folder.last_words().empty()) break;
  }
  if (!began()) {
    const std::string words = folder.last_words();
    return error(code::agent_job_not_started, words.empty() ? std::string("its process did not begin") : words);
  }
  tell(folder, task, board_serial());
  return ok();
}

Status run_detach_task(const json::Value& request, TaskContext& task) { return run_detach_task(request, task, JobLaunch{}); }

Status run_job_task(const json::Value& request, TaskContext& task) { return run_job_task(request, task, board_serial()); }

Status run_job_task(const json::Value& request, TaskContext& task, const std::string& board) {
  KFAB_TRY(id, id_of(request));
  const auto folder = JobFolder::find(jobs_roots(), id);
  if (!folder) {
    json::Object message{{"type", "job"}, {"job", id}, {"state", "unknown"}};
    for (const char* name : {"started_at", "elapsed_s", "left_s", "ended_s_ago", "ok", "error"}) message.set(name, json::Value());
    task.emit(message.set("progress", json::Array{}).set("reason", "nothing is known of it here"));
    return ok();
  }
  if (request.string_or("do") == "stop" && folder->is_held()) {
    KFAB_TRY_VOID(folder->ask_to_stop());
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(stop_wait_s);
    while (folder->is_held() && !task.stop_requested() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(between_looks);
  }
  tell_all(*folder, task, board);
  return ok();
}

}  // namespace kfab::agent
