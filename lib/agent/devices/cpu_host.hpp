#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"

// What the cpu device knows of the machine it runs on, and how it spreads work over it.
namespace kfab::agent::devices::cpu {

// The processors this process may run on.
std::vector<int> usable_processors();
// How many processors of the machine are at work and kept from this process by a cpuset or an affinity; nothing when the kernel
// does not say which there are. `root` stands before /sys, for tests.
std::optional<int> withheld_processors(const std::string& root = {});
// Calls work(worker) for worker 0..threads-1 at once, each held to one processor of usable_processors() in turn, and waits.
void in_parallel(int threads, const std::function<void(int)>& work);

struct MemoryFacts { std::uint64_t total_bytes = 0, available_bytes = 0; };
MemoryFacts memory_facts();                   // /proc/meminfo
// As the kernel tells it, since glibc knows none of Arm's; 0: not known. `root` stands before /sys, for tests.
std::uint64_t last_level_cache_bytes(const std::string& root = {});
std::string model_name();
std::string machine_serial();                 // board serial, else machine id, else host name

// Anonymous memory, in huge pages where the kernel gives them; zero until written. Errors: device_memory_short.
class Pages {
 public:
  static Result<Pages> take(std::uint64_t bytes);
  Pages(Pages&& other) noexcept : data_(other.data_), bytes_(other.bytes_) { other.data_ = nullptr; }
  Pages& operator=(Pages&&) = delete;
  Pages(const Pages&) = delete;
  ~Pages();
  template <class T> T* as() const { return static_cast<T*>(data_); }
  std::uint64_t bytes() const { return bytes_; }

 private:
  Pages(void* data, std::uint64_t bytes) : data_(data), bytes_(bytes) {}
  void* data_;
  std::uint64_t bytes_;
};

}  // namespace kfab::agent::devices::cpu
