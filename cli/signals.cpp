#include "cli/signals.hpp"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>

namespace kfab::cli {
namespace {

// Wakes the watching thread when the process is done; a signal that nobody else sends.
constexpr int wake = SIGUSR2;

sigset_t watched() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, wake}) sigaddset(&set, signal);
  return set;
}

void say(const char* text) {
  const ssize_t ignored = ::write(STDERR_FILENO, text, std::strlen(text));
  static_cast<void>(ignored);
}

}  // namespace

void ignore_broken_pipes() { ::signal(SIGPIPE, SIG_IGN); }

SignalWatch::SignalWatch(CancelToken& token) : token_(token) {
  const sigset_t set = watched();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([this] { watch(); });
}

SignalWatch::~SignalWatch() {
  stop_ = true;
  pthread_kill(thread_.native_handle(), wake);
  thread_.join();
  const sigset_t set = watched();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void SignalWatch::watch() {
  const sigset_t set = watched();
  timespec patience{3600, 0};
  int last = 0;
  while (!stop_) {
    const int got = sigtimedwait(&set, nullptr, &patience);
    if (stop_) return;
    if (got < 0) {
      if (errno == EAGAIN && token_.level() >= 2) _exit(128 + last);   // it was told to leave at once and did not
      continue;
    }
    if (got == wake) continue;
    last = got == SIGINT ? SIGINT : SIGTERM;
    token_.raise(last);
    if (token_.level() == 1) {
      say("\ninterrupted: finishing up (^C again to leave at once)\n");
    } else {
      say("\ninterrupted again: leaving\n");
      patience = {1, 0};
    }
  }
}

}  // namespace kfab::cli
