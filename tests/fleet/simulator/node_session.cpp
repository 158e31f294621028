#include "fleet/simulator/node_session.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "fleet/simulator/net.hpp"
#include "fleet/simulator/raw_node.hpp"

// libssh would rather call back for public keys, but a callback cannot put its answer off.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace kfab::sim {
namespace {

constexpr std::size_t most_forwards = 60'000;   // of one session, over its life

}  // namespace

struct NodeSession::Exec {
  ssh_channel channel = nullptr;
  ExecScript script{};
  bool started = false, over = false, output_done = false;
  std::uint64_t sent = 0;
  Time next_piece{}, ends_at{};
  std::string echo{};
};

NodeSession::NodeSession(Loop& loop, int fd, ssh_bind server, const Fault& fault, const ServerOptions& options, Stats& stats)
    : loop_(loop), fd_(fd), session_(ssh_new()), fault_(fault), options_(options), stats_(stats), seat_(stats) {
  if (session_ == nullptr || ssh_bind_accept_fd(server, session_, fd) != SSH_OK) {
    if (session_ == nullptr) ::close(fd);
    stage_ = Stage::gone;
    return;
  }
  ssh_set_blocking(session_, 0);
  ssh_set_auth_methods(session_, SSH_AUTH_METHOD_PUBLICKEY);
}

NodeSession::~NodeSession() {
  settle();
  forwards_.clear();
  if (session_ != nullptr) ssh_free(session_);   // and closes the socket
  else if (stage_ == Stage::held) ::close(fd_);
}

void NodeSession::start() {
  if (stage_ == Stage::gone) {
    loop_.retire(*this);
    return;
  }
  loop_.watch(*this, fd_, 0, armed_ = EPOLLIN);
  if (fault_.behaviour == Behaviour::greeting) {
    for (std::uint64_t line = 0; line < fault_.number; ++line) write_some(fd_, "This machine belongs to somebody.\r\n");
  }
  serve();
}

void NodeSession::on_ready(unsigned, std::uint32_t) {
  if (stage_ == Stage::held) {
    if (!drain(fd_)) over();
    return;
  }
  serve();
}

void NodeSession::serve() {
  if (stage_ == Stage::kex) {
    const int shaken = ssh_handle_key_exchange(session_);
    if (shaken == SSH_ERROR) return over();
    if (shaken == SSH_OK) stage_ = Stage::serving;
  }
  // What was answered goes out in the round after: libssh writes only once it saw that it may.
  for (int round = 0; stage_ == Stage::serving && round < 4; ++round) {
    while (ssh_message request = ssh_message_get(session_)) {
      if (!answer(request)) ssh_message_free(request);
      if (stage_ != Stage::serving) break;
    }
    for (std::size_t i = 0; stage_ == Stage::serving && i < execs_.size(); ++i) pump(*execs_[i]);
    for (std::size_t i = 0; stage_ == Stage::serving && i < forwards_.size(); ++i) {
      if (!forwards_[i]) continue;
      forwards_[i]->pump();
      if (forwards_[i]->over()) forwards_[i].reset();
    }
    if (stage_ == Stage::serving && (ssh_get_poll_flags(session_) & SSH_WRITE_PENDING) == 0) break;
  }
  if (stage_ == Stage::kex || stage_ == Stage::serving) {
    if (ssh_is_connected(session_) == 0 || (ssh_get_status(session_) & (SSH_CLOSED | SSH_CLOSED_ERROR)) != 0) return over();
    arm();
  }
}

void NodeSession::arm() {
  const std::uint32_t wanted = EPOLLIN | ((ssh_get_poll_flags(session_) & SSH_WRITE_PENDING) != 0 ? std::uint32_t{EPOLLOUT} : 0U);
  if (wanted == armed_) return;
  loop_.change(*this, fd_, 0, armed_ = wanted);
}

void NodeSession::over() {
  if (stage_ == Stage::gone) return;
  if (stage_ == Stage::held) ::close(fd_);
  stage_ = Stage::gone;
  loop_.retire(*this);
}

void NodeSession::settle() {
  if (settled_) std::exchange(settled_, {})();
}

// True when the fault struck: nothing more is said then.
bool NodeSession::acts_at(Point point) {
  if (fault_.behaviour != Behaviour::at_point || fault_.point != point) return false;
  act_now(fault_.action);
  return true;
}

