#pragma once

#include <optional>
#include <string>
#include <vector>

#include "commands/provision.hpp"

// `kfab undo`: takes back what roles changed on nodes, from what the nodes themselves wrote down when they were provisioned.
namespace kfab::commands {

struct UndoOptions {
  SiteOptions site;
  std::vector<std::string> roles;   // at least one; each in the manifest, in a profile or not
  bool check = false;               // only say what would be undone
  double timeout_s = 3600;          // of one node
  bool unattended = false;          // without a review (--yes)
  bool show_review = false;         // write the review to `out` before asking: the output is for people
  std::optional<Resumable> resumed{};   // what this run goes on with: only what that left (resume.hpp)
};

// The result is that of provision (ProvisionResult), whose changes lead back. Each node is asked, what would be undone is shown,
// and once that is agreed to it is undone where there is anything; unattended in one go, each node over one connection. A
// resource that is not as kfab left it is refused and left as it is, the others go on. Nodes on which anything was undone are not provisioned any
// more: their record says so.
CommandOutput run_undo(const UndoOptions&, Env&);

}  // namespace kfab::commands
