#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.hpp"
#include "commands/detached.hpp"
#include "commands/resumable.hpp"
#include "store/store.hpp"

// What a run has left undone, by the store's record alone: nothing is asked of the nodes. A run that goes on with another is
// linked to it, and what the runs of such a chain have done counts together.
namespace kfab::commands {

// Whether what was kept of a node says that it is done, for that command. Tests are done when they came to their end, whatever
// they found; those that were cut are not, unless what was found until then is a failure.
bool is_done(std::string_view command, const store::NodeRecord&);

// The newest run of all, where it is not one that is gone on with unasked: tests that were watched and came to an end, or a run that
// kept nothing to go on with. One that did what it should and leaves nothing, as an inventory, is the newest only where there is
// no other.
struct PassedOver {
  store::RunRecord run;
  std::size_t nodes = 0, left = 0;   // of tests: left are those that were not tested to the end
};

struct ToResume {
  std::variant<Resumable, DetachedRun, PassedOver> what;
  std::optional<PassedOver> newer{};   // than what is gone on with; the same where nothing is
};

// Of the named run, or of the last one that can be gone on with: one of provision, reboot or tests, or one whose tests were left
// to the nodes. Where no run is named, watched tests are meant only when they were cut; where nothing is left of any, the newest
// run of all. Errors: unknown_run, nothing_to_resume (the named run kept no work, or none is recorded at all).
enum class Wanted : std::uint8_t { anything, detached_tests };   // where no run is named
Result<ToResume> find_resumable(const std::string& run, Env&, Wanted = Wanted::anything);

// What the chain of a run has left, or nothing where none of it kept what it set out to do.
Result<std::optional<Resumable>> left_of_chain(const std::string& run_id, const store::Store&);

// Of a run that kept its work: whether all of its nodes are done, or it never began with any, or did nothing but test. Then what
// it has locked is in nobody's way.
bool left_nothing(const store::Store&, const std::string& run_id);

// The nodes of a site to which tests were left that nobody has fetched, with the run that left them, the newest of each. The newest
// runs are looked at.
Result<std::map<std::string, std::string>> tests_left_to_nodes(const std::string& site, const store::Store&);

// What such a run keeps before it begins: what was typed, where, by which plan, and of each node a digest of what it is to become
// or to be tested by.
json::Value work_document(const std::vector<std::string>& argv, const std::string& plan, const std::vector<std::pair<std::string, std::string>>& nodes);
std::vector<std::pair<std::string, std::string>> nodes_of(const json::Value& work);

// The step of which a command keeps records.
std::string_view step_of(std::string_view command);
bool is_testing(std::string_view command);

}  // namespace kfab::commands
