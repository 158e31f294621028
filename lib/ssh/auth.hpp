#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "ssh/agent_client.hpp"
#include "ssh/private_key.hpp"
#include "ssh/session.hpp"
#include "ssh/target.hpp"

namespace kfab::ssh {

// The keys of this run, read once for all nodes. Safe from several threads at once; what find() returns stays.
class KeyRing {
 public:
  KeyRing(std::string home, std::string agent_socket) : home_(std::move(home)), agent_socket_(std::move(agent_socket)) {}
  // Null when there is no such file; else the key or why it is of no use.
  const Result<PrivateKey>* find(const std::string& path);
  std::vector<std::string> default_paths() const;   // OpenSSH's names, the strongest first
  const std::string& agent_socket() const { return agent_socket_; }

  // An agent that is not asked any more, by its socket: one that hangs costs one node its patience, not each.
  void give_up_agent(const std::string& socket);
  bool agent_is_trouble(const std::string& socket) const;

 private:
  mutable std::mutex mutex_;
  std::set<std::string> agent_trouble_;
  std::string home_, agent_socket_;
  std::map<std::string, std::unique_ptr<Result<PrivateKey>>> keys_;
};

// Logs in by public key: the files that the target names (through ssh-agent where they are encrypted), then the other
// keys of ssh-agent; without named files the agent's keys, then the default ones. Never asks for a password.
class Authenticator {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr int max_attempts = 6;   // sshd's MaxAuthTries
  static constexpr std::chrono::seconds agent_patience{5};

  Authenticator(Session&, const Target&, std::string user, KeyRing&);
  // Repeated until not `again`. While waiting_for_agent(), the wait is for the agent's descriptor (or a tick), else for
  // the session's.
  Step step(Time now);
  const AgentClient* waiting_for_agent() const { return waiting_for_agent_ ? agent_.get() : nullptr; }
  Diagnostic why() const;   // after `failed`
  // After `failed`: the connection broke before any key was refused. Empty: no, it is as why() says.
  std::string lost() const { return refused_.empty() ? broken_ : std::string{}; }

 private:
  enum class State { start, asking_agent, trying, asking_methods };
  struct Candidate {
    const PrivateKey* file = nullptr;   // else the agent's
    AgentKey agent{};
    bool rsa = false;
    std::string shown() const;
  };
  bool may_ask_agent() const;
  const std::string& agent_socket() const { return target_.agent_socket.empty() ? ring_.agent_socket() : target_.agent_socket; }
  void begin();
  Step ask_agent(Time now);
  void agent_failed(const std::string& why);
  void add_files();
  void add_agent_keys();
  void offer(Candidate);
  Step try_next(Time now);
  Step try_one(const Candidate&, Time now);
  bool agent_overdue(Time now);

  Session& session_;
  const Target& target_;
  std::string user_;
  KeyRing& ring_;
  State state_ = State::start;
  std::vector<const PrivateKey*> files_;
  std::unique_ptr<AgentClient> agent_;
  std::optional<Time> agent_since_{};
  bool agent_asked_ = false, waiting_for_agent_ = false;
  std::vector<AgentKey> agent_keys_;
  std::vector<Candidate> candidates_;
  std::size_t next_ = 0;
  std::vector<std::string> refused_;    // keys that were offered in vain
  bool only_rsa_ = true;                // all of refused_ are
  std::vector<Diagnostic> trouble_;     // keys that could not be offered
  std::string methods_, broken_;
};

}  // namespace kfab::ssh
