#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace kfab::sim {

// A TCP socket on `address` and `port` (0: any free one) that others may share; listening unless backlog < 0. The
// process cannot do without: it ends with a message when there is none.
int open_socket(std::uint32_t address, std::uint16_t port, int backlog);
std::uint16_t port_of(int fd);
std::uint32_t local_address_of(int fd);   // of an accepted connection: which node was meant
void set_nonblocking(int fd);

// The peer is to see RST, not FIN, when this is closed.
void close_with_reset(int fd);
// Reads and drops what came. False once the peer has ended or broken the connection.
bool drain(int fd);
// Writes what the socket takes. Returns how much; 0 also when the peer is gone, which a read will tell.
std::size_t write_some(int fd, std::string_view bytes);

// Bytes that look like nothing, the same for the same seed.
std::string noise(std::size_t size, std::uint64_t seed = 1);

void raise_descriptor_limit();

}  // namespace kfab::sim
