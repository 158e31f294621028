#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/task.hpp"
#include "base/result.hpp"
#include "json/value.hpp"

namespace kfab::agent {

// One difference between what a node has and what is declared, in words: {"mode", "0644", "0600"}.
struct Change {
  std::string what, before, after;
};

// What a check found: no changes means in sync. `diff` is the text to show for a file's content, cut where it is long.
struct Difference {
  std::vector<Change> changes;
  std::string diff;
  std::string found{};   // digest of what the changes do not tell in full, such as a file's bytes; compared, never shown
  bool in_sync() const { return changes.empty(); }
};

// Where a node keeps what resources manage. Tests point these elsewhere; the paths of files and directories are always
// what the role says.
struct NodeEnvironment {
  std::string root;                                           // before every fixed path of the system; empty on a node
  std::string backup_directory;                               // empty: what backup.cpp says
  std::vector<std::string> process_environment;               // for every child process, "PATH=..." in tests
  std::string proc_sys = "/proc/sys";
  std::string sysctl_file = "/etc/sysctl.d/60-kfab.conf";
  std::string systemd_marker = "/run/systemd/system";         // there when systemd runs

  std::string at(std::string_view path) const { return root + std::string(path); }   // "/etc/fstab" of this node
};

// What resources use to reach the node.
struct ResourceContext {
  TaskContext& task;
  const NodeEnvironment& node;

  ProcessResult run(std::vector<std::string> argv, double timeout_s, std::string directory = {}) const;
};

// A place on the node's disk that a resource writes to, for undoing.
struct Place {
  enum class Kind {
    whole,        // the resource says all that is there
    lines,        // some lines of it are the resource's, others belong to others
    own_lines,    // likewise, and all are kfab's: with the last of them the file goes
    directory,    // itself, not what is in it
    tree,         // a directory with all that is in it
    mount_point,  // a directory that something is mounted on: only that it is there
  };
  std::string path;
  Kind kind = Kind::whole;
  bool copies = true;          // false: no copy of its content may be kept
  bool sensitive = false;      // its content is never shown
  bool own_directory = false;  // it lies in a user's own directory (disk_file.hpp)

  bool of_lines() const { return kind == Kind::lines || kind == Kind::own_lines; }
};

// Something on a node that can be compared with what is declared and be brought there. Created from attributes that the
// host has checked; what is missing or of a wrong type all the same is an error of create_resource().
class Resource {
 public:
  virtual ~Resource() = default;
  // Reads the node and changes nothing.
  virtual Result<Difference> check() = 0;
  // Brings the node from what `found` says to what is declared. Called only when something differs; check() is asked
  // again afterwards.
  virtual Status apply(const Difference& found) = 0;
  // After a check: why the node must be rebooted before what is declared (as it is, or once it is applied) is also what
  // runs. Empty: no need.
  virtual std::string reboot_reason() const { return {}; }
  // The file that apply() writes and that a service may have read before; empty: none.
  virtual std::string written_path() const { return {}; }
  // After one of restart_on changed: does what that means and says it in a change. Nothing for most types.
  virtual bool restartable() const { return false; }
  // True when what runs was started before the file was last written, as after a run that was cut between the two.
  virtual bool started_before(const std::string& path) const { (void)path; return false; }
  virtual Status restart() { return ok(); }

  // For undoing. After a check, the places that apply() writes to.
  virtual std::vector<Place> places() const { return {}; }
  // How everything else is that apply() changes, as an object of texts; needs no check. Members that begin with '~' are for
  // the resource to know afterwards: they are neither compared nor put back.
  virtual Result<json::Value> snapshot() { return json::Value(json::Object{}); }
  // Brings the members of `before` (those of a snapshot that are to be put back) to what they were. Called before the places
  // are put back. Errors: undo_impossible where that can never be, else what stands in the way.
  virtual Status restore(const json::Value& before) { (void)before; return ok(); }
  // Why restore() can never bring this back; empty: it can. Changes nothing.
  virtual std::string cannot_restore(const json::Value& before) const { (void)before; return {}; }
  // After the places were put back: what makes that known to the system. `before` is the whole snapshot.
  virtual Status settle(const json::Value& before) { (void)before; return ok(); }
  // Why the node must be rebooted before what was put back is also what runs. Empty: no need.
  virtual std::string reboot_after_undo(const json::Value& before) const { (void)before; return {}; }
};

Result<std::unique_ptr<Resource>> create_resource(std::string_view type, const json::Value& attributes,
                                                  const ResourceContext&);

// One for each row of the table in resource.cpp.
using MakeResource = std::unique_ptr<Resource>(const json::Value& attributes, const ResourceContext&);
MakeResource make_package, make_file, make_directory, make_service, make_sysctl, make_user, make_command;
MakeResource make_group, make_line, make_sudoers, make_ssh_key;
MakeResource make_limits, make_hostname, make_timezone;
MakeResource make_kernel_module, make_kernel_argument, make_hugepages, make_drop_in, make_mount, make_swap;
MakeResource make_repository, make_assertion, make_firewall, make_archive, make_raid0;

// A list of strings, or one string as a list of one; numbers and booleans in it as JSON writes them.
std::vector<std::string> string_list(const json::Value&);
// A string, a whole number or a boolean as text.
std::string scalar_text(const json::Value&);
// The error for a system call that failed: the code says whether it was rights, space, a read-only file system,
// something in the way, or the disk.
Diagnostic system_failure(int error_number, std::string_view doing, std::string_view path);
// The error for a child process that did not do its work, with its last words, under `code` unless it never started,
// took too long or lacked rights.
Diagnostic process_failure(Code code, std::string_view doing, const ProcessResult&);
// True when what a program said means that it may not do this.
bool says_no_rights(const ProcessResult&);

}  // namespace kfab::agent
