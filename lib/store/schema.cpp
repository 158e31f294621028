#include "store/schema.hpp"

#include <array>

#include <fmt/format.h>

#include "base/codes/store.hpp"
#include "base/text.hpp"
#include "store/database.hpp"

namespace kfab::store {
namespace {

// Step n brings a database of version n to n + 1. Never changed once released: databases out there went through it.
// Times are milliseconds since 1970 in UTC. The records are only ever inserted; newest_* are an index over them that
// says which one counts today and can be made again from them.
constexpr std::array<const char*, 4> steps{R"sql(
CREATE TABLE runs (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, command TEXT NOT NULL, argv TEXT NOT NULL, site TEXT NOT NULL,
  manifest_sha256 TEXT NOT NULL, who TEXT NOT NULL, kfab_version TEXT NOT NULL, started_at INTEGER NOT NULL) STRICT;
CREATE TABLE run_ends (
  run INTEGER PRIMARY KEY REFERENCES runs, outcome TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE TABLE events (
  seq INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs, at INTEGER NOT NULL, type TEXT NOT NULL, node TEXT NOT NULL,
  step TEXT NOT NULL, message TEXT NOT NULL, outcome TEXT NOT NULL, done REAL, total REAL) STRICT;
CREATE INDEX events_of_run ON events(run);

CREATE TABLE node_records (
  seq INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs, node TEXT NOT NULL, board_serial TEXT NOT NULL,
  step TEXT NOT NULL, at INTEGER NOT NULL, outcome TEXT NOT NULL, verdict TEXT NOT NULL, reason TEXT NOT NULL,
  summary TEXT NOT NULL) STRICT;
CREATE INDEX node_records_of_run ON node_records(run, step, node);
CREATE TABLE node_details (
  record INTEGER PRIMARY KEY REFERENCES node_records, document TEXT NOT NULL) STRICT;
CREATE TABLE accelerator_records (
  seq INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs, node TEXT NOT NULL, id TEXT NOT NULL, device TEXT NOT NULL,
  model TEXT NOT NULL, place INTEGER NOT NULL, at INTEGER NOT NULL, verdict TEXT NOT NULL, reason TEXT NOT NULL,
  level TEXT NOT NULL, criteria TEXT NOT NULL, criteria_sha256 TEXT NOT NULL, profile_sha256 TEXT NOT NULL) STRICT;
CREATE TABLE measurement_records (
  seq INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs, node TEXT NOT NULL, accelerator TEXT NOT NULL,
  device TEXT NOT NULL, test TEXT NOT NULL, metric TEXT NOT NULL, unit TEXT NOT NULL, value REAL, at INTEGER NOT NULL,
  verdict TEXT NOT NULL, criterion TEXT NOT NULL, bound REAL, detail TEXT NOT NULL) STRICT;
CREATE INDEX measurements_of_node ON measurement_records(run, node);
-- Holds all that a reader of powers needs: fetching the rows would touch every page of all figures.
CREATE INDEX powers_of_node ON measurement_records(
  run, node, accelerator, device, test, metric, unit, value, at, verdict, criterion, bound, detail) WHERE unit = 'w';

CREATE TABLE newest_nodes (
  site TEXT NOT NULL, node TEXT NOT NULL, step TEXT NOT NULL, at INTEGER NOT NULL, record INTEGER NOT NULL,
  PRIMARY KEY (site, node, step)) STRICT, WITHOUT ROWID;
CREATE TABLE newest_accelerators (
  site TEXT NOT NULL, node TEXT NOT NULL, id TEXT NOT NULL, device TEXT NOT NULL, level TEXT NOT NULL,
  judged INTEGER NOT NULL, at INTEGER NOT NULL, record INTEGER NOT NULL,
  PRIMARY KEY (site, node, id, device, level, judged)) STRICT, WITHOUT ROWID;
)sql",
R"sql(
CREATE TABLE locks (
  seq INTEGER PRIMARY KEY, site TEXT NOT NULL, scope TEXT NOT NULL, owner TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
  process TEXT NOT NULL, run TEXT NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL, expires_at INTEGER) STRICT;
CREATE INDEX locks_of_site ON locks(site);
CREATE TABLE lock_ends (
  lock INTEGER PRIMARY KEY REFERENCES locks, how TEXT NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE TABLE run_work (
  run INTEGER PRIMARY KEY REFERENCES runs, document TEXT NOT NULL) STRICT;
)sql",
R"sql(
CREATE TABLE run_links (
  run INTEGER PRIMARY KEY REFERENCES runs, continues INTEGER NOT NULL REFERENCES runs) STRICT;
CREATE INDEX links_to_run ON run_links(continues);
)sql",
// What a reader of accelerators' links needs, as powers_of_node holds the powers.
R"sql(
CREATE INDEX links_of_node ON measurement_records(run, node, accelerator, metric, value, at, verdict)
  WHERE metric IN ('health.nvlinks_active', 'health.nvlinks_down', 'health.fabric_incomplete', 'health.fabric_unhealthy')
     OR (criterion <> '' AND metric GLOB 'bandwidth.device_to_device_memcpy_*');
)sql"};

}  // namespace

Status migrate(Database& db, const std::string& name) {
  const auto version = static_cast<std::int64_t>(steps.size());
  // The version of the file; an error when it is not ours or too new. Nothing is written before this was looked at.
  const auto read_version = [&]() -> Result<std::int64_t> {
    KFAB_TRY(found, db.pragma("PRAGMA user_version"));
    KFAB_TRY(tables, db.pragma("SELECT count(*) FROM sqlite_schema"));
    KFAB_TRY(id, db.pragma("PRAGMA application_id"));
    if ((found != 0 || tables != 0) && id != application_id)
      return error(code::store_damaged, fmt::format("{} is a database of another program", one_line(name, 160)));
    if (found > version)
      return error(code::store_newer, fmt::format("{} has schema {}, this kfab knows up to {}", one_line(name, 160), found, version));
    return found;
  };
  KFAB_TRY(before, read_version());
  KFAB_TRY_VOID(db.use_write_ahead_log());
  if (before == version) return ok();
  KFAB_TRY(transaction, Transaction::begin(db));
  KFAB_TRY(from, read_version());   // another process may have been quicker
  for (auto step = static_cast<std::size_t>(from); step < steps.size(); ++step) KFAB_TRY_VOID(db.execute(steps[step]));
  KFAB_TRY_VOID(db.execute(fmt::format("PRAGMA user_version = {}; PRAGMA application_id = {}", version, application_id).c_str()));
  return transaction->commit();
}

}  // namespace kfab::store
