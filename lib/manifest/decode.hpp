#pragma once

#include <map>
#include <string>
#include <string_view>

#include "manifest/library.hpp"
#include "manifest/model.hpp"
#include "manifest/reader.hpp"

// From trees to the types of model.hpp, one function per type. Each reports what is wrong at its place and goes on.
namespace kfab::manifest {

// The names that the parts of one document may refer to, known before any of them is read, so that order is free.
struct Scope {
  Library& library;
  Words tranches, tenants, parties;
};
Scope scope_of(const YamlNode& root, Library&);

// Reports a reference to a name that is not among `known`; sets `out` when it is.
bool read_reference(const Cursor&, std::string_view what, const Words& known, std::string& out);

// Reports the second of two equal names in a list.
class Unique {
 public:
  explicit Unique(std::string_view what) : what_(what) {}
  void add(const Cursor& at, const std::string& name);

 private:
  std::string_view what_;
  std::map<std::string, std::size_t> lines_;
};

void read_metadata(const Cursor&, Metadata&);

// decode_parts.cpp
void read_fact(const Cursor&, Fact&);
void read_parties(Fields&, std::vector<Party>&);
void read_sovereignty(const Cursor&, Sovereignty&);
void read_security(const Cursor&, Security&);
void read_connectivity(const Cursor&, Connectivity&);
void read_ssh(const Cursor&, SshSettings&);   // over what is set already
void read_power(const Cursor&, Power&);
void read_facts(Fields&, std::vector<Fact>&);

// decode_tranches.cpp
void read_tranches(Fields&, const Scope&, std::vector<Tranche>&);
void read_tenants(Fields&, std::vector<Tenant>&);
void read_allocations(Fields&, const Scope&, bool tranche_required, std::vector<Allocation>&);
void read_pools(Fields&, const Scope&, std::vector<Pool>&);

// decode_nodes.cpp
void read_nodes(Fields&, const Scope&, Site&);

// Whole documents; `root` is the document's map.
void read_site(const Cursor& root, Library&, Site&);
void read_program(const Cursor& root, Library&, Program&);   // without its sites
void read_profile(const Cursor& root, Library&, Profile&);
void read_criteria(const Cursor& root, Library&, CriteriaSet&);
void read_role(const Cursor& root, Library&, Role&);

// checks.cpp: what only the whole document shows.
void check_tranches(const std::vector<Tranche>&, const Document&);
// `nodes`: those that the document declares; none for a programme, whose sites do.
void check_targets(const std::vector<Tranche>&, const std::map<std::string, Profile>&, const std::vector<Node>& nodes, const Document&);
void check_allocations(const std::vector<Tranche>&, const std::vector<Allocation>&, const std::map<std::string, Profile>&,
                       const Document&);
void check_program_total(const Program&, const Document&);

// One circle among `count` things, as their indices in order, for every group that has one. `before[i]` are those that
// must come before i.
std::vector<std::vector<std::size_t>> find_cycles(const std::vector<std::vector<std::size_t>>& before);

}  // namespace kfab::manifest
