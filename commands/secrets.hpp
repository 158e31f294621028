#pragma once

#include <set>
#include <string>

#include "base/result.hpp"
#include "commands/env.hpp"
#include "provision/secrets.hpp"

// Reading the secrets that a manifest names, on the machine that kfab runs on.
namespace kfab::commands {

// The values of these secrets, each read once, in the order of their ids; the redactor of the environment knows every one
// before this returns. A file must be a regular file of this user's own that nobody else can read; relative paths start in the
// manifest's folder. A command is run without a shell, by PATH, with no input, for 30 s at most, and what it writes is the
// secret. One line end at the end of a file or an output is no part of it. Errors: secret_unreadable,
// secret_too_short (under 6 bytes: it could not be kept out of what is shown), neither of which tells what was read.
Result<provision::SecretValues> read_secrets(const std::set<std::string>& ids, const manifest::Site&, Env&);

}  // namespace kfab::commands
