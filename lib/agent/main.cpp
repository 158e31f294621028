// kfab-agent: what kfab sends to a node. `serve` talks the protocol of protocol.hpp on stdin and stdout; `job` and
// `test-child` are processes that it starts itself.
#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "agent/jobs/job_worker.hpp"
#include "agent/protocol.hpp"
#include "agent/serve.hpp"
#include "agent/tests/test_task.hpp"

int main(int argc, char** argv) {
  const std::string_view word = argc == 2 ? argv[1] : "";
  if (word == "--version") {
    std::printf("kfab-agent %s (protocol %d)\n", KFAB_VERSION, kfab::agent::protocol_version);
    return 0;
  }
  const auto leave = [](int status) { ::_exit(status); };
  if (word == "serve") {
    kfab::agent::ServeOptions options;
    options.leave = leave;
    return kfab::agent::serve(options);
  }
  if (argc == 3 && std::string_view(argv[1]) == "job")
    return kfab::agent::run_job(argv[2], [](const auto& request, auto& context) { return kfab::agent::run_test_task(request, context); }, leave);
  if (word == "test-child") return kfab::agent::test_child_main();
  std::fputs("usage: kfab-agent serve | --version\nkfab starts it on nodes; it speaks JSON lines on stdin and stdout\n",
             stderr);
  return 2;
}
