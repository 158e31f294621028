#include "fleet/rack_relays.hpp"

#include <algorithm>
#include <utility>

#include "base/ids.hpp"

namespace kfab::fleet {

struct RackRelays::Server final : AgentListener {
  Server(RackRelays& all, std::size_t node) : relays(all), index(node) {}
  void on_message(std::size_t, const json::Value& message) override {
    const std::string type = message.string_or("type");
    if (type == "relay_served") served = std::max<std::int64_t>(served, message.int_or("serves", 0));
    if (type != "relay") return;
    const auto port = message.int_or("port", 0);
    constexpr int most_port = 65535;
    if (port <= 0 || port > most_port) return relays.failed(index);
    // What a node says of itself is its port only: its address is the one that the manifest has.
    relays.plan_.serving(index, {relays.targets_[index].address, static_cast<int>(port), token});
    relays.release();
  }
  bool on_end(std::size_t, const AgentEnd&) override {
    relays.failed(index);
    return true;
  }
  RackRelays& relays;
  const std::size_t index;
  const std::string token = random_hex(16);
  std::shared_ptr<Job> job;
  AgentEnd end;
  std::int64_t served = 0;
};

RackRelays::RackRelays(ssh::Transport& transport, const std::vector<ssh::Target>& targets, MakeSession make)
    : plan_(targets), transport_(transport), targets_(targets), make_(std::move(make)), seekers_(targets.size()) {}
RackRelays::~RackRelays() = default;

void RackRelays::stored(std::size_t node) {
  if (plan_.stored(node)) start(node);
}

void RackRelays::failed(std::size_t node) {
  plan_.failed(node);
  release();
}

void RackRelays::gone(std::size_t node) {
  plan_.gone(node);
  release();
}

void RackRelays::start(std::size_t node) {
  constexpr int most_clients = 8;   // of one relay at once: it is a node with work of its own to do
  auto server = std::make_shared<Server>(*this, node);
  AgentTask task{json::Object{{"task", "relay"}, {"token", server->token}, {"address", targets_[node].address}, {"max_clients", most_clients},
                              {"max_serves", static_cast<std::int64_t>(targets_.size())}}};
  server->job = make_(node, std::move(task), *server, server->end);
  servers_.push_back(server);
  server->job->start(transport_, server->job);
}

void RackRelays::release() {
  for (const std::size_t node : plan_.take_released()) {
    if (const auto seeker = seekers_[node].lock()) seeker->ask_for_agent();
  }
}

void RackRelays::tick(std::chrono::steady_clock::time_point now) {
  if (now - ticked_ < std::chrono::seconds(1)) return;
  ticked_ = now;
  for (const auto& server : servers_) server->job->tick(now, false);
}

void RackRelays::finish() {
  constexpr int drives = 20;   // of 100 ms: in the first half they may end by themselves
  const auto running = [this] { return std::any_of(servers_.begin(), servers_.end(), [](const auto& server) { return !server->job->over(); }); };
  for (const auto& server : servers_) server->job->wind_down();
  for (int i = 0; i < drives && running(); ++i) {
    if (i == drives / 2) {
      for (const auto& server : servers_) server->job->cut();
    }
    transport_.drive(std::chrono::milliseconds(100));
  }
  for (const auto& server : servers_) server->job->detach();
}

std::int64_t RackRelays::served() const {
  std::int64_t all = 0;
  for (const auto& server : servers_) all += server->served;
  return all;
}

}  // namespace kfab::fleet
