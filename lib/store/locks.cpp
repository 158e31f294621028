#include "store/locks.hpp"

#include "store/rows.hpp"
#include "store/store.hpp"
#include "store/store_impl.hpp"

namespace kfab::store {
namespace {

#define KFAB_LOCK_COLUMNS "SELECT l.seq, l.site, l.scope, l.owner, l.host, l.pid, l.process, l.run, l.reason, l.at, l.expires_at "

LockRecord read_lock(const Statement& row) {
  LockRecord lock;
  lock.seq = row.integer(0);
  lock.site = row.text(1);
  lock.scope = row.text(2);
  lock.owner = row.text(3);
  lock.host = row.text(4);
  lock.pid = row.integer(5);
  lock.process = row.text(6);
  lock.run_id = row.text(7);
  lock.reason = row.text(8);
  lock.at = from_ms(row.integer(9));
  if (const auto at = row.optional_integer(10)) lock.expires_at = from_ms(*at);
  return lock;
}

}  // namespace

bool collide(const LockRecord& a, const LockRecord& b) {
  return a.site == b.site && (a.scope == b.scope || a.scope == whole_site || b.scope == whole_site);
}

Result<std::vector<LockRecord>> Store::locks(std::string_view site, Timestamp now) const {
  KFAB_TRY(select, impl_->db->prepare(KFAB_LOCK_COLUMNS "FROM locks l LEFT JOIN lock_ends e ON e.lock = l.seq "
                                      "WHERE l.site = ? AND e.lock IS NULL AND (l.expires_at IS NULL OR l.expires_at > ?) ORDER BY l.seq"));
  select->bind(site).bind(to_ms(now));
  std::vector<LockRecord> out;
  for (;;) {
    KFAB_TRY(row, select->next());
    if (!row) return out;
    out.push_back(read_lock(*select));
  }
}

Result<std::optional<LockRecord>> Store::take_locks(std::vector<LockRecord>& wanted, Timestamp now, const std::function<bool(const LockRecord& held)>& may_pass) {
  KFAB_TRY(transaction, Transaction::begin(*impl_->db));
  for (const auto& lock : wanted) {
    KFAB_TRY(active, locks(lock.site, now));
    for (auto& held : active)
      if (collide(held, lock) && !may_pass(held)) return std::optional(std::move(held));
  }
  for (auto& lock : wanted) {
    KFAB_TRY(insert, impl_->db->prepare("INSERT INTO locks(site, scope, owner, host, pid, process, run, reason, at, expires_at) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
    insert->bind(lock.site).bind(lock.scope).bind(lock.owner).bind(lock.host).bind(lock.pid).bind(lock.process).bind(lock.run_id).bind(lock.reason);
    const auto expires = lock.expires_at ? std::optional(to_ms(*lock.expires_at)) : std::optional<std::int64_t>();
    KFAB_TRY_VOID(insert->bind(to_ms(lock.at)).bind(expires).run());
    lock.seq = impl_->db->last_rowid();
  }
  KFAB_TRY_VOID(transaction->commit());
  return std::optional<LockRecord>();
}

Status Store::end_lock(std::int64_t seq, LockEnd how, std::string_view by, std::string_view reason, Timestamp at) {
  KFAB_TRY(insert, impl_->db->prepare("INSERT OR IGNORE INTO lock_ends(lock, how, who, reason, at) VALUES(?, ?, ?, ?, ?)"));
  return insert->bind(seq).bind(how == LockEnd::broken ? "broken" : "released").bind(by).bind(reason).bind(to_ms(at)).run();
}

Status Store::put_work(std::string_view run_id, const json::Value& document) {
  KFAB_TRY(run, impl_->find_run(run_id));
  KFAB_TRY(insert, impl_->db->prepare("INSERT INTO run_work(run, document) VALUES(?, ?)"));
  return insert->bind(run.seq).bind(json::dump(document)).run();
}

Result<json::Value> Store::work(std::string_view run_id) const {
  KFAB_TRY(run, impl_->find_run(run_id));
  KFAB_TRY(select, impl_->db->prepare("SELECT document FROM run_work WHERE run = ?"));
  KFAB_TRY(row, select->bind(run.seq).next());
  if (!row) return json::Value();
  json::Value document = read_document(select->text(0));
  select->reset();
  return document;
}

Result<std::vector<NodeRecord>> Store::node_records(std::string_view run_id, std::string_view step) const {
  KFAB_TRY(run, impl_->find_run(run_id));
  KFAB_TRY(select, impl_->db->prepare("SELECT node, board_serial, step, at, outcome, verdict, reason, summary, max(seq) FROM node_records "
                                      "WHERE run = ?1 AND step = ?2 GROUP BY node ORDER BY node"));
  select->bind(run.seq).bind(step);
  std::vector<NodeRecord> out;
  for (;;) {
    KFAB_TRY(row, select->next());
    if (!row) return out;
    NodeRecord record;
    record.run_id = run_id;
    record.node = select->text(0);
    record.board_serial = select->text(1);
    record.step = select->text(2);
    record.at = from_ms(select->integer(3));
    record.outcome = read_node_outcome(select->text(4));
    record.verdict = read_verdict(select->text(5));
    record.reason = select->text(6);
    record.detail = read_document(select->text(7));
    out.push_back(std::move(record));
  }
}

}  // namespace kfab::store
