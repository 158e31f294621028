#include "fleet/turns.hpp"

#include <algorithm>
#include <utility>

namespace kfab::fleet {

std::size_t Turns::limit(const std::string& name) const {
  const auto at = limits_.find(name);
  return at == limits_.end() ? 0 : at->second;
}

std::size_t Turns::busy(const std::string& name) const {
  const auto at = queues_.find(name);
  return at == queues_.end() ? 0 : at->second.busy.size();
}

void Turns::ask(std::size_t node, const std::string& name, Given given) {
  if (limit(name) == 0) return given();
  Queue& queue = queues_[name];
  const bool waits = std::any_of(queue.waiting.begin(), queue.waiting.end(), [&](const Waiting& other) { return other.node == node; });
  if (waits || queue.busy.count(node) > 0) return;
  queue.waiting.push_back({node, std::move(given)});
  let_in(name, queue);
}

void Turns::over(std::size_t node, const std::string& name) {
  const auto at = queues_.find(name);
  if (at == queues_.end()) return;
  Queue& queue = at->second;
  queue.busy.erase(node);
  std::erase_if(queue.waiting, [&](const Waiting& other) { return other.node == node; });
  let_in(name, queue);
}

void Turns::gone(std::size_t node) {
  for (const auto& [name, limit] : limits_) over(node, name);
}

void Turns::let_in(const std::string& name, Queue& queue) {
  while (!queue.waiting.empty() && queue.busy.size() < limit(name)) {
    Waiting next = std::move(queue.waiting.front());
    queue.waiting.pop_front();
    queue.busy.insert(next.node);
    next.given();
  }
}

}  // namespace kfab::fleet
