#pragma once

#include "base/diagnostic.hpp"
#include "commands/site_session.hpp"
#include "manifest/load.hpp"

// Whether criteria can be judged by at all: what `kfab lint` says of them, and what no command judges by.
namespace kfab::commands {

// Mistakes in the criteria of a site, or in a document of criteria alone, which reading them does not show: figures that no test yields,
// units that a figure does not have, limits that are never missed, sets that judge nothing. Each with its place.
Diagnostics check_criteria(const manifest::Loaded&);
// The errors among them. A command that judges does not start where there is one: tests would run for hours to a verdict that cannot be.
Diagnostics criteria_errors(const manifest::Loaded&);

// open_site for commands that judge: one more thing that they do not start with is criteria with errors.
std::variant<SiteSession, CommandOutput> open_site_to_judge(const SiteOptions&, Env&);

}  // namespace kfab::commands
