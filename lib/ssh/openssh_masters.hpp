#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "ssh/openssh.hpp"
#include "ssh/private_dir.hpp"

namespace kfab::ssh {

// The files of all connections by ssh(1) of one transport, and an end for the control masters that they leave running:
// when this goes, each is told to exit, and within two seconds the directory is removed. After kill -9 of kfab they end
// by themselves (ControlPersist). Safe from several threads at once.
class OpensshMasters {
 public:
  OpensshMasters() = default;
  ~OpensshMasters();
  OpensshMasters(const OpensshMasters&) = delete;
  OpensshMasters& operator=(const OpensshMasters&) = delete;

  // The private directory, made on the first call. Errors: private_dir_unusable.
  Result<std::string> directory();
  // Writes the configuration if it is not there yet. Errors: file_unwritable.
  Status put(const OpensshConfig&);
  // A path for the log of one more ssh.
  std::string next_log();
  // Whether a connection of this configuration may stay for others: each is a process of some 2 MiB, so of a large site
  // only the first ones do.
  bool may_keep(const OpensshConfig&);
  // The log of the ssh that keeps the connection of this configuration, from here on; empty: nobody does.
  void set_master_log(const OpensshConfig&, const std::string& log);
  std::string master_log(const OpensshConfig&) const;
  bool is_master_log(const std::string& log) const;

 private:
  mutable std::mutex mutex_;
  std::optional<PrivateDir> dir_;
  std::map<std::string, std::string> masters_;   // log by the configuration's name
  std::set<std::string> written_, kept_, master_logs_;
  std::uint64_t logs_ = 0;
};

// Tells the ssh that listens on this control socket to end, by OpenSSH's multiplexing protocol (PROTOCOL.mux). Does not
// wait for it. False when nobody listens there.
bool end_control_master(const std::string& socket_path);

}  // namespace kfab::ssh
