#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>

namespace kfab::fleet {

// Whose turn it is, of things that only so many nodes may do at the same time. Whoever asks first goes first. Pure: it
// knows no time, no nodes but by their index, and is told of every asking and every end.
class Turns {
 public:
  explicit Turns(std::map<std::string, std::size_t> limits) : limits_(std::move(limits)) {}
  using Given = std::function<void()>;

  // Calls `given` when it is the node's turn: at once, or when another's is over. A name without a limit is everybody's
  // turn. Asking again for what one has, or waits for, changes nothing.
  void ask(std::size_t node, const std::string& name, Given given);
  void over(std::size_t node, const std::string& name);
  // The node has ended: whatever it had or waited for is over.
  void gone(std::size_t node);

  std::size_t limit(const std::string& name) const;   // 0: none
  std::size_t busy(const std::string& name) const;    // nodes whose turn it is

 private:
  struct Waiting {
    std::size_t node;
    Given given;
  };
  struct Queue {
    std::set<std::size_t> busy{};
    std::deque<Waiting> waiting{};
  };
  void let_in(const std::string& name, Queue&);

  std::map<std::string, std::size_t> limits_;
  std::map<std::string, Queue> queues_;   // of names with a limit only
};

}  // namespace kfab::fleet
