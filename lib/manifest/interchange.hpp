#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/diagnostic.hpp"
#include "base/result.hpp"
#include "manifest/model.hpp"

// Nodes from and for the tools that a site already has. Pure: texts in, texts out. What stands in the texts is foreign: it is
// bounded, and what cannot be a name or an address here is left out and told.
namespace kfab::manifest {

enum class ImportFormat { ansible, slurm, genders, ssh_config, csv };
std::optional<ImportFormat> parse_import_format(std::string_view word);

struct ImportedNode {
  std::string name, address, bmc, rack, slot, serial, group, user;
  std::optional<int> port;
};

struct Imported {
  std::vector<ImportedNode> nodes;   // in the order of the text, each name once
  Diagnostics findings;              // import_left_out: lines and hosts that mean no node, with the line
};

// Ansible inventories as INI or YAML (hosts, children, ranges [01:50], ansible_host, ansible_port, ansible_user), slurm.conf
// (NodeName with NodeAddr), genders (rack= is the rack), OpenSSH configuration (Host without wildcards), and CSV with the
// columns of a manifest. A node of several groups is of the first. Errors: import_unreadable.
Result<Imported> import_nodes(ImportFormat, std::string_view text, const std::string& file_name);

struct ImportChoices {
  std::string profile, tranche, group = "nodes";   // what the text does not say
};

// The `nodes:` of a manifest, to be put under `spec:`.
std::string to_yaml(const Imported&, const ImportChoices&);

enum class ExportFormat { ansible, ssh_config, prometheus, slurm };
std::optional<ExportFormat> parse_export_format(std::string_view word);

// The nodes for another tool: an INI inventory with groups by group, tranche, profile and rack; Host blocks; targets for
// Prometheus' file_sd (JSON, `port` behind each address); NodeName and PartitionName lines, folded, in state DRAIN until
// they are accepted.
std::string export_nodes(ExportFormat, const Site&, const std::vector<const Node*>& nodes, int port = 9100);

}  // namespace kfab::manifest
