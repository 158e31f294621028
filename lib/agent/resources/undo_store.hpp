#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/resources/disk_file.hpp"
#include "agent/resources/place.hpp"
#include "agent/resources/resource.hpp"

// What a node keeps so that roles can be taken back: one record for each resource that kfab changed, and copies of the files
// that were replaced. In a directory beside the backups that only its owner may enter: records/OWNER/KEY.json, copies/SHA256.
namespace kfab::agent {

struct UndoRecord {
  std::string key, type, owner;         // owner: the site and the node, in whose name it was applied
  std::vector<std::string> ids;         // "role/id" of whoever declared it
  std::int64_t order = 0;               // later ones are undone first
  json::Value attributes;               // of the declaration, those without which it cannot be put back; never contents
  bool possible = true;                 // false: of this type nothing can be taken back
  bool undoing = false;                 // undoing it has begun: what makes it known to the system is still to be done
  bool complete = false;                // the last apply came to its end, and `left` is what it left
  struct Piece {
    Place place;
    PlaceState before;
    std::optional<PlaceState> left;
  };
  std::vector<Piece> pieces;
  json::Value before = json::Object{};  // what is not in files: Resource::snapshot()
  json::Value left = json::Object{};
  // A service that was started, or ran, while it read this as kfab had left it: putting it back restarts it.
  struct Reader {
    std::string id;                     // "role/id" of the service
    json::Value attributes;             // its name, and how long systemctl may take
    std::string name() const { return attributes.string_or("name"); }
  };
  std::vector<Reader> readers;
  bool restart = false;                 // not of a resource: what the service `attributes` reads was put back, and it is still to be restarted

  bool of_role(std::string_view role) const;
  Piece* find(const std::string& path);
};

class UndoStore {
 public:
  // What is kept in the name of `owner`. Nothing is made before something is written. Errors: undo_not_recorded where there is no
  // place for it.
  static Result<UndoStore> at(const NodeEnvironment&, const std::string& owner);

  // All of the owner's, the oldest first. What cannot be read is named in `damaged`, by path.
  Result<std::vector<UndoRecord>> load(std::vector<std::string>& damaged) const;
  Status save(const UndoRecord&, const ResourceContext&) const;   // on the disk before it returns
  Status drop(const std::string& key) const;
  bool has(const std::string& key) const;

  // Keeps bytes by their digest; a copy among the backups that has them is shared, not written again. `path`: of which file.
  Status keep(const std::string& sha256, const std::string& bytes, const std::string& path, const NodeEnvironment&) const;
  Result<std::string> copy(const std::string& sha256) const;      // undo_record_damaged where it is not what it should be
  // While it is open no sweep takes copies away for which no record stands yet.
  Result<Descriptor> hold() const;
  // Removes the copies that no record of anybody needs; not while somebody else writes.
  void sweep() const;

 private:
  UndoStore(std::string directory, std::string records) : directory_(std::move(directory)), records_(std::move(records)) {}
  Status prepare() const;
  std::string directory_, records_;
};

// What is undoable of each type: whether anything is, and which attributes a record needs.
bool can_be_undone(std::string_view type);

// Writes down what apply() is about to change and what it left. One for each run of the provision task.
class UndoTrail {
 public:
  UndoTrail(const ResourceContext& context, std::string owner) : context_(context), owner_(std::move(owner)) {}
  // Before it is applied, after a check. Without this nothing may be applied.
  Status before(const std::string& id, const std::string& type, const json::Value& attributes, Resource&);
  // After it was, whether that went well or not.
  Status after(Resource&);
  // Found as declared: a record that an earlier run was cut from finishing is finished.
  Status confirm(const std::string& type, const json::Value& attributes, Resource&);
  // Before a service is started or restarted, or where it was found running: it reads what the resources of these ids leave.
  Status read_by(const std::vector<std::string>& ids, const std::string& service_id, const json::Value& attributes);

 private:
  Status load();
  UndoRecord* find(const std::string& key);
  Status finish(UndoRecord&, Resource&);

  ResourceContext context_;
  std::string owner_;
  std::optional<UndoStore> store_;
  std::vector<UndoRecord> records_;
  std::string open_;                 // key of the one that is being applied; empty: none
};

// The record that says, until it was done, that a service is to be restarted because undoing put back what it reads.
UndoRecord restart_record(const std::string& owner, const UndoRecord::Reader&);

// Of snapshots: the members in which they differ.
std::vector<std::string> differing_members(const json::Value& a, const json::Value& b);

}  // namespace kfab::agent