void NodeSession::act_now(Action action) {
  flush();
  if (action == Action::disconnect) {
    ssh_disconnect(session_);
    return over();
  }
  // libssh lets go of the socket: a copy of it lives on.
  const int kept = ::dup(fd_);
  loop_.forget(fd_);
  execs_.clear();
  forwards_.clear();
  ssh_free(session_);
  session_ = nullptr;
  fd_ = act(action, kept);
  if (fd_ < 0) {
    stage_ = Stage::gone;
    loop_.retire(*this);
    return;
  }
  stage_ = Stage::held;
  loop_.watch(*this, fd_, 0, EPOLLIN);
}

void NodeSession::flush() {
  for (int round = 0; round < 64 && (ssh_get_poll_flags(session_) & SSH_WRITE_PENDING) != 0; ++round) {
    if (ssh_blocking_flush(session_, 20) != SSH_AGAIN) break;
  }
}

bool NodeSession::answer(ssh_message request) {
  switch (ssh_message_type(request)) {
    case SSH_REQUEST_SERVICE:
      if (!acts_at(Point::service)) ssh_message_service_reply_success(request);
      break;
    case SSH_REQUEST_AUTH: answer_auth(request); break;
    case SSH_REQUEST_CHANNEL_OPEN: return answer_channel_open(request);
    case SSH_REQUEST_CHANNEL: answer_channel_request(request); break;
    default: ssh_message_reply_default(request);
  }
  return false;
}

bool NodeSession::authorized(ssh_message request) const {
  if (fault_.behaviour == Behaviour::auth_refused) return false;
  ssh_key key = ssh_message_auth_pubkey(request);
  if (key == nullptr || ssh_key_type(key) != SSH_KEYTYPE_ED25519) return false;
  if (options_.authorized_key.empty()) return true;
  char* blob = nullptr;
  if (ssh_pki_export_pubkey_base64(key, &blob) != SSH_OK) return false;
  const bool same = "ssh-ed25519 " + std::string(blob) == options_.authorized_key;
  ssh_string_free_char(blob);
  return same;
}

void NodeSession::answer_auth(ssh_message request) {
  if (partly_in_ && fault_.behaviour == Behaviour::auth_partial_stall) return;
  const bool by_key = ssh_message_subtype(request) == SSH_AUTH_METHOD_PUBLICKEY;
  const auto state = by_key ? ssh_message_auth_publickey_state(request) : SSH_PUBLICKEY_STATE_ERROR;
  const bool proof = state == SSH_PUBLICKEY_STATE_VALID;
  if (acts_at(proof ? Point::signature : Point::auth)) return;
  if (!by_key || state < SSH_PUBLICKEY_STATE_NONE || partly_in_ || !authorized(request)) {
    ssh_message_reply_default(request);
  } else if (!proof) {
    ssh_message_auth_reply_pk_ok_simple(request);
  } else if (fault_.behaviour == Behaviour::auth_partial || fault_.behaviour == Behaviour::auth_partial_stall) {
    partly_in_ = true;
    ssh_message_auth_set_methods(request, SSH_AUTH_METHOD_PASSWORD);
    ssh_message_auth_reply_success(request, 1);
  } else {
    ++stats_.logins;
    settle();
    ssh_message_auth_reply_success(request, 0);
  }
}

bool NodeSession::answer_channel_open(ssh_message request) {
  if (acts_at(Point::channel)) return false;
  const int type = ssh_message_subtype(request);
  if (fault_.behaviour != Behaviour::channel_refused && type == SSH_CHANNEL_DIRECT_TCPIP && forwards_.size() < most_forwards) {
    forwards_.push_back(std::make_unique<Forward>(loop_, *this, static_cast<unsigned>(forwards_.size() + 1), session_, request));
    return true;
  }
  if (fault_.behaviour == Behaviour::channel_refused || type != SSH_CHANNEL_SESSION) {
    ssh_message_reply_default(request);
    return false;
  }
  auto exec = std::make_unique<Exec>();
  exec->channel = ssh_message_channel_request_open_reply_accept(request);
  if (exec->channel != nullptr) execs_.push_back(std::move(exec));
  return false;
}

