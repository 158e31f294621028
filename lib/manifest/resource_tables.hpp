#pragma once

#include <span>
#include <string>
#include <vector>

#include "manifest/resource_types.hpp"

// The rows of the table of resource types, by area. Only resource_types.cpp puts them together.
namespace kfab::manifest {

// What is wrong between the attributes of one resource; see resource_problems().
using ResourceCheck = void (*)(const json::Value& attributes, std::vector<ResourceProblem>&);

struct ResourceRow {
  ResourceType type;
  ResourceCheck check = nullptr;   // nothing to check between the attributes
};

std::span<const ResourceRow> base_resource_rows();       // packages, files, services, users, commands
std::span<const ResourceRow> access_resource_rows();     // lines, groups, keys, sudo, limits, names
std::span<const ResourceRow> system_resource_rows();     // the kernel, boot, memory, file systems
std::span<const ResourceRow> supply_resource_rows();     // repositories, archives, arrays, the packet filter, assertions

inline bool present(const json::Value& attributes, std::string_view name) { return !attributes[name].is_null(); }
// Text that holds no template and can therefore be checked now.
inline bool is_known(const std::string& text) {
  return text.find("{{") == std::string::npos && text.find("{%") == std::string::npos;
}
// `validate`: a command with %s in it.
void check_validate(const json::Value& attributes, std::vector<ResourceProblem>&);
// True for letters, digits and the characters of `more`, and nothing else; false for nothing at all.
bool made_of(std::string_view text, std::string_view more);

}  // namespace kfab::manifest
