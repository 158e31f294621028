#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/diagnostic.hpp"
#include "json/value.hpp"
#include "manifest/model.hpp"
#include "provision/secrets.hpp"
#include "provision/template.hpp"

namespace kfab::provision {

// What only so many nodes may do at the same time. A node waits for its turn before it changes the first of the resources
// that have this name, and gives it back after the last of them.
struct Turn {
  std::string name;         // a role, or "role/id"
  std::size_t limit = 0;    // nodes
};

// One resource of one node, with nothing left open: the id is "role/id", templates are expanded, what it waits for
// are ids of the same node.
struct DesiredResource {
  std::string id;
  std::string type;
  json::Value attributes;
  std::vector<std::string> after;
  std::vector<std::string> restart_on;
  std::vector<Turn> turns{};   // its role's before its own: all nodes ask in one order, so that none waits for another in a circle
};

// What a node shall be, in the order in which it is brought there.
struct DesiredState {
  std::string node;
  std::vector<DesiredResource> resources;
  std::string sha256;   // of the canonical JSON of the resources: equal states have equal digests; where secrets stand in
                        // them it holds for their declarations, until seal()
  std::set<std::string> secrets{};   // ids of those that stand in it (secrets.hpp); the resources hold their marks
};

enum class Mode { plan, apply };

// The variables that a node's templates see, weakest first: the role's defaults, the profile's, the group's and the
// node's own (Node::vars holds both), and the names that kfab gives: node.name node.address node.rack node.slot
// node.serial node.group site.name tranche.name profile.name, and facts.* where the node's facts are known. Secrets are
// their marks. What the node tells of itself has no control characters left.
Variables variables_of(const manifest::Site&, const manifest::Node&, const manifest::Role&, const json::Value& facts = {});

// Whether any role asks for facts.*, so that they must be looked up.
bool asks_for_facts(const manifest::Site&);

// The roles of the node's profile, in order, as one desired state. A role's resources come after those of the roles
// before it; inside a role the order of declaration holds unless `after` or `restart_on` ask for another. Everything
// that is wrong is told at once, and no state is returned then: unknown profile or role, undefined template names
// (with the resource's place in the manifest and line and column in the template), values that do not fit their
// attribute after expansion, secrets anywhere but in a content that can be kept sensitive, ids used twice, `after` naming nothing, cycles. A profile without roles gives an empty
// state. Pure: no file is read; `source:` of a file resource has been read into `content` by the manifest loader.
struct DesiredStateResult {
  std::optional<DesiredState> state;
  Diagnostics diagnostics;
};
DesiredStateResult desired_state(const manifest::Site&, const manifest::Node&, const json::Value& facts = {});

// Makes the digest of a state hold for the values of its secrets too, so that a changed one is a changed state.
void seal(DesiredState&, const SecretValues&);

// resources[{id, type, attributes, after[], restart_on[]}]: what a state's digest is made of. With the pace it also has, of
// resources that have any, turns[{name, limit}]: how a state is come by is no part of what it is.
enum class WithPace : bool { no, yes };
json::Array resources_json(const DesiredState&, WithPace = WithPace::no);

// The digest of what the manifest declares, whether it was sealed since or not: who has no secrets can work it out as well.
std::string declared_sha256(const DesiredState&);

// The limits of the turns that the resources of these states ask for, by name; the smallest where they differ.
std::map<std::string, std::size_t> turn_limits(const std::vector<DesiredState>&);

// The members of the agent's request for task "provision" beside those of agent::request_header:
// mode, desired_sha256, resources[{id, type, attributes, after[], restart_on[], turns[]}]. The secrets are put in here.
json::Object agent_request(const DesiredState&, Mode, const SecretValues& = {});

}  // namespace kfab::provision
