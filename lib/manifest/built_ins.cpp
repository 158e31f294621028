#include <cstddef>

#include "base/embedded.hpp"
#include "manifest/load.hpp"

// The list of the files that the build found: BUILT_IN(kind, name, symbol) for each.
#define BUILT_IN(kind, name, symbol) KFAB_EMBEDDED(symbol)
#include "manifest_built_ins.inc"
#undef BUILT_IN

namespace kfab::manifest {

std::vector<BuiltIn> built_ins() {
  return {
#define BUILT_IN(kind, name, symbol) {kind, name, embedded_##symbol()},
#include "manifest_built_ins.inc"
#undef BUILT_IN
  };
}

}  // namespace kfab::manifest
