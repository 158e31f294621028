#include "ssh/session.hpp"

#include <libssh2.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

#include "base/text.hpp"
#include "ssh/codec.hpp"
#include "ssh/kex_offer.hpp"
#include "ssh/transport.hpp"

namespace kfab::ssh {
namespace {

// What the server said about the end of the channel. libssh2 before 1.11.2 answers 0 for an exit status that never
// came and sets eof when a connection merely broke, so neither proves anything. What proves it are the messages
// themselves: libssh2 allocates each decrypted packet through the session's own allocator and frees it once it is
// dealt with, and there it is looked at. Should a later libssh2 not do so, no status is ever proven, and no command
// is ever ok: the error is on the safe side.
struct Seen {
  std::uint32_t channel = 0;   // whose end is looked for: numbers are given in order, and never again
  bool close = false;
  std::optional<std::uint32_t> exit_status;
  // The two offers of a key exchange, ours and the server's in whatever order the library frees them. They tell why it
  // failed; after one that did not they are dropped.
  bool shaken = false;
  std::vector<std::string> kexinits;
};

// Every block of a session is in a ring with the others, for libssh2 1.10 forgets some when a connection ends in the
// midst of a message; and it carries its size, for a packet must not be read past its end.
struct alignas(std::max_align_t) Block {
  Block* before = this;
  Block* after = this;
  std::size_t size = 0;

  void join(Block& ring) {
    before = &ring;
    after = ring.after;
    before->after = after->before = this;
  }
  void leave() {
    before->after = after;
    after->before = before;
    before = after = this;
  }
};

// What libssh2 hands to every one of its callbacks.
struct Hooks {
  Seen seen;
  Block blocks;                 // all that are in use
  Carrier* carrier = nullptr;   // instead of the socket
  std::uint64_t received = 0;
};

void* bytes_of(Block* block) { return block + 1; }
Block* block_of(void* bytes) { return static_cast<Block*>(bytes) - 1; }
Hooks* hooks_of(void** abstract) { return abstract == nullptr ? nullptr : static_cast<Hooks*>(*abstract); }

void* watched_alloc(std::size_t count, void** abstract) {
  void* memory = count > SIZE_MAX - sizeof(Block) ? nullptr : std::malloc(count + sizeof(Block));
  if (memory == nullptr) return nullptr;
  auto* block = new (memory) Block;
  block->size = count;
  if (Hooks* hooks = hooks_of(abstract)) block->join(hooks->blocks);
  return bytes_of(block);
}

void watch(const char* packet, std::size_t size, Seen& seen) {
  constexpr unsigned char msg_channel_close = 97, msg_channel_request = 98;   // RFC 4254 section 9
  constexpr std::string_view exit_status("\0\0\0\x0b" "exit-status\0", 16);   // its name and want_reply = false
  constexpr std::size_t type_and_channel = 5;
  constexpr std::size_t longest_close = 512;   // 5 bytes, padding (at most 255) and MAC
  constexpr unsigned char msg_kexinit = 20;    // RFC 4253 section 7.1
  constexpr std::size_t longest_kexinit = 35000, most_kexinits = 4;
  if (size < type_and_channel) return;
  const auto type = static_cast<unsigned char>(packet[0]);
  if (!seen.shaken && type == msg_kexinit && size <= longest_kexinit && seen.kexinits.size() < most_kexinits) seen.kexinits.emplace_back(packet, size);
  // The number of the channel also tells the message from any text that begins with 'a'.
  if (WireReader({packet + 1, 4}).u32() != seen.channel) return;
  if (type == msg_channel_close && size <= longest_close) seen.close = true;
  if (type != msg_channel_request || size < type_and_channel + exit_status.size() + 4) return;
  if (std::memcmp(packet + type_and_channel, exit_status.data(), exit_status.size()) != 0) return;
  seen.exit_status = WireReader({packet + type_and_channel + exit_status.size(), 4}).u32();
}

void watched_free(void* pointer, void** abstract) {
  if (pointer == nullptr) return;
  Block* block = block_of(pointer);
  if (Hooks* hooks = hooks_of(abstract)) watch(static_cast<char*>(pointer), block->size, hooks->seen);
  block->leave();
  std::free(block);
}

void* watched_realloc(void* pointer, std::size_t count, void** abstract) {
  if (pointer == nullptr) return watched_alloc(count, abstract);
  void* bigger = watched_alloc(count, abstract);
  if (bigger == nullptr) return nullptr;
  Block* block = block_of(pointer);
  std::memcpy(bigger, pointer, std::min(count, block->size));
  block->leave();
  std::free(block);
  return bigger;
}

// The socket, or what stands for it.
ssize_t send_by(libssh2_socket_t fd, const void* bytes, std::size_t count, int flags, void** abstract) {
  if (Carrier* carrier = static_cast<Hooks*>(*abstract)->carrier) return carrier->send(static_cast<const char*>(bytes), count);
  const ssize_t sent = ::send(fd, bytes, count, flags | MSG_NOSIGNAL);
  return sent >= 0 ? sent : errno == EINTR ? -EAGAIN : -errno;
}
ssize_t receive_by(libssh2_socket_t fd, void* bytes, std::size_t count, int flags, void** abstract) {
  auto& hooks = *static_cast<Hooks*>(*abstract);
  ssize_t got = hooks.carrier != nullptr ? hooks.carrier->receive(static_cast<char*>(bytes), count) : ::recv(fd, bytes, count, flags);
  if (got < 0 && hooks.carrier == nullptr) got = errno == EINTR ? -EAGAIN : -errno;
  if (got > 0) hooks.received += static_cast<std::uint64_t>(got);
  return got;
}

// libssh2 wants a descriptor that does not block even where it never uses it.
int stand_in_fd() {
  static const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return fd;
}

// How much a node may send ahead of being read: what many nodes print at once has to fit into memory.
constexpr unsigned channel_window_bytes = 512 * 1024;

bool library_ready() {
  static std::once_flag once;
  static bool ready = false;
  std::call_once(once, [] { ready = libssh2_init(0) == 0; });
  return ready;
}

Step step(long rc) { return rc >= 0 ? Step::done : rc == LIBSSH2_ERROR_EAGAIN ? Step::again : Step::failed; }

}  // namespace

std::string libssh2_version_text() {
  const char* version = libssh2_version(0);
  return version == nullptr ? "unknown" : version;
}
bool libssh2_signs_rsa_sha2() { return libssh2_version(0x010b00) != nullptr; }

struct Session::Impl {
  Hooks hooks;   // outlives the session, whose allocator writes into it
  std::uint32_t channels = 0;   // opened so far, or tried
  bool opening = false;
  int fd = -1;
  LIBSSH2_SESSION* session = nullptr;
  LIBSSH2_CHANNEL* channel = nullptr;

