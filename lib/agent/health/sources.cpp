#include "agent/health/sources.hpp"

namespace kfab::agent::health {

Sources& sources() {
  static Sources all;
  return all;
}

}  // namespace kfab::agent::health