void NodeSession::answer_channel_request(ssh_message request) {
  const bool command = ssh_message_subtype(request) == SSH_CHANNEL_REQUEST_EXEC;
  const ssh_channel channel = ssh_message_channel_request_channel(request);
  const auto exec = std::find_if(execs_.begin(), execs_.end(), [&](const auto& one) { return one->channel == channel; });
  if (command && acts_at(Point::exec)) return;
  if (!command || exec == execs_.end() || (*exec)->started || fault_.behaviour == Behaviour::exec_refused) {
    ssh_message_reply_default(request);
    return;
  }
  ++stats_.commands;
  ssh_message_channel_request_reply_success(request);
  Exec& one = **exec;
  one.started = true;
  ExecScript healthy;
  healthy.text = options_.output;
  healthy.bytes = options_.output.size();
  healthy.status = options_.exit_status;
  one.script = exec_script(fault_).value_or(healthy);
}

void NodeSession::pump(Exec& exec) {
  if (!exec.started || exec.over) return;
  if (exec.script.reads_input) read_input(exec);
  if (!exec.output_done) {
    if (!send_output(exec) || stage_ != Stage::serving) return;
    if (exec.script.echoes_input && ssh_channel_is_eof(exec.channel) == 0) return;
    exec.output_done = true;
    exec.ends_at = SteadyClock::now() + exec.script.then;
    if (exec.script.then.count() > 0) loop_.wake_at(*this, exec.ends_at);
  }
  if (exec.script.ends && SteadyClock::now() >= exec.ends_at) finish(exec);
}

void NodeSession::read_input(Exec& exec) {
  constexpr std::size_t most_echo = 1 << 20;
  std::array<char, 16 * 1024> bytes;
  while (exec.echo.size() < most_echo) {
    const int got = ssh_channel_read_nonblocking(exec.channel, bytes.data(), static_cast<std::uint32_t>(bytes.size()), 0);
    if (got <= 0) return;
    if (exec.script.echoes_input) exec.echo.append(bytes.data(), static_cast<std::size_t>(got));
  }
}

// True when all of it is on its way.
bool NodeSession::send_output(Exec& exec) {
  constexpr std::size_t most = 32 * 1024;
  const ExecScript& script = exec.script;
  while (exec.sent < script.bytes || !exec.echo.empty()) {
    const std::uint32_t window = ssh_channel_window_size(exec.channel);
    if (window == 0 || (ssh_get_poll_flags(session_) & SSH_WRITE_PENDING) != 0) return false;
    if (script.every.count() > 0 && SteadyClock::now() < exec.next_piece) return false;
    std::string_view due = exec.echo;
    if (!script.echoes_input) {
      if (exec.sent * 2 >= script.bytes && acts_at(Point::output)) return false;
      due = script.text.substr(exec.sent % script.text.size());
      due = due.substr(0, std::min<std::uint64_t>(script.bytes - exec.sent, script.piece == 0 ? most : script.piece));
    }
    due = due.substr(0, std::min<std::size_t>(window, most));
    const auto size = static_cast<std::uint32_t>(due.size());
    const int written = script.on_stderr ? ssh_channel_write_stderr(exec.channel, due.data(), size) : ssh_channel_write(exec.channel, due.data(), size);
    if (written < 0) {
      over();
      return false;
    }
    if (script.echoes_input) exec.echo.erase(0, static_cast<std::size_t>(written));
    else exec.sent += static_cast<std::uint64_t>(written);
    if (script.every.count() > 0) {
      exec.next_piece = SteadyClock::now() + script.every;
      loop_.wake_at(*this, exec.next_piece);
    }
  }
  return true;
}

void NodeSession::finish(Exec& exec) {
  const ExecScript& script = exec.script;
  if (acts_at(Point::status)) return;
  if (!script.signal.empty()) ssh_channel_request_send_exit_signal(exec.channel, std::string(script.signal).c_str(), 0, "", "");
  if (script.status) ssh_channel_request_send_exit_status(exec.channel, *script.status);
  if (acts_at(Point::eof)) return;
  ssh_channel_send_eof(exec.channel);
  if (acts_at(Point::close)) return;
  exec.over = true;
  if (script.closes) ssh_channel_close(exec.channel);
}

}  // namespace kfab::sim
