#pragma once

#include <string>

#include "agent/resources/resource.hpp"

namespace kfab::agent {

// Keeps a copy of the file `path` (opened in its directory, never through a link) in the node's backup directory, which
// only its owner may enter. The copy has mode 0600 and is named by the path, with '!' for '/', and by the time in UTC:
// etc!fstab.20261122T010203.000001Z. Bytes that the newest copy has already are not kept twice; of each path the last
// five stay. Errors: backup_failed, or what the disk says.
Status keep_backup(const std::string& path, int directory_fd, const NodeEnvironment&);

// The directory of the copies, and beside it that of what undoing needs (undo_store.hpp): $KFAB_RECORDS_DIR/backups; else for root
// /var/lib/kfab/backups; else ~/.local/state/kfab/backups. Empty where there is no place for one.
std::string backup_directory(const NodeEnvironment&);
// The newest copy of a path, as a path; empty where there is none.
std::string newest_backup(const std::string& path, const NodeEnvironment&);

// The part of a copy's name that stands for the path, at most 160 bytes: a longer one is cut to its end and its digest.
std::string backup_name(const std::string& path);

}  // namespace kfab::agent
