#include <doctest/doctest.h>

#include "base/codes/ssh.hpp"
#include "ssh/input_queue.hpp"
#include "ssh/outcome.hpp"
#include "ssh/private_key.hpp"

using namespace kfab;
using namespace kfab::ssh;

TEST_CASE("ok needs every proof") {
  const EndEvidence good{.end_of_output = true, .closed = true, .exit_status = 0};
  CHECK(judge(good, "n").outcome == NodeOutcome::ok);
  CHECK_FALSE(judge(good, "n").why);

  EndEvidence none = good;
  none.exit_status.reset();
  CHECK(judge(none, "n").outcome == NodeOutcome::unreachable);
  CHECK(judge(none, "n").why->code == code::ssh_no_exit_status);

  EndEvidence open = good;
  open.closed = false;
  CHECK(judge(open, "n").outcome == NodeOutcome::unreachable);

  EndEvidence unread = good;
  unread.end_of_output = false;
  CHECK(judge(unread, "n").outcome == NodeOutcome::unreachable);

  EndEvidence lost = good;
  lost.transport_error = "reset";
  CHECK(judge(lost, "n").outcome == NodeOutcome::unreachable);
  CHECK(judge(lost, "n").phase == Phase::command);
  CHECK(judge(lost, "n").why->code == code::ssh_connection_lost);
}

TEST_CASE("a signal and a status are failures, each with its own code") {
  EndEvidence killed{.end_of_output = true, .closed = true, .exit_status = {}, .signal = "KILL"};
  CHECK(judge(killed, "n").outcome == NodeOutcome::failed);
  CHECK(judge(killed, "n").signal == "KILL");
  CHECK(judge(killed, "n").why->code == code::remote_command_killed);
  killed.exit_status = 0;   // what libssh2 makes of it
  CHECK(judge(killed, "n").outcome == NodeOutcome::failed);

  const EndEvidence seven{.end_of_output = true, .closed = true, .exit_status = 7};
  CHECK(judge(seven, "n").outcome == NodeOutcome::failed);
  CHECK(judge(seven, "n").exit_status == 7);
}

TEST_CASE("an input queue keeps its front until it was consumed, and has a bound") {
  InputQueue queue;
  CHECK(queue.push("abc"));
  CHECK(queue.push_view("defg"));
  CHECK(queue.front() == "abc");
  queue.consume(2);
  CHECK(queue.front() == "c");
  queue.consume(1);
  CHECK(queue.front() == "defg");
  queue.consume(4);
  CHECK(queue.empty());
  CHECK(queue.push(std::string(InputQueue::max_owned_bytes + 1, 'x')));
  CHECK_FALSE(queue.push("y"));
  CHECK(queue.push_view("z"));
  queue.consume(InputQueue::max_owned_bytes + 1);
  CHECK(queue.push("y"));
  queue.close();
  CHECK_FALSE(queue.push("late"));
  CHECK_FALSE(queue.push_view("late"));
}

TEST_CASE("key files are told apart, and what is none is refused") {
  const auto refused = [](const std::string& text) {
    auto key = inspect_private_key("/k", text);
    return !key && key.error().code == code::ssh_key_unreadable;
  };
  CHECK(refused(""));
  CHECK(refused("ssh-ed25519 AAAA me"));
  CHECK(refused("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"));
  CHECK(refused("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n"));
  auto rsa = inspect_private_key("/k", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n");
  REQUIRE(rsa);
  CHECK(is_rsa(rsa->type));
  CHECK(rsa->encrypted);
}
