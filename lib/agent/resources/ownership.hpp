#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "agent/resources/resource.hpp"

namespace kfab::agent {

// Owner, group and mode as attributes declare them; what is not declared is left alone.
struct Ownership {
  std::optional<uid_t> owner;
  std::optional<gid_t> group;
  std::optional<mode_t> mode;
};

// Reads the attributes owner, group and mode; names are asked of getent, so that a hanging directory service costs a
// bounded time. Errors: owner_unknown.
Result<Ownership> read_ownership(const json::Value& attributes, const ResourceContext&);

// What differs between a node's file and what is declared; a link has no mode of its own.
std::vector<Change> ownership_changes(const Ownership&, const struct stat&);

// Sets owner, group and mode of an open file or directory.
Status set_ownership(int fd, const Ownership&, std::string_view path);

std::string octal(mode_t);

}  // namespace kfab::agent
