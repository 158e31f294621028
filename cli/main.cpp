#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <ostream>

#include "base/words.hpp"
#include "cli/args.hpp"
#include "cli/complete.hpp"
#include "cli/man.hpp"
#include "cli/process.hpp"
#include "cli/signals.hpp"
#include "cli/streams.hpp"
#include "term/stream.hpp"

namespace {

using namespace kfab;

constexpr int manifest_patience_ms = 35;   // of the 50 ms that a completion may take

std::optional<std::string> variable(std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

// `kfab __complete INDEX WORD...`, for the shell files. Leaves without waiting for a manifest that is read too slowly.
[[noreturn]] void answer_shell(const std::vector<std::string>& words, cli::FdBuffer& buffer, std::ostream& out) {
  const std::size_t index = words.empty() ? 0 : std::strtoul(words[0].c_str(), nullptr, 10);
  const std::vector<std::string> line(words.empty() ? words.begin() : words.begin() + 1, words.end());
  const auto wanted = cli::parse_duration_s(variable("KFAB_COMPLETE_WAIT").value_or(std::string{}));
  const int patience_ms = wanted ? static_cast<int>(std::min(*wanted, 60.0) * 1000) : manifest_patience_ms;
  out << cli::to_protocol(cli::complete(line, index, [&](const std::string& path) { return cli::manifest_names(path, patience_ms); }));
  buffer.pubsync();
  _exit(0);
}

// A connection costs a descriptor or two, and the 1024 that a login shell is given are a limit for shells.
void raise_descriptor_limit() {
  constexpr rlim_t enough = 65536;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= enough) return;
  limit.rlim_cur = std::min(limit.rlim_max, enough);
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int main(int argc, char** argv) {
  cli::ignore_broken_pipes();
  raise_descriptor_limit();
  cli::FdBuffer out_buffer(STDOUT_FILENO), err_buffer(STDERR_FILENO);
  std::ostream out(&out_buffer), err(&err_buffer);
  err << std::unitbuf;
  const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  if (!words.empty() && words[0] == "__complete") answer_shell({words.begin() + 1, words.end()}, out_buffer, out);
  if (!words.empty() && words[0] == "__man") {
    const int code = cli::write_manual(words.size() > 1 ? words[1] : std::string{}, std::cin, out);
    out.flush();
    return out_buffer.failure() == 0 ? code : exit_code(Outcome::incomplete);   // half a page must not look like one
  }

  std::error_code ignored;
  const auto clock = make_system_clock();
  cli::Process process({.words = words,
                        .in = std::cin,
                        .out = out,
                        .err = err,
                        .getenv = variable,
                        .clock = *clock,
                        .input_is_terminal = term::is_terminal(STDIN_FILENO),
                        .is_root = geteuid() == 0,
                        .own_signals = true,
                        .executable = std::filesystem::read_symlink("/proc/self/exe", ignored).string()});
  int code = 0;
  try {
    code = process.run();
  } catch (const std::exception& problem) {
    code = process.report_bug(problem.what());
  } catch (...) {
    code = process.report_bug("something was thrown that is no exception");
  }
  out.flush();
  return process.after_output(code, out_buffer.failure());
}
