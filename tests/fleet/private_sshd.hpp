#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/file.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"
#include "ssh/target.hpp"

namespace kfab::fleet::test {

// What a shell command prints, and its status.
struct Said {
  int status = -1;
  std::string out;
};
inline Said shell(const std::string& line) {
  Said said;
  FILE* pipe = ::popen(line.c_str(), "r");
  if (pipe == nullptr) return said;
  std::array<char, 4096> chunk{};
  while (const std::size_t got = std::fread(chunk.data(), 1, chunk.size(), pipe)) said.out.append(chunk.data(), got);
  const int status = ::pclose(pipe);
  said.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return said;
}

// A real sshd of our own (sshd.sh), gone with this object.
class PrivateSshd {
 public:
  explicit PrivateSshd(const std::string& config = "") {
    const Said said = shell(script() + " start " + dir + (config.empty() ? "" : " '" + config + "'"));
    port = std::atoi(said.out.c_str());
  }
  ~PrivateSshd() {
    shell(script() + " stop " + dir);
    std::filesystem::remove_all(dir);
  }
  PrivateSshd(const PrivateSshd&) = delete;
  PrivateSshd& operator=(const PrivateSshd&) = delete;

  ssh::Target target(const std::string& node) const {
    ssh::Target target;
    target.node = node;
    target.address = "127.0.0.1";
    target.port = static_cast<std::uint16_t>(port);
    target.identity_files = {dir + "/id_ed25519"};
    target.use_agent = false;
    target.known_hosts = {dir + "/known_hosts"};
    return target;
  }
  // Makes a key pair NAME in the directory; the options are ssh-keygen's.
  std::string make_key(const std::string& name, const std::string& options, bool authorize) const {
    shell("ssh-keygen -q -f " + dir + "/" + name + " " + options + " </dev/null");
    if (authorize) shell("cat " + dir + "/" + name + ".pub >> " + dir + "/authorized_keys");
    return dir + "/" + name;
  }

  std::string dir = std::filesystem::temp_directory_path() / ("kfab-sshd-" + random_hex(6));
  int port = 0;

 private:
  static std::string script() { return std::string(KFAB_SOURCE_DIR) + "/tests/fleet/sshd.sh"; }
};

}  // namespace kfab::fleet::test
