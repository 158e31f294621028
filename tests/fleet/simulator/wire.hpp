#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "fleet/simulator/faults.hpp"
#include "fleet/simulator/loop.hpp"

namespace kfab::sim {

// Finds the byte at which something is to happen in what a server says, while that is still in clear: the banner line,
// KEXINIT, the key exchange reply, NEWKEYS.
class PacketScanner {
 public:
  static constexpr int banner = 0, kexinit = 1, kexreply = 2, newkeys = 3;
  // Byte `number` of packet `packet` from its length field on.
  PacketScanner(int packet, std::uint64_t number) : packet_(packet), number_(number) {}
  // True when this byte is the one.
  bool is_it(char byte);

 private:
  int packet_, current_ = banner;
  std::uint64_t number_;
  std::uint64_t at_ = 0;         // of this byte within the current packet
  std::uint32_t length_ = 0;     // of the current packet, without its length field
};

// The bytes between a node's socket and libssh's, passed on in both directions, with one thing done to those from the
// server: late, slow, cut or changed at a byte.
class Wire final : public Loop::Member {
 public:
  Wire(Loop&, int outer, int inner, const Fault&, Stats&);
  ~Wire() override;
  void start() override;
  void on_ready(unsigned which, std::uint32_t events) override;
  void on_time() override;

 private:
  struct Chunk { Time due; std::string bytes; };
  struct Pipe {
    int from = -1, to = -1;
    std::deque<Chunk> chunks;
    std::size_t held = 0;
    bool ended = false;      // `from` has nothing more
    bool blocked = false;    // `to` takes nothing now
    Time last_due{};
  };
  bool reached(char byte);               // the byte of the fault
  void take(Pipe&, std::string_view bytes, bool from_server);
  void queue(Pipe&, std::string bytes, Time due);
  void fill(Pipe&, bool from_server);
  void flush(Pipe&);
  void pump();
  bool strikes() const;                  // what the server says after the byte does not get through
  void strike();
  void arm();
  void over();

  Loop& loop_;
  const Seat seat_;
  Fault fault_;
  Pipe down_, up_;                       // from the server, to the server
  PacketScanner scanner_;
  std::uint64_t passed_ = 0;             // bytes from the server so far
  bool met_ = false;                     // the byte of the fault came
  bool struck_ = false;                  // and what it does was done: only the peer's end is waited for
  std::chrono::milliseconds lag_{0}, pace_{0};
  std::uint32_t armed_[2] = {0, 0};
};

}  // namespace kfab::sim
