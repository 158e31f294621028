#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ssh/target.hpp"

namespace kfab::fleet {

// Where a node of the rack hands out the agent.
struct RelayEndpoint {
  std::string host;
  int port = 0;
  std::string token;   // 32 hex digits that a client has to say
};

// Who gets the agent from whom, when it travels over the control host's link once per rack: the first node of a rack
// that lacks it is sent it and then serves the others, which wait for that meanwhile. Nodes of a rack with other processors need
// another agent, and are a rack of their own here. Whatever goes wrong with a rack's
// relay, its nodes are sent the agent directly: a relay can cost time, never a node. Pure.
class RelayPlan {
 public:
  static constexpr std::size_t smallest_rack = 3;   // below that there is nothing to save

  explicit RelayPlan(const std::vector<ssh::Target>&);

  enum class Way : std::uint8_t { direct, wait, relay };
  // It has no agent; `machine` is what it runs, as `uname -m` names it.
  Way ask(std::size_t node, const std::string& machine = {});
  const RelayEndpoint& endpoint(std::size_t node) const;     // of its rack, after Way::relay
  // It has the agent now. True: it is to serve its rack, and serving() or failed() has to follow.
  bool stored(std::size_t node);
  void serving(std::size_t node, RelayEndpoint);
  void failed(std::size_t node);      // its rack is served directly from now on
  void gone(std::size_t node);        // its session ended: if its rack waited for it, the next one leads
  // Nodes that were told to wait and may ask again, once each.
  std::vector<std::size_t> take_released();

 private:
  enum class State : std::uint8_t { idle, leading, starting, serving, off };
  struct Rack {   // its nodes of one machine
    State state = State::idle;
    std::size_t leader = 0;
    RelayEndpoint endpoint{};
    std::vector<std::size_t> waiting{};
  };
  Rack& rack(std::size_t node) { return racks_[{rack_of_[node], machine_of_[node]}]; }
  void release(Rack&);

  static constexpr std::size_t no_rack = 0;
  std::vector<std::size_t> rack_of_;
  std::vector<std::string> machine_of_;   // of those that asked
  std::map<std::pair<std::size_t, std::string>, Rack> racks_;
  std::vector<std::size_t> released_;
};

// Whether a host name or address may stand in a line to a node's shell: letters, digits, '.', ':', '-', '_' and no more
// than 255 of them.
bool is_plain_host(const std::string&);

}  // namespace kfab::fleet
