#include <algorithm>
#include <set>
#include <utility>

#include "store/rows.hpp"
#include "store/store_impl.hpp"

namespace kfab::store {
namespace {

// The newest records come from the newest_* tables, unless something is dated after the moment asked for: then they
// are found again in the history.
#define KFAB_NODE_COLUMNS \
  "SELECT r.run, r.node, r.board_serial, r.step, r.at, r.outcome, r.verdict, r.reason, r.summary, r.seq "
constexpr const char* nodes_now = KFAB_NODE_COLUMNS
    "FROM newest_nodes n JOIN node_records r ON r.seq = n.record WHERE n.site = ?1 ORDER BY n.node, n.step";
constexpr const char* nodes_then = KFAB_NODE_COLUMNS
    "FROM node_records r JOIN (SELECT seq, row_number() OVER (PARTITION BY node, step ORDER BY at DESC, seq DESC) AS nth "
    "FROM node_records WHERE at <= ?2 AND run IN (SELECT seq FROM runs WHERE site = ?1)) n ON n.seq = r.seq AND n.nth = 1 "
    "ORDER BY r.node, r.step";

#define KFAB_ACCELERATOR_COLUMNS                                                                               \
  "SELECT r.run, r.node, r.id, r.device, r.model, r.place, r.at, r.verdict, r.reason, r.level, r.criteria, "    \
  "r.criteria_sha256, r.profile_sha256 "
constexpr const char* accelerators_now = KFAB_ACCELERATOR_COLUMNS
    "FROM newest_accelerators n JOIN accelerator_records r ON r.seq = n.record WHERE n.site = ?1 "
    "ORDER BY n.node, n.id, n.device, n.level, n.judged";
constexpr const char* accelerators_then = KFAB_ACCELERATOR_COLUMNS
    "FROM accelerator_records r JOIN (SELECT seq, row_number() OVER (PARTITION BY node, id, device, level, verdict = 'not_judged' ORDER BY at DESC, seq DESC) AS nth "
    "FROM accelerator_records WHERE at <= ?2 AND run IN (SELECT seq FROM runs WHERE site = ?1)) n ON n.seq = r.seq AND n.nth = 1 "
    "ORDER BY r.node, r.id, r.device, r.level, r.verdict <> 'not_judged'";

#define KFAB_FIGURE_COLUMNS \
  "SELECT accelerator, device, test, metric, unit, value, at, verdict, criterion, bound, detail FROM measurement_records "
constexpr const char* figures_of_node = KFAB_FIGURE_COLUMNS "WHERE run = ? AND node = ? ORDER BY seq";
constexpr const char* powers_of_node = KFAB_FIGURE_COLUMNS "INDEXED BY powers_of_node WHERE run = ? AND node = ? AND unit = 'w'";
// The condition is that of the index, word for word: only then it may be used.
constexpr const char* links_of_node =
    "SELECT accelerator, max(at), max(metric = 'health.nvlinks_active'), min(CASE metric WHEN 'health.nvlinks_active' THEN value END), "
    "max(CASE metric WHEN 'health.nvlinks_down' THEN value END), max(CASE metric WHEN 'health.fabric_incomplete' THEN value END), "
    "max(CASE metric WHEN 'health.fabric_unhealthy' THEN value END), sum(metric GLOB 'bandwidth.*'), "
    "sum(metric GLOB 'bandwidth.*' AND verdict <> 'pass') FROM measurement_records INDEXED BY links_of_node WHERE run = ? AND node = ? AND "
    "(metric IN ('health.nvlinks_active', 'health.nvlinks_down', 'health.fabric_incomplete', 'health.fabric_unhealthy') "
    "OR (criterion <> '' AND metric GLOB 'bandwidth.device_to_device_memcpy_*')) GROUP BY accelerator";

}  // namespace

Result<bool> Store::Impl::has_later(const char* sql, std::string_view wanted_site, Timestamp as_of) {
  KFAB_TRY(select, db->prepare(sql));
  KFAB_TRY(row, select->bind(wanted_site).bind(to_ms(as_of)).next());
  const bool later = row && select->integer(0) != 0;
  select->reset();
  return later;
}

Result<std::vector<NodeRecord>> Store::Impl::nodes(std::string_view wanted, std::optional<Timestamp> as_of, bool full_details) {
  bool then = false;
  if (as_of) {
    KFAB_TRY(later, has_later("SELECT EXISTS(SELECT 1 FROM newest_nodes WHERE site = ? AND at > ?)", wanted, *as_of));
    then = later;
  }
  KFAB_TRY(select, db->prepare(then ? nodes_then : nodes_now));
  select->bind(wanted);
  if (then) select->bind(to_ms(*as_of));
  KFAB_TRY(detail, db->prepare("SELECT document FROM node_details WHERE record = ?"));
  std::vector<NodeRecord> out;
  for (;;) {
    KFAB_TRY(row, select->next());
    if (!row) return out;
    NodeRecord& record = out.emplace_back();
    KFAB_TRY(id, run_id(select->integer(0)));
    record.run_id = std::move(id);
    record.node = select->text(1);
    record.board_serial = select->text(2);
    record.step = select->text(3);
    record.at = from_ms(select->integer(4));
    record.outcome = read_node_outcome(select->text(5));
    record.verdict = read_verdict(select->text(6));
    record.reason = select->text(7);
    bool whole = false;
    if (full_details) {
      KFAB_TRY(found, detail->bind(select->integer(9)).next());
      whole = found;
      if (found) record.detail = read_document(detail->text(0));
      detail->reset();
    }
    if (!whole) record.detail = read_document(select->text(8));
  }
}

Result<std::vector<AcceleratorRecord>> Store::Impl::accelerators(std::string_view wanted, std::optional<Timestamp> as_of) {
  bool then = false;
  if (as_of) {
    KFAB_TRY(later, has_later("SELECT EXISTS(SELECT 1 FROM newest_accelerators WHERE site = ? AND at > ?)", wanted, *as_of));
    then = later;
  }
  KFAB_TRY(select, db->prepare(then ? accelerators_then : accelerators_now));
  select->bind(wanted);
  if (then) select->bind(to_ms(*as_of));
  std::vector<AcceleratorRecord> out;
  for (;;) {
    KFAB_TRY(row, select->next());
    if (!row) return out;
    AcceleratorRecord& record = out.emplace_back();
    KFAB_TRY(id, run_id(select->integer(0)));
    record.run_id = std::move(id);
    record.node = select->text(1);
    record.id = select->text(2);
    record.device = select->text(3);
    record.model = select->text(4);
    record.index = static_cast<int>(select->integer(5));
    record.at = from_ms(select->integer(6));
    record.verdict = read_verdict(select->text(7));
    record.reason = select->text(8);
    record.level = select->text(9);
    record.criteria = select->text(10);
    record.criteria_sha256 = select->text(11);
    record.profile_sha256 = select->text(12);
  }
}

Status Store::Impl::each_tested(const std::vector<AcceleratorRecord>& kept, const std::function<Status(std::string_view run, std::int64_t seq, const std::string& node, const WantedIds&)>& read) {
  // The accelerators come sorted by node; of each node, the runs that its records are from and what they are about.
  for (auto begin = kept.begin(); begin != kept.end();) {
    const auto end = std::find_if(begin, kept.end(), [&](const AcceleratorRecord& other) { return other.node != begin->node; });
    std::set<std::string_view> runs;
    WantedIds wanted;
    for (auto record = begin; record != end; ++record) {
      runs.insert(record->run_id);
      wanted.emplace(record->run_id, record->id);
    }
    for (const std::string_view id : runs) {
      KFAB_TRY(run, find_run(id));
      KFAB_TRY_VOID(read(id, run.seq, begin->node, wanted));
    }
    begin = end;
  }
  return ok();
}

Result<std::vector<MeasurementRecord>> Store::Impl::figures(const std::vector<AcceleratorRecord>& kept, bool power_only) {
  std::vector<MeasurementRecord> out;
  KFAB_TRY(select, db->prepare(power_only ? powers_of_node : figures_of_node));
  KFAB_TRY_VOID(each_tested(kept, [&](std::string_view id, std::int64_t run, const std::string& node, const WantedIds& wanted) -> Status {
    select->bind(run).bind(node);
    for (;;) {
      KFAB_TRY(row, select->next());
      if (!row) return ok();
      std::string accelerator = select->text(0);
      if (!accelerator.empty() && !wanted.contains({id, accelerator})) continue;
      MeasurementRecord& record = out.emplace_back();
      record.run_id = id;
      record.node = node;
      record.accelerator_id = std::move(accelerator);
      record.device = select->text(1);
      record.test = select->text(2);
      record.metric = select->text(3);
      record.unit = select->text(4);
      record.value = select->number(5);
      record.at = from_ms(select->integer(6));
      record.verdict = read_verdict(select->text(7));
      record.criterion = select->text(8);
      record.limit = select->number(9);
      record.detail = select->text(10);
    }
  }));
  return out;
}

Result<std::vector<LinkRecord>> Store::Impl::links(const std::vector<AcceleratorRecord>& kept) {
  std::vector<LinkRecord> out;
  KFAB_TRY(select, db->prepare(links_of_node));
  KFAB_TRY_VOID(each_tested(kept, [&](std::string_view id, std::int64_t run, const std::string& node, const WantedIds& wanted) -> Status {
    select->bind(run).bind(node);
    for (;;) {
      KFAB_TRY(row, select->next());
      if (!row) return ok();
      std::string accelerator = select->text(0);
      if (!wanted.contains({id, accelerator})) continue;
      LinkRecord& record = out.emplace_back();
      record.run_id = id;
      record.node = node;
      record.accelerator_id = std::move(accelerator);
      record.at = from_ms(select->integer(1));
      record.looked_at = select->integer(2) != 0;
      record.active = select->number(3);
      record.down = select->number(4);
      record.fabric_incomplete = select->number(5);
      record.fabric_unhealthy = select->number(6);
      record.copies_judged = static_cast<int>(select->integer(7));
      record.copies_short = static_cast<int>(select->integer(8));
    }
  }));
  return out;
}

Result<std::optional<NodeRecord>> Store::node_record(std::string_view run_id, std::string_view site, std::string_view node, std::string_view step) const {
  std::int64_t run = 0;
  if (!run_id.empty()) {
    KFAB_TRY(found, impl_->find_run(run_id));
    run = found.seq;
  }
  KFAB_TRY(select, impl_->db->prepare(run_id.empty() ? KFAB_NODE_COLUMNS "FROM newest_nodes n JOIN node_records r ON r.seq = n.record WHERE n.site = ?1 AND n.node = ?2 AND n.step = ?3"
                                                     : KFAB_NODE_COLUMNS "FROM node_records r WHERE r.run = ?1 AND r.node = ?2 AND r.step = ?3 ORDER BY r.seq DESC LIMIT 1"));
  if (run_id.empty()) select->bind(site);
  else select->bind(run);
  select->bind(node).bind(step);
  KFAB_TRY(row, select->next());
  if (!row) return std::optional<NodeRecord>();
  NodeRecord record;
  KFAB_TRY(id, impl_->run_id(select->integer(0)));
  record.run_id = std::move(id);
  record.node = select->text(1);
  record.board_serial = select->text(2);
  record.step = select->text(3);
  record.at = from_ms(select->integer(4));
  record.outcome = read_node_outcome(select->text(5));
  record.verdict = read_verdict(select->text(6));
  record.reason = select->text(7);
  KFAB_TRY(detail, impl_->db->prepare("SELECT document FROM node_details WHERE record = ?"));
  KFAB_TRY(whole, detail->bind(select->integer(9)).next());
  record.detail = read_document(whole ? detail->text(0) : select->text(8));
  // A statement that stands on a row holds a snapshot of the database open, and what is written meanwhile could not leave the log.
  detail->reset();
  select->reset();
  return std::optional(std::move(record));
}

}  // namespace kfab::store
