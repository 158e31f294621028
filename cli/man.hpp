#pragma once

#include <istream>
#include <ostream>
#include <string>
#include <string_view>

#include "cli/option_table.hpp"

namespace kfab::cli {

// The pages of section 1 in scdoc's language. "kfab" takes its prose from `in` and puts the tables where a line says
// %commands%, %options%, %exit-codes%, %environment% or %topics%, and so does "kfab-roles" with %resources% and %roles%;
// "kfab-<command>" is made from the command's row alone; "list" prints the names
// of all pages. Returns an exit code: 2 for an unknown page.
int write_manual(const std::string& page, std::istream& in, std::ostream& out);

// The page of a command.
std::string command_page(const CommandSpec&);

}  // namespace kfab::cli