  ~Impl() {
    if (session == nullptr) return;
    // The socket is shut down or dead by now, so nothing below waits for the peer; a few rounds of EAGAIN are what
    // libssh2 needs to see that.
    for (int round = 0; channel != nullptr && round < 16 && libssh2_channel_free(channel) == LIBSSH2_ERROR_EAGAIN;) ++round;
    for (int round = 0; round < 16 && libssh2_session_free(session) == LIBSSH2_ERROR_EAGAIN;) ++round;
    while (hooks.blocks.after != &hooks.blocks) watched_free(bytes_of(hooks.blocks.after), nullptr);
  }
};

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;

std::unique_ptr<Session> Session::open(int fd) {
  if (!library_ready()) return nullptr;
  auto impl = std::make_unique<Impl>();
  impl->fd = fd;
  impl->session = libssh2_session_init_ex(watched_alloc, watched_free, watched_realloc, &impl->hooks);
  if (impl->session == nullptr) return nullptr;
  libssh2_session_set_blocking(impl->session, 0);
  libssh2_session_callback_set(impl->session, LIBSSH2_CALLBACK_SEND, reinterpret_cast<void*>(&send_by));
  libssh2_session_callback_set(impl->session, LIBSSH2_CALLBACK_RECV, reinterpret_cast<void*>(&receive_by));
  return std::unique_ptr<Session>(new Session(std::move(impl)));
}

std::unique_ptr<Session> Session::open(Carrier& carrier) {
  auto session = open(stand_in_fd());
  if (session) session->impl_->hooks.carrier = &carrier;
  return session;
}

const std::vector<std::string>& Session::host_key_types() {
  static const std::vector<std::string> types = [] {
    std::vector<std::string> known{"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"};
    if (libssh2_signs_rsa_sha2()) known.emplace_back("ssh-rsa");
    return known;
  }();
  return types;
}

void Session::prefer_host_keys(const std::vector<std::string>& types) {
  std::vector<std::string> order = types;
  order.insert(order.end(), host_key_types().begin(), host_key_types().end());
  order.emplace_back("ssh-rsa");   // old servers have nothing else
  std::vector<std::string> algorithms;
  const auto add = [&](const std::string& name) {
    if (std::find(algorithms.begin(), algorithms.end(), name) == algorithms.end()) algorithms.push_back(name);
  };
  for (const std::string& type : order) {
    if (type != "ssh-rsa" && std::find(host_key_types().begin(), host_key_types().end(), type) == host_key_types().end()) continue;
    if (type == "ssh-rsa" && libssh2_signs_rsa_sha2()) {
      add("rsa-sha2-512");
      add("rsa-sha2-256");
    }
    add(type);
  }
  // A failure leaves the library's own order, under which a known machine is at worst refused.
  (void)libssh2_session_method_pref(impl_->session, LIBSSH2_METHOD_HOSTKEY, join(algorithms, ",").c_str());
}

Step Session::handshake() {
  const Step shaken = step(libssh2_session_handshake(impl_->session, impl_->fd));
  if (shaken == Step::done) {
    impl_->hooks.seen.shaken = true;
    impl_->hooks.seen.kexinits = {};
  }
  return shaken;
}

std::vector<std::string> Session::missing_algorithms() const {
  const auto supported = [&](int method) {
    std::vector<std::string> names;
    const char** list = nullptr;
    const int count = libssh2_session_supported_algs(impl_->session, method, &list);
    for (int i = 0; i < count; ++i) names.emplace_back(list[i]);
    if (count > 0) libssh2_free(impl_->session, static_cast<void*>(list));
    return names;
  };
  const std::vector<std::string> offers = impl_->hooks.seen.kexinits;   // supported() frees, and is seen to
  const KexOffer ours{supported(LIBSSH2_METHOD_KEX), supported(LIBSSH2_METHOD_HOSTKEY), supported(LIBSSH2_METHOD_CRYPT_CS),
                      supported(LIBSSH2_METHOD_MAC_CS)};
  for (const std::string& packet : offers) {   // our own has everything in common with ours
    const auto offer = parse_kexinit(packet);
    if (!offer) continue;
    if (auto missing = nothing_in_common(ours, *offer); !missing.empty()) return missing;
  }
  return {};
}
bool Session::banner_seen() const {
  const char* line = libssh2_session_banner_get(impl_->session);   // before it, any line of what a server says first
  return line != nullptr && std::string_view(line).substr(0, 4) == "SSH-";
}

std::string_view Session::host_key() const {
  std::size_t size = 0;
  int type = 0;
  const char* blob = libssh2_session_hostkey(impl_->session, &size, &type);
  return blob == nullptr ? std::string_view{} : std::string_view{blob, size};
}

Step Session::authenticate(const std::string& user, std::string_view private_key) {
  return step(libssh2_userauth_publickey_frommemory(impl_->session, user.data(), user.size(), nullptr, 0,
                                                    private_key.data(), private_key.size(), nullptr));
}

namespace {
int sign_by(LIBSSH2_SESSION*, unsigned char** signature, std::size_t* size, const unsigned char* data,
            std::size_t data_size, void** abstract) {
  const auto& signer = **static_cast<const Signer**>(static_cast<void*>(abstract));
  std::string made;
  // libssh2 hands EAGAIN on and asks again with the same data, so an agent never blocks the reactor.
  const Step outcome = signer({static_cast<const char*>(static_cast<const void*>(data)), data_size}, made);
  if (outcome == Step::again) return LIBSSH2_ERROR_EAGAIN;
  if (outcome == Step::failed) return LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED;
  void* copy = watched_alloc(made.size(), nullptr);   // libssh2 frees it by the session's own function
  if (copy == nullptr) return LIBSSH2_ERROR_ALLOC;
  std::memcpy(copy, made.data(), made.size());
  *signature = static_cast<unsigned char*>(copy);
  *size = made.size();
  return 0;
}
}  // namespace

Step Session::authenticate(const std::string& user, std::string_view public_blob, const Signer& signer) {
  const Signer* by = &signer;
  const auto* blob = static_cast<const unsigned char*>(static_cast<const void*>(public_blob.data()));
  return step(libssh2_userauth_publickey(impl_->session, user.c_str(), blob, public_blob.size(), sign_by,
                                         static_cast<void**>(static_cast<void*>(&by))));
}

Step Session::list_methods(const std::string& user, std::string& methods) {
  const char* list = libssh2_userauth_list(impl_->session, user.data(), static_cast<unsigned>(user.size()));
  if (list != nullptr) {
    methods = list;
    return Step::done;
  }
  if (authenticated()) return Step::done;
  return error_number() == LIBSSH2_ERROR_EAGAIN ? Step::again : Step::failed;
}

bool Session::authenticated() const { return libssh2_userauth_authenticated(impl_->session) != 0; }

Step Session::open_channel() {
  constexpr std::string_view kind = "session";
  if (!impl_->opening) impl_->hooks.seen = {impl_->channels++, false, std::nullopt, true, {}};
  impl_->channel = libssh2_channel_open_ex(impl_->session, kind.data(), static_cast<unsigned>(kind.size()), channel_window_bytes,
                                           LIBSSH2_CHANNEL_PACKET_DEFAULT, nullptr, 0);
  impl_->opening = impl_->channel == nullptr && error_number() == LIBSSH2_ERROR_EAGAIN;
  if (impl_->channel != nullptr) return Step::done;
  return impl_->opening ? Step::again : Step::failed;
}

struct DirectChannel::Impl {
  Hooks* hooks = nullptr;
  LIBSSH2_SESSION* session = nullptr;
  LIBSSH2_CHANNEL* channel = nullptr;
};
DirectChannel::DirectChannel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DirectChannel::~DirectChannel() = default;   // what close() did not free goes with the session

Step Session::open_direct(const std::string& host, unsigned port, std::unique_ptr<DirectChannel>& channel) {
  // RFC 4254 section 7.2 wants to know who asks; nobody needs to.
  LIBSSH2_CHANNEL* opened = libssh2_channel_direct_tcpip_ex(impl_->session, host.c_str(), static_cast<int>(port), "127.0.0.1", 0);
  if (opened == nullptr) return error_number() == LIBSSH2_ERROR_EAGAIN ? Step::again : Step::failed;
  channel.reset(new DirectChannel(std::make_unique<DirectChannel::Impl>(DirectChannel::Impl{&impl_->hooks, impl_->session, opened})));
  return Step::done;
}

Step DirectChannel::read(std::string_view& got) {
  thread_local std::array<char, 64 * 1024> buffer;
  got = {};
  for (int round = 0; round < 256; ++round) {
    const auto before = impl_->hooks->received;
    const auto rc = libssh2_channel_read_ex(impl_->channel, 0, buffer.data(), buffer.size());
    if (rc > 0) {
      got = {buffer.data(), static_cast<std::size_t>(rc)};
      return Step::done;
    }
    if (rc < 0 && rc != LIBSSH2_ERROR_EAGAIN) return Step::failed;
    if (libssh2_channel_eof(impl_->channel) == 1) return Step::done;
    if (rc == LIBSSH2_ERROR_EAGAIN || impl_->hooks->received == before) return Step::again;
  }
  return Step::again;
}

bool DirectChannel::readable() const {
  return libssh2_poll_channel_read(impl_->channel, 0) == 1 || libssh2_channel_eof(impl_->channel) == 1;
}

Step DirectChannel::write(std::string_view bytes, std::size_t& written) {
  const auto rc = libssh2_channel_write_ex(impl_->channel, 0, bytes.data(), bytes.size());
  written = rc > 0 ? static_cast<std::size_t>(rc) : 0;
  return rc == 0 ? Step::again : step(rc);
}

Step DirectChannel::close() { return step(libssh2_channel_free(impl_->channel)); }

Step Session::exec(const std::string& line) {
  constexpr std::string_view request = "exec";
  return step(libssh2_channel_process_startup(impl_->channel, request.data(), static_cast<unsigned>(request.size()), line.data(),
                                              static_cast<unsigned>(line.size())));
}

Step Session::read(Stream& which, std::string_view& got) {
  // One buffer for all sessions: the bytes are handed on before the next read.
  thread_local std::array<char, 64 * 1024> buffer;
  constexpr std::array<std::pair<Stream, int>, 2> streams{{{Stream::out, 0}, {Stream::err, SSH_EXTENDED_DATA_STDERR}}};
  got = {};
  // 0 bytes is not the end: the transport may have handled something else and have more. Both streams are read until
  // both say EAGAIN, and only then, or at 0, is the end asked for; it is not told while either holds anything.
  for (int round = 0; round < 256; ++round) {
    bool dry = true;
    for (const auto& [stream, id] : streams) {
      const auto rc = libssh2_channel_read_ex(impl_->channel, id, buffer.data(), buffer.size());
      if (rc > 0) {
        which = stream;
        got = {buffer.data(), static_cast<std::size_t>(rc)};
        return Step::done;
      }
      if (rc == LIBSSH2_ERROR_EAGAIN) continue;
      if (rc < 0) return Step::failed;
      dry = false;
    }
    if (libssh2_channel_eof(impl_->channel) == 1) return Step::done;
    if (dry) return Step::again;
  }
  return Step::again;   // the caller comes back on its tick
}

Step Session::write(std::string_view bytes, std::size_t& written) {
  const auto rc = libssh2_channel_write_ex(impl_->channel, 0, bytes.data(), bytes.size());
  written = rc > 0 ? static_cast<std::size_t>(rc) : 0;
  return rc == 0 ? Step::again : step(rc);
}

bool Session::channel_over() const {
  if (error_number() == LIBSSH2_ERROR_CHANNEL_CLOSED || error_number() == LIBSSH2_ERROR_CHANNEL_EOF_SENT) return true;
  return close_seen() && libssh2_channel_eof(impl_->channel) == 1;
}

Step Session::send_eof() { return step(libssh2_channel_send_eof(impl_->channel)); }

Step Session::await_close() {
  const Step outcome = step(libssh2_channel_wait_closed(impl_->channel));
  // libssh2 calls it closed when the connection merely broke.
  return outcome == Step::done && !close_seen() ? Step::failed : outcome;
}

bool Session::close_seen() const { return impl_->hooks.seen.close; }

std::optional<int> Session::exit_status() const {
  if (!impl_->hooks.seen.exit_status) return std::nullopt;
  return static_cast<int>(*impl_->hooks.seen.exit_status);
}

std::string Session::exit_signal() const {
  char* name = nullptr;
  std::size_t size = 0;
  if (impl_->channel == nullptr) return {};
  if (libssh2_channel_get_exit_signal(impl_->channel, &name, &size, nullptr, nullptr, nullptr, nullptr) != 0) return {};
  if (name == nullptr) return {};
  std::string signal(name, size);
  watched_free(name, nullptr);
  return signal;
}

void Session::send_keepalive() {
  constexpr unsigned shortest_interval_s = 2;   // below which libssh2 would not send another; the caller decides when
  libssh2_keepalive_config(impl_->session, 1, shortest_interval_s);
  int next = 0;
  (void)libssh2_keepalive_send(impl_->session, &next);
}
std::uint64_t Session::bytes_received() const { return impl_->hooks.received; }

bool Session::close_channel() {
  if (impl_->channel == nullptr || libssh2_channel_free(impl_->channel) != 0) return false;
  impl_->channel = nullptr;
  return !write_pending();
}

void Session::disconnect() {
  if (impl_->channel != nullptr && libssh2_channel_free(impl_->channel) == 0) impl_->channel = nullptr;
  if (!write_pending()) (void)libssh2_session_disconnect(impl_->session, "done");
}

Session::Want Session::want() const {
  const int directions = libssh2_session_block_directions(impl_->session);
  return {(directions & LIBSSH2_SESSION_BLOCK_INBOUND) != 0, (directions & LIBSSH2_SESSION_BLOCK_OUTBOUND) != 0};
}

int Session::error_number() const { return libssh2_session_last_errno(impl_->session); }

std::string Session::error_text() const {
  char* text = nullptr;
  const int number = libssh2_session_last_error(impl_->session, &text, nullptr, 0);
  return (text == nullptr || *text == '\0' ? "error" : one_line(text)) + " (libssh2 " + std::to_string(number) + ")";
}

bool Session::connection_broken() const {
  constexpr std::array answers{LIBSSH2_ERROR_KEX_FAILURE, LIBSSH2_ERROR_CHANNEL_FAILURE, LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED};
  constexpr std::array broken{LIBSSH2_ERROR_SOCKET_DISCONNECT, LIBSSH2_ERROR_SOCKET_RECV, LIBSSH2_ERROR_SOCKET_SEND,
                              LIBSSH2_ERROR_BANNER_RECV, LIBSSH2_ERROR_BANNER_SEND, LIBSSH2_ERROR_CHANNEL_CLOSED,
                              LIBSSH2_ERROR_INVALID_MAC, LIBSSH2_ERROR_DECRYPT, LIBSSH2_ERROR_PROTO, LIBSSH2_ERROR_OUT_OF_BOUNDARY};
  const int number = error_number();
  if (std::find(answers.begin(), answers.end(), number) != answers.end()) return false;
  if (std::find(broken.begin(), broken.end(), number) != broken.end()) return true;
  // libssh2 often tells what it was waiting for instead of why that did not come. Then the socket knows, or its words.
  if (impl_->hooks.carrier != nullptr) return impl_->hooks.carrier->over();
  char byte = 0;
  const auto got = ::recv(impl_->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return true;
  char* text = nullptr;
  libssh2_session_last_error(impl_->session, &text, nullptr, 0);
  return text != nullptr && std::string_view(text).find("aiting for") != std::string_view::npos;
}

}  // namespace kfab::ssh
