#pragma once

#include <string>
#include <vector>

#include "base/diagnostic.hpp"
#include "manifest/source.hpp"

namespace kfab::manifest {

// A field of a CSV file and where it stands; `begin` to `end` are bytes, quotes included.
struct CsvField {
  std::string text;
  std::uint32_t begin = 0, end = 0;
};

struct CsvTable {
  std::vector<CsvField> header;
  std::vector<std::vector<CsvField>> rows;   // each with as many fields as the header; others were reported
};

// Reads RFC 4180: commas, quotes doubled inside quotes, CRLF or LF; blank lines and lines that begin with '#' are left
// out, and blanks around a field that is not quoted are no part of it. Every bad row is one diagnostic (bad_row), and
// reading goes on with the next one. Errors of the whole: bad_csv_header when there is no header, manifest_not_text.
CsvTable parse_csv(const Source&, Diagnostics&);

}  // namespace kfab::manifest
