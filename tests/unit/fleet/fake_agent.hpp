#pragma once

#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/event.hpp"
#include "base/ids.hpp"
#include "fleet/agent_session.hpp"

namespace kfab::fleet::test {

// gzip, so that a script can travel as an agent does.
inline std::string gzip(std::string_view bytes) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(bytes.size() + 1024, '\0');
  stream.next_in = const_cast<Bytef*>(static_cast<const Bytef*>(static_cast<const void*>(bytes.data())));
  stream.avail_in = static_cast<unsigned>(bytes.size());
  stream.next_out = static_cast<Bytef*>(static_cast<void*>(out.data()));
  stream.avail_out = static_cast<unsigned>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// An agent in shell: says hello, reads its request, does `body`.
inline std::string agent_script(const std::string& body) {
  return "#!/bin/sh\n[ \"$1\" != --version ] || { echo test; exit 0; }\n[ \"$1\" = serve ] || exit 2\n"
         "echo '{\"type\":\"hello\",\"protocol\":1,\"version\":\"t\",\"sha256\":\"\",\"uid\":0,\"pid\":1}'\n"
         "read -r request || exit 3\n" + body + "\n";
}
inline const std::string done_ok = "echo '{\"type\":\"done\",\"ok\":true,\"error\":null}'";

struct Image {
  explicit Image(const std::string& script) : gz(gzip(script)) {
    auto made = make_agent_image(gz);
    if (made) image = *made;
  }
  std::string gz;
  AgentImage image{};
};

// Keeps what the agents say, and what the run tells.
struct Listener final : AgentListener {
  void on_message(std::size_t index, const json::Value& message) override { messages[index].push_back(json::dump(message)); }
  std::map<std::size_t, std::vector<std::string>> messages;
};
struct Sink final : EventSink {
  void emit(const Event& event) override { events.push_back(event); }
  std::size_t count(std::string_view type) const {
    std::size_t found = 0;
    for (const Event& event : events) found += event.type == type ? 1 : 0;
    return found;
  }
  std::vector<Event> events;
};

// A home of its own for the bootstrap's cache.
struct Home {
  std::string path = std::filesystem::temp_directory_path() / ("kfab-home-" + random_hex(6));
  std::string before = std::getenv("HOME") ? std::getenv("HOME") : "";
  Home() {
    std::filesystem::create_directories(path);
    ::setenv("HOME", path.c_str(), 1);
    ::unsetenv("XDG_CACHE_HOME");
  }
  ~Home() {
    std::filesystem::remove_all(path);
    ::setenv("HOME", before.c_str(), 1);
  }
  std::vector<std::string> cached() const {
    std::vector<std::string> names;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(path + "/.cache/kfab", none)) names.push_back(entry.path().filename());
    return names;
  }
};

// A directory whose `uname` says that the machine is another, before the others of PATH while this lives.
struct OtherMachine {
  OtherMachine(const std::string& dir, const std::string& machine) {
    std::filesystem::create_directories(dir);
    std::ofstream(dir + "/uname") << "#!/bin/sh\n[ \"$1\" != -m ] || { echo '" << machine << "'; exit 0; }\nexit 1\n";
    std::filesystem::permissions(dir + "/uname", std::filesystem::perms::owner_all);
    ::setenv("PATH", (dir + ":" + before).c_str(), 1);
  }
  ~OtherMachine() { ::setenv("PATH", before.c_str(), 1); }
  OtherMachine(const OtherMachine&) = delete;
  OtherMachine& operator=(const OtherMachine&) = delete;
  std::string before = std::getenv("PATH");
};

inline std::vector<ssh::Target> local_targets(std::size_t count) {
  std::vector<ssh::Target> targets(count);
  for (std::size_t i = 0; i < count; ++i) {
    targets[i].node = "n" + std::to_string(i);
    targets[i].transport = ssh::TransportKind::local;
  }
  return targets;
}

}  // namespace kfab::fleet::test
