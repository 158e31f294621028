#pragma once

#include <functional>
#include <string>

#include "agent/jobs/job_folder.hpp"
#include "agent/task.hpp"

// Tests that outlive the connection: started by one session, asked after by another.
namespace kfab::agent {

// How a job is started. The default runs this very file as `<agent> job FOLDER`: as a unit of its own where this is root on
// a system with systemd, so that neither the session's end nor KillUserProcesses ends it, else as a process of a session
// of its own.
struct JobLaunch {
  std::string systemd_marker = "/run/systemd/system";
  std::string systemd_run = "systemd-run";
  std::function<int(const std::string& folder)> in_fork{};   // tests: what the forked process does instead
  double wait_s = 15;                                         // for it to take its folder's lock
};

// Task "detach": starts a job.
//   {"job":"<run>-<node>", "request":{"task":"test", "deadline_s":..., "predicted_s":..., ...}}
// Answers as task "job" does. A job of that name that is there already is not started again. Errors: agent_job_busy (one
// of another run is at work: tests of two runs would spoil each other's figures), agent_job_not_started.
// ok where no job of another run than `run_id` is at work for this user. Errors: agent_job_busy.
Status no_other_job(const std::string& run_id);

Status run_detach_task(const json::Value& request, TaskContext&);
Status run_detach_task(const json::Value& request, TaskContext&, const JobLaunch&);

// Task "job": where a job is and, once it is over, all that it found.
//   {"job":"...", "do":"report|stop"}      stop: asks it to stop first, and waits for it a while
// Messages: {"type":"job","job","state":"running|done|lost|restarted|unknown","started_at"|null,"elapsed_s"|null,
//            "left_s"|null,"progress":[...],"ended_s_ago"|null,"ok"|null,"error"|null,"reason"|null}
// left_s is the predicted duration less what has passed. A job of another board than this machine's is lost, whatever it says. Unless it runs, the job's own messages follow, without its
// "done", whose `ok` and `error` are told here.
Status run_job_task(const json::Value& request, TaskContext&);
Status run_job_task(const json::Value& request, TaskContext&, const std::string& board_serial);   // of this machine; empty: not told

}  // namespace kfab::agent
