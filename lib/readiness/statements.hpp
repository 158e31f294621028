#pragma once

#include "readiness/readiness.hpp"

namespace kfab::readiness {

// Every statement of the document that carries a figure, a date or a source, and what is unknown in it. Appends to
// facts and unknowns; `prefix` stands before each subject ("ulsan: ") and may be empty.
void read_statements(const manifest::Site&, const std::string& prefix, Readiness&);
void read_statements(const manifest::Program&, Readiness&);

}  // namespace kfab::readiness
