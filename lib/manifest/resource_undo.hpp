#pragma once

#include <cstdint>
#include <string_view>

namespace kfab::manifest {

// What `kfab undo` does about resources of a type: the one table from which the documentation is written.
struct UndoRow {
  enum class Kind : std::uint8_t {
    restores,   // what was there before kfab comes back
    removes,    // what kfab brought goes; what it took away does not come back
    nothing,    // not undone
  };
  std::string_view type;
  Kind kind;
  std::string_view words;   // what exactly, and of what is not undone, why
};

// The row of a type; null where there is none, which a test forbids.
const UndoRow* find_undo(std::string_view type);
// "restores", "removes", "not undone".
std::string_view to_string(UndoRow::Kind);

}  // namespace kfab::manifest
