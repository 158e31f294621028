#pragma once

#include <string>

namespace kfab::cli {

// The resource types with their attributes, from the table by which manifests are checked.
std::string resource_list();
// The roles that are built in: what each says of itself, what it needs and its variables, from the roles themselves.
std::string role_list();

}  // namespace kfab::cli
