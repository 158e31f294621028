#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/resources/resource.hpp"
#include "json/value.hpp"

// The places on a disk that resources write to: what is there, and how that is put back.
namespace kfab::agent {

class UndoStore;

// How one place is: nothing, a file, a link, a directory, or something else, which is never touched.
struct PlaceState {
  std::string kind = "absent";       // absent | file | link | directory | other
  unsigned mode = 0, owner = 0, group = 0;
  std::string sha256;                // of a file's bytes, or of what tells a tree from another
  std::string link_to;
  bool kept = false;                 // the store has a copy of the bytes
  std::vector<std::string> missing;  // parents that were not there either, the outermost first

  bool same(const PlaceState&) const;   // whether nobody could tell the two apart; copies and parents do not count
  std::string words() const;            // "file, 0644, 0:0, sha256 1f2e3d4c"
  json::Value to_json() const;
  static PlaceState from_json(const json::Value&);
};

// Reads a place. With a store the bytes of a file are kept in it, unless the place says that there shall be no copies.
Result<PlaceState> look_at(const Place&, const UndoStore* keep, const NodeEnvironment&);

// What undoing does at one place.
struct PlaceUndo {
  enum class Do { nothing, put_back, refuse } what = Do::nothing;
  PlaceState to;                           // put_back: what is to be there afterwards
  std::optional<std::string> text;         // its bytes, where the store has them not: lines of others stay as they are now
  std::optional<Diagnostic> why;           // refuse
};
// `left` is how kfab left the place, if that is known; `complete` whether the last apply came to its end. What others
// changed since in a file of lines stays; anywhere else it is a reason to refuse.
PlaceUndo decide(const Place&, const PlaceState& before, const std::optional<PlaceState>& left, bool complete, const PlaceState& now, const UndoStore&);

// What is to go from the disk by the time that a directory is removed.
struct Going {
  std::set<std::string> places;    // files, links, trees and directories
  std::set<std::string> parents;   // directories that were made for them, and go as well once they are empty
  bool others_may = false;         // further files go with something else: which, cannot be told
  void add(const Place&, const PlaceState& to);   // where `to` is absent
};
// Names in a directory that will still be there then, sorted; empty where it cannot be read.
std::vector<std::string> left_in(const std::string& directory, const Going&);
// Paths of which it is known who made them, each with words about that: "of base/motd, a role that is not undone".
using KnownPaths = std::map<std::string, std::string>;
// Whether the directory at the place can be removed then. Errors: undo_in_use with what is in the way, and whose that is as far as
// it is known. `stays_mounted`: nothing is to be unmounted from it before.
Status can_be_removed(const Place&, const Going&, const KnownPaths&, bool stays_mounted, const NodeEnvironment&);
// "a, b and 3 more".
std::string named(const std::vector<std::string>& names);

// Brings the place to `to`, whose bytes the store has. What is replaced or removed is kept in the backups first.
Status put_back(const Place&, const PlaceState& to, const UndoStore&, const ResourceContext&);

// How it is shown: a change, and for text a diff.
void describe(const Place&, const PlaceState& now, const PlaceUndo&, const UndoStore&, Difference&);

// How the place was before a resource was applied anew, as far as that can be told: in a file of lines, what it is now without
// what kfab had written, or as it is now where those very lines were changed; elsewhere the first that was noted.
Result<PlaceState> before_again(const Place&, const PlaceState& before, const PlaceState& left, const PlaceState& now, const UndoStore&, const NodeEnvironment&);

}  // namespace kfab::agent
