#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fleet/agent_session.hpp"
#include "fleet/relay_plan.hpp"
#include "fleet/window.hpp"

namespace kfab::fleet {

// A session whose node lacks the agent and was told to wait for its rack's relay.
class AgentSeeker {
 public:
  virtual ~AgentSeeker() = default;
  virtual void ask_for_agent() = 0;   // it may ask again
};

// The relays of a run: what relay_plan.hpp decides, done by agents that serve their racks beside the sessions that they
// are there for. Belongs to the driving thread. A relay lives as long as the run; whatever becomes of it is no node's end.
class RackRelays {
 public:
  // Makes the session of a relay on a node, without starting it; the listener and the end outlive it.
  using MakeSession = std::function<std::shared_ptr<Job>(std::size_t node, AgentTask, AgentListener&, AgentEnd&)>;
  RackRelays(ssh::Transport&, const std::vector<ssh::Target>&, MakeSession);
  ~RackRelays();
  RackRelays(const RackRelays&) = delete;
  RackRelays& operator=(const RackRelays&) = delete;

  void know(std::size_t node, const std::shared_ptr<AgentSeeker>& session) { seekers_[node] = session; }
  // As RelayPlan's; who waited is told at once.
  RelayPlan::Way ask(std::size_t node, const std::string& machine) { return plan_.ask(node, machine); }
  const RelayEndpoint& endpoint(std::size_t node) const { return plan_.endpoint(node); }
  void stored(std::size_t node);   // starts the relay of its rack where it is to be that
  void failed(std::size_t node);
  void gone(std::size_t node);

  void tick(std::chrono::steady_clock::time_point now);
  // All is over: the relays are told to end, and those that do not are cut. Takes at most two seconds.
  void finish();
  std::int64_t served() const;     // nodes that were handed the agent

 private:
  struct Server;
  void start(std::size_t node);
  void release();

  RelayPlan plan_;
  ssh::Transport& transport_;
  const std::vector<ssh::Target>& targets_;
  const MakeSession make_;
  std::vector<std::weak_ptr<AgentSeeker>> seekers_;
  std::vector<std::shared_ptr<Server>> servers_;
  std::chrono::steady_clock::time_point ticked_{};
};

}  // namespace kfab::fleet
