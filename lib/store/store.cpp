#include "store/store.hpp"

#include <algorithm>
#include <system_error>

#include <fmt/format.h>

#include "base/codes/store.hpp"
#include "base/text.hpp"
#include "store/rows.hpp"
#include "store/schema.hpp"
#include "store/store_impl.hpp"

namespace kfab::store {
namespace {

constexpr std::size_t most_pending_events = 200;

Diagnostic no_such_run(std::string_view id) { return error(code::unknown_run, fmt::format("there is no run \"{}\"", one_line(id, 60))); }

std::string to_text(const std::vector<std::string>& words) {
  json::Array array;
  for (const auto& word : words) array.emplace_back(word);
  return json::dump(array);
}

RunRecord read_run(const Statement& row) {
  RunRecord run;
  run.id = row.text(0);
  run.command = row.text(1);
  const auto argv = read_document(row.text(2));
  if (const auto* words = argv.as_array())
    for (const auto& word : *words)
      if (const auto* text = word.as_string()) run.argv.push_back(*text);
  run.site = row.text(3);
  run.manifest_sha256 = row.text(4);
  run.who = row.text(5);
  run.kfab_version = row.text(6);
  run.started_at = from_ms(row.integer(7));
  if (const auto at = row.optional_integer(8)) {
    run.finished_at = from_ms(*at);
    run.outcome = read_outcome(row.text(9));
  }
  return run;
}

#define KFAB_RUN_COLUMNS                                                                                         \
  "SELECT r.id, r.command, r.argv, r.site, r.manifest_sha256, r.who, r.kfab_version, r.started_at, e.at, e.outcome " \
  "FROM runs r LEFT JOIN run_ends e ON e.run = r.seq "

}  // namespace

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Store::~Store() { (void)flush(); }   // events only; whoever must know calls flush

Result<std::unique_ptr<Store>> Store::open(const std::filesystem::path& dir, const std::string& site) {
  std::error_code problem;
  const bool made = std::filesystem::create_directories(dir, problem);
  if (problem)
    return error(problem == std::errc::no_space_on_device ? code::store_full : code::store_unwritable,
                 fmt::format("cannot make the directory {}: {}", one_line(dir.string(), 160), problem.message()));
  if (made) std::filesystem::permissions(dir, std::filesystem::perms::owner_all, problem);
  return of_file(dir / "kfab.db", site);
}

Result<std::unique_ptr<Store>> Store::empty(const std::string& site) { return of_file(":memory:", site); }

Result<std::unique_ptr<Store>> Store::of_file(const std::filesystem::path& file, const std::string& site) {
  auto impl = std::make_unique<Impl>();
  KFAB_TRY(db, Database::open(file));
  KFAB_TRY_VOID(migrate(*db, file.string()));
  impl->db = std::move(db);
  impl->site = site;
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

Status Store::begin_run(const RunRecord& run, std::string_view continues) {
  std::optional<std::int64_t> before;
  if (!continues.empty()) {
    KFAB_TRY(found, impl_->find_run(continues));
    before = found.seq;
  }
  KFAB_TRY(transaction, Transaction::begin(*impl_->db));
  KFAB_TRY(insert, impl_->db->prepare("INSERT INTO runs(id, command, argv, site, manifest_sha256, who, kfab_version, started_at) "
                                      "VALUES(?, ?, ?, ?, ?, ?, ?, ?)"));
  insert->bind(run.id).bind(run.command).bind(to_text(run.argv)).bind(run.site.empty() ? impl_->site : run.site);
  insert->bind(run.manifest_sha256).bind(run.who).bind(run.kfab_version).bind(to_ms(run.started_at));
  KFAB_TRY_VOID(insert->run());
  if (before) {
    const std::int64_t seq = impl_->db->last_rowid();
    KFAB_TRY(link, impl_->db->prepare("INSERT INTO run_links(run, continues) VALUES(?, ?)"));
    KFAB_TRY_VOID(link->bind(seq).bind(*before).run());
  }
  return transaction->commit();
}

Status Store::finish_run(std::string_view run_id, Outcome outcome, Timestamp at) {
  KFAB_TRY(run, impl_->find_run(run_id));
  KFAB_TRY(transaction, Transaction::begin(*impl_->db));
  KFAB_TRY_VOID(impl_->insert_events());
  KFAB_TRY(insert, impl_->db->prepare("INSERT INTO run_ends(run, outcome, at) VALUES(?, ?, ?)"));
  KFAB_TRY_VOID(insert->bind(run.seq).bind(to_string(outcome)).bind(to_ms(at)).run());
  KFAB_TRY_VOID(transaction->commit());
  impl_->pending.clear();
  return ok();
}

Status Store::append_event(std::string_view run_id, const Event& event, Timestamp at) {
  KFAB_TRY(run, impl_->find_run(run_id));
  impl_->pending.push_back({run.seq, {at, event}});
  if (impl_->pending.size() < most_pending_events) return ok();
  Status written = flush();
  // Where the disk stays full the story is lost before the memory is.
  if (!written && impl_->pending.size() > 50 * most_pending_events) impl_->pending.clear();
  return written;
}

Status Store::flush() {
  if (impl_->pending.empty()) return ok();
  return put(Findings{});
}

Status Store::put(const Findings& found) {
  KFAB_TRY(transaction, Transaction::begin(*impl_->db));
  KFAB_TRY_VOID(impl_->insert_events());
  const auto insert_all = [&](const auto& records) -> Status {
    for (const auto& record : records) {
      KFAB_TRY(run, impl_->find_run(record.run_id));
      KFAB_TRY_VOID(impl_->insert(run, record));
    }
    return ok();
  };
  KFAB_TRY_VOID(insert_all(found.nodes));
  KFAB_TRY_VOID(insert_all(found.accelerators));
  KFAB_TRY_VOID(insert_all(found.measurements));
  KFAB_TRY_VOID(transaction->commit());
  impl_->pending.clear();
  return ok();
}

Status Store::put(const NodeRecord& record) { return put(Findings{{record}, {}, {}}); }
Status Store::put(const AcceleratorRecord& record) { return put(Findings{{}, {record}, {}}); }
Status Store::put(const MeasurementRecord& record) { return put(Findings{{}, {}, {record}}); }

Result<std::vector<RunRecord>> Store::runs(std::size_t limit) const {
  KFAB_TRY(select, impl_->db->prepare(KFAB_RUN_COLUMNS "ORDER BY r.started_at DESC, r.seq DESC LIMIT ?"));
  select->bind(static_cast<std::int64_t>(std::min<std::size_t>(limit, 1'000'000)));
  std::vector<RunRecord> out;
  for (;;) {
    KFAB_TRY(row, select->next());
    if (!row) return out;
    out.push_back(read_run(*select));
  }
}

Result<RunRecord> Store::run(std::string_view run_id) const {
  KFAB_TRY(select, impl_->db->prepare(KFAB_RUN_COLUMNS "WHERE r.id = ?"));
  KFAB_TRY(row, select->bind(run_id).next());
  if (!row) return no_such_run(run_id);
  RunRecord found = read_run(*select);
  select->reset();
  return found;
}

Result<RunLinks> Store::links(std::string_view run_id) const {
  KFAB_TRY(run, impl_->find_run(run_id));
  RunLinks links;
  const auto read = [&](Statement& select, std::string& id) -> Status {
    KFAB_TRY(row, select.bind(run.seq).next());
    if (row) id = select.text(0);
    select.reset();
    return ok();
  };
  KFAB_TRY(before, impl_->db->prepare("SELECT r.id FROM run_links l JOIN runs r ON r.seq = l.continues WHERE l.run = ?"));
  KFAB_TRY_VOID(read(*before, links.continues));
  KFAB_TRY(after, impl_->db->prepare("SELECT r.id FROM run_links l JOIN runs r ON r.seq = l.run WHERE l.continues = ? ORDER BY l.run DESC LIMIT 1"));
  KFAB_TRY_VOID(read(*after, links.continued_by));
  return links;
}

Result<std::vector<std::string>> Store::chain(std::string_view run_id) const {
  KFAB_TRY(start, links(run_id));
  // A link leads to an older run, always, so that both ways have an end.
  std::vector<std::string> out{std::string(run_id)};
  for (std::string before = start.continues; !before.empty();) {
    out.insert(out.begin(), before);
    KFAB_TRY(one, links(before));
    before = std::move(one.continues);
  }
  for (std::string after = start.continued_by; !after.empty();) {
    out.push_back(after);
    KFAB_TRY(one, links(after));
    after = std::move(one.continued_by);
  }
  return out;
}

Result<std::vector<StoredEvent>> Store::events(std::string_view run_id) const {
  KFAB_TRY(run, impl_->find_run(run_id));
  KFAB_TRY(select, impl_->db->prepare("SELECT at, type, node, step, message, outcome, done, total FROM events WHERE run = ? ORDER BY seq"));
  select->bind(run.seq);
  std::vector<StoredEvent> out;
  for (;;) {
    KFAB_TRY(row, select->next());
    if (!row) return out;
    out.push_back({from_ms(select->integer(0)), Event{select->text(1), select->text(2), select->text(3), select->text(4),
                                                      select->text(5), select->number(6), select->number(7)}});
  }
}

Result<std::vector<std::string>> Store::nodes_done(std::string_view run_id, std::string_view step) const {
  KFAB_TRY(run, impl_->find_run(run_id));
  KFAB_TRY(select, impl_->db->prepare("SELECT DISTINCT node FROM node_records WHERE run = ?1 AND (?2 = '' OR step = ?2) ORDER BY node"));
  select->bind(run.seq).bind(step);
  std::vector<std::string> out;
  for (;;) {
    KFAB_TRY(row, select->next());
    if (!row) return out;
    out.push_back(select->text(0));
  }
}

Result<Evidence> Store::evidence(std::string_view site, std::optional<Timestamp> as_of, EvidenceScope scope) const {
  // One read transaction, so that the parts are of one moment while another process writes.
  KFAB_TRY_VOID(impl_->db->execute("BEGIN"));
  struct End { Database& db; ~End() { (void)db.execute("COMMIT"); } } end{*impl_->db};
  Evidence evidence;
  KFAB_TRY(nodes, impl_->nodes(site, as_of, scope.full_details));
  evidence.nodes = std::move(nodes);
  KFAB_TRY(accelerators, impl_->accelerators(site, as_of));
  evidence.accelerators = std::move(accelerators);
  if (scope.figures != EvidenceScope::Figures::none) {
    KFAB_TRY(figures, impl_->figures(evidence.accelerators, scope.figures == EvidenceScope::Figures::power));
    evidence.measurements = std::move(figures);
    KFAB_TRY(links, impl_->links(evidence.accelerators));
    evidence.links = std::move(links);
  }
  return evidence;
}

Result<Store::Impl::Run> Store::Impl::find_run(std::string_view id) {
  if (const auto known = runs_by_id_.find(id); known != runs_by_id_.end()) return known->second;
  KFAB_TRY(select, db->prepare("SELECT seq, site FROM runs WHERE id = ?"));
  KFAB_TRY(row, select->bind(id).next());
  if (!row) return no_such_run(id);
  Run run{select->integer(0), select->text(1)};
  select->reset();
  runs_by_id_.emplace(std::string(id), run);
  return run;
}

Result<std::string> Store::Impl::run_id(std::int64_t seq) {
  if (const auto known = ids_by_run_.find(seq); known != ids_by_run_.end()) return known->second;
  KFAB_TRY(select, db->prepare("SELECT id FROM runs WHERE seq = ?"));
  KFAB_TRY(row, select->bind(seq).next());
  std::string id = row ? select->text(0) : std::string();
  select->reset();
  ids_by_run_.emplace(seq, id);
  return id;
}

Status Store::Impl::insert_events() {
  KFAB_TRY(insert, db->prepare("INSERT INTO events(run, at, type, node, step, message, outcome, done, total) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  for (const auto& [run, stored] : pending) {
    const Event& event = stored.event;
    insert->bind(run).bind(to_ms(stored.at)).bind(event.type).bind(event.node).bind(event.step).bind(event.message);
    KFAB_TRY_VOID(insert->bind(event.outcome).bind(event.done).bind(event.total).run());
  }
  return ok();
}

Status Store::Impl::insert(const Run& run, const NodeRecord& record) {
  KFAB_TRY(insert, db->prepare("INSERT INTO node_records(run, node, board_serial, step, at, outcome, verdict, reason, summary) "
                               "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  insert->bind(run.seq).bind(record.node).bind(record.board_serial).bind(record.step).bind(to_ms(record.at));
  insert->bind(to_string(record.outcome)).bind(to_string(record.verdict)).bind(record.reason);
  const std::string document = json::dump(record.detail);
  const std::string summary = json::dump(summary_of(record.detail));
  KFAB_TRY_VOID(insert->bind(summary).run());
  const std::int64_t seq = db->last_rowid();
  if (document != summary) {   // otherwise the summary is the whole document
    KFAB_TRY(detail, db->prepare("INSERT INTO node_details(record, document) VALUES(?, ?)"));
    KFAB_TRY_VOID(detail->bind(seq).bind(document).run());
  }
  KFAB_TRY(newest, db->prepare("INSERT INTO newest_nodes(site, node, step, at, record) VALUES(?, ?, ?, ?, ?) "
                               "ON CONFLICT DO UPDATE SET at = excluded.at, record = excluded.record WHERE excluded.at >= at"));
  return newest->bind(run.site).bind(record.node).bind(record.step).bind(to_ms(record.at)).bind(seq).run();
}

Status Store::Impl::insert(const Run& run, const AcceleratorRecord& record) {
  KFAB_TRY(insert, db->prepare("INSERT INTO accelerator_records(run, node, id, device, model, place, at, verdict, reason, level, criteria, "
                               "criteria_sha256, profile_sha256) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  insert->bind(run.seq).bind(record.node).bind(record.id).bind(record.device).bind(record.model).bind(std::int64_t{record.index});
  insert->bind(to_ms(record.at)).bind(to_string(record.verdict)).bind(record.reason).bind(record.level).bind(record.criteria);
  KFAB_TRY_VOID(insert->bind(record.criteria_sha256).bind(record.profile_sha256).run());
  const std::int64_t seq = db->last_rowid();
  KFAB_TRY(newest, db->prepare("INSERT INTO newest_accelerators(site, node, id, device, level, judged, at, record) VALUES(?, ?, ?, ?, ?, ?, ?, ?) "
                               "ON CONFLICT DO UPDATE SET at = excluded.at, record = excluded.record WHERE excluded.at >= at"));
  newest->bind(run.site).bind(record.node).bind(record.id).bind(record.device).bind(record.level);
  newest->bind(std::int64_t{record.verdict != Verdict::not_judged});
  return newest->bind(to_ms(record.at)).bind(seq).run();
}

Status Store::Impl::insert(const Run& run, const MeasurementRecord& record) {
  KFAB_TRY(insert, db->prepare("INSERT INTO measurement_records(run, node, accelerator, device, test, metric, unit, value, at, verdict, "
                               "criterion, bound, detail) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  insert->bind(run.seq).bind(record.node).bind(record.accelerator_id).bind(record.device).bind(record.test).bind(record.metric);
  insert->bind(record.unit).bind(record.value).bind(to_ms(record.at)).bind(to_string(record.verdict)).bind(record.criterion);
  return insert->bind(record.limit).bind(record.detail).run();
}

}  // namespace kfab::store
