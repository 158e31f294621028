#pragma once

#include <string>
#include <vector>

#include "ssh/target.hpp"

// The names of a machine, by whom it is asked.
namespace kfab::ssh {

std::string address_name(const Target&);   // its address as ssh writes it into known_hosts
std::string node_name(const Target&);      // the node's own name, in lower case
std::string shown(const Target&);          // "gpu1 ([10.0.0.1]:2222)", for messages

// By which the site's store knows a target, its own name first.
std::vector<std::string> names_of(const Target&);
// Names under which the user's own files may confirm a key but not contradict it: the node's, which the user may give to
// another machine, and the bare address, as ssh does for ports other than 22.
std::vector<std::string> vague_names_of(const Target&);
std::vector<std::string> all_names_of(const Target&);
// Whom a certificate may name: the machine's address without its port, and the node.
std::vector<std::string> certified_names_of(const Target&);

}  // namespace kfab::ssh
