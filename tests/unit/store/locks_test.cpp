#include <doctest/doctest.h>

#include "base/codes/store.hpp"
#include "store/store.hpp"
#include "unit/store/temp_dir.hpp"

using namespace kfab;
using namespace kfab::store;
using kfab::test::TempDir;

namespace {

Timestamp at(long long seconds) { return Timestamp{std::chrono::seconds{seconds}}; }

LockRecord lock_of(const std::string& owner, const std::string& scope, std::int64_t pid = 0) {
  LockRecord lock;
  lock.site = "ulsan";
  lock.scope = scope;
  lock.owner = owner;
  lock.pid = pid;
  lock.reason = "because";
  lock.at = at(100);
  return lock;
}

bool nobody(const LockRecord&) { return false; }

// Whether it was taken; the seq of it is set then.
bool take(Store& store, LockRecord& lock, Timestamp now = at(100)) {
  std::vector<LockRecord> wanted{lock};
  const auto blocked = store.take_locks(wanted, now, nobody);
  REQUIRE(blocked);
  lock = wanted.front();
  return !blocked->has_value();
}

}  // namespace

TEST_CASE("locks: one at a time per tranche, and the whole site is all of them") {
  const TempDir dir;
  auto store = Store::open(dir.path());
  REQUIRE(store);
  auto first = lock_of("ana@a", "p1"), same = lock_of("bo@b", "p1"), other = lock_of("bo@b", "p2"), whole = lock_of("bo@b", whole_site), none = lock_of("bo@b", "");
  CHECK(take(**store, first));
  CHECK_FALSE(take(**store, same));
  CHECK(take(**store, other));
  CHECK(take(**store, none));
  CHECK_FALSE(take(**store, whole));
  REQUIRE((*store)->end_lock(first.seq, LockEnd::released, "ana@a", "done", at(101)));
  CHECK(take(**store, same));
  auto elsewhere = lock_of("bo@b", whole_site);
  elsewhere.site = "gwangju";
  CHECK(take(**store, elsewhere));   // another site's are no matter
}

TEST_CASE("locks: all or none, who may pass does, and what has expired is none") {
  const TempDir dir;
  auto store = Store::open(dir.path());
  REQUIRE(store);
  auto held = lock_of("ana@a", "p2");
  held.expires_at = at(200);
  CHECK(take(**store, held));
  std::vector<LockRecord> wanted{lock_of("bo@b", "p1", 7), lock_of("bo@b", "p2", 7)};
  auto blocked = (*store)->take_locks(wanted, at(150), nobody);
  REQUIRE(blocked);
  REQUIRE(blocked->has_value());
  CHECK((*blocked)->owner == "ana@a");
  CHECK((*blocked)->reason == "because");
  CHECK((*store)->locks("ulsan", at(150))->size() == 1);   // p1 was not taken either
  blocked = (*store)->take_locks(wanted, at(150), [](const LockRecord& other) { return other.owner == "ana@a"; });
  REQUIRE(blocked);
  CHECK_FALSE(blocked->has_value());
  CHECK((*store)->locks("ulsan", at(150))->size() == 3);
  CHECK((*store)->locks("ulsan", at(200))->size() == 2);
  CHECK((*store)->end_lock(wanted[0].seq, LockEnd::broken, "ana@a", "why", at(160)));
  CHECK((*store)->end_lock(wanted[0].seq, LockEnd::released, "bo@b", "late", at(170)));   // of an ended one nothing changes
  CHECK((*store)->locks("ulsan", at(200))->size() == 1);
}

TEST_CASE("work: what a run set out to do is kept with what came of it") {
  const TempDir dir;
  auto store = Store::open(dir.path(), "ulsan");
  REQUIRE(store);
  RunRecord run;
  run.id = "r1";
  run.command = "provision";
  REQUIRE((*store)->begin_run(run));
  CHECK((*store)->work("r1")->is_null());
  REQUIRE((*store)->put_work("r1", json::Object{{"nodes", json::Array{"a", "b"}}}));
  CHECK_FALSE((*store)->put_work("r1", json::Object{}));   // once
  CHECK(json::dump(*(*store)->work("r1")) == R"({"nodes":["a","b"]})");
  CHECK((*store)->work("r2").error().code == code::unknown_run);
  NodeRecord record;
  record.run_id = "r1";
  record.node = "a";
  record.step = "provision";
  record.verdict = Verdict::not_judged;
  record.reason = "would change";
  REQUIRE((*store)->put(record));
  record.verdict = Verdict::pass;
  record.reason.clear();
  REQUIRE((*store)->put(record));
  record.step = "reach";
  record.node = "b";
  REQUIRE((*store)->put(record));
  const auto records = (*store)->node_records("r1", "provision");
  REQUIRE(records);
  REQUIRE(records->size() == 1);
  CHECK((*records)[0].node == "a");
  CHECK((*records)[0].verdict == Verdict::pass);   // the newest counts
}
