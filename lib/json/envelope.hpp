#pragma once

#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/event.hpp"
#include "base/words.hpp"
#include "json/value.hpp"

namespace kfab::json {

// The elements of one array of a result, made one at a time: those of a whole site fill gigabytes.
struct Rows {
  std::string member;                   // of `data`, an empty array there
  std::function<void(const std::function<void(Value)>& tell)> each;   // in their order
};

// What stands around every result: the same keys on every command, also on failure.
struct Envelope {
  std::string schema;                   // "kfab.exec/1.0"
  std::string kfab_version;
  std::string run_id;
  Timestamp started_at{}, finished_at{};
  std::vector<std::string> argv;
  std::string site_name, manifest_sha256;   // empty: null
  Outcome outcome = Outcome::yes;
  int exit_code = 0;
  Value data;
  std::optional<Rows> rows{};
  Diagnostics diagnostics;
};


// As one indented document, with a final newline.
void write(std::ostream&, Envelope);

// `-o ndjson`: one JSON document per line. The first line, {"type": "hello", "schema": "kfab.events/1.0", ...}, is
// written on construction; every event follows as it happens, each flushed; finish() writes the result as the last.
class NdjsonSink final : public EventSink {
 public:
  NdjsonSink(std::ostream& out, const Clock& clock, std::string_view kfab_version, std::string_view command,
             std::string_view run_id);
  void emit(const Event&) override;
  void finish(Envelope);

 private:
  std::ostream& out_;
  const Clock& clock_;
};

}  // namespace kfab::json
