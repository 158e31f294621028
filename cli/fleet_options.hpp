#pragma once

#include <string_view>
#include <vector>

#include "cli/args.hpp"
#include "cli/option_table.hpp"
#include "commands/site_session.hpp"

// The options that commands which reach nodes have in common, and how their words become a SiteOptions.
namespace kfab::cli {

// How nodes are logged in to.
std::vector<OptionSpec> reach_options();
// How the run goes over the nodes, for commands that do something on each.
std::vector<OptionSpec> pace_options(std::string_view canary_help = "start with the first N nodes, in the manifest's order, all of which must be ok before the others begin; 0 is none");
// The command's own options, then those about batches and budgets, then those about reaching nodes.
std::vector<OptionSpec> with_pace(std::vector<OptionSpec> own, std::vector<OptionSpec> pace = pace_options());
// The same for commands that start the agent.
std::vector<OptionSpec> with_agent(std::vector<OptionSpec> own, std::vector<OptionSpec> pace = pace_options());

PositionalSpec site_manifest(bool required = true);

// Of commands with reach_options(), with_pace() and with_agent().
commands::SiteOptions site_options(const Args&);
commands::SiteOptions paced_site_options(const Args&);
commands::SiteOptions agent_site_options(const Args&);

}  // namespace kfab::cli
