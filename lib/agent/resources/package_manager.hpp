#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/resources/resource.hpp"

namespace kfab::agent {

// What a package manager knows of one package.
struct Installed {
  std::vector<std::string> versions;   // of each that is installed, in the words that may be declared; empty: not there
  std::string shown;                   // the one to show
  bool held = false;
  bool installed() const { return !versions.empty(); }
  bool has(const std::string& version) const;
};

struct InstallOptions {
  std::string version;       // empty: any
  bool held = false;         // they may be held at another version
  bool refresh = false;      // read the lists of what there is anew before
  std::int64_t lock_timeout_s = 120;
  double timeout_s = 1800;
};

// A package of a file on the node.
struct PackageFile {
  std::string name, version;
};

// The package manager of a distribution. Errors carry codes for what an operator can do something about: the lock that
// another one holds, a package that no repository has, a full disk.
class PackageManager {
 public:
  virtual ~PackageManager() = default;
  // By the name without architecture. `holds` asks for what is held as well, which may cost another program.
  virtual Result<std::map<std::string, Installed>> query(const std::vector<std::string>& names, bool holds) const = 0;
  // Names, or paths of files on the node.
  virtual Status install(const std::vector<std::string>& what, const InstallOptions&) const = 0;
  virtual Status remove(const std::vector<std::string>& names, const InstallOptions&) const = 0;
  // Other packages that would go with these, because they need them; names only.
  virtual Result<std::vector<std::string>> would_go_too(const std::vector<std::string>& names) const = 0;
  virtual Status hold(const std::vector<std::string>& names, bool held) const = 0;
  virtual Result<PackageFile> inspect(const std::string& path) const = 0;
  virtual bool has_pins() const = 0;   // whether /etc/apt/preferences.d means something
};

std::unique_ptr<PackageManager> make_apt(const ResourceContext&);
std::unique_ptr<PackageManager> make_dnf(const ResourceContext&);

constexpr double package_query_timeout_s = 60;

// What a package manager's words mean.
struct PackageManagerSays {
  std::string_view phrase;
  Code code;
};

// Why a run of `program` failed: by the first phrase that is in what it said, else package_failed with its last words. One
// that the node does not have is package_manager_missing; what it said before it was stopped is no reason.
Diagnostic package_failure(std::string_view program, std::string_view doing, const ProcessResult&, std::span<const PackageManagerSays>);

// Names as they are given to a package manager: with the version behind `sign`, if one is declared. A file has its own.
std::vector<std::string> with_version(std::vector<std::string> what, std::string_view sign, const std::string& version);

}  // namespace kfab::agent
