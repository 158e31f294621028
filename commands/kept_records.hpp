#pragma once

#include <memory>
#include <string>

#include "base/result.hpp"
#include "commands/env.hpp"
#include "store/store.hpp"

// The store for commands that only read it: they make neither it nor its directory.
namespace kfab::commands {

// Whether there is a store in Env::state_dir. Errors: state_dir_missing where --state names a directory that is not there, which
// would look like a new site; file_unreadable where it is no directory; store_unwritable where nobody is let in.
Result<bool> has_records(const Env&);

// The store that is there; where there is none, an empty one in memory. Errors: those of has_records and Store::open.
Result<std::unique_ptr<store::Store>> open_records(const Env&, const std::string& site = {});

// What is told where there is none: the directory that was looked in.
Diagnostic no_records(const Env&);

}  // namespace kfab::commands
