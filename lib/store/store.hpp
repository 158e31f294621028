#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "base/event.hpp"
#include "base/result.hpp"
#include "store/locks.hpp"
#include "store/records.hpp"

namespace kfab::store {

// What belongs together because it was found together: kept as a whole or not at all.
struct Findings {
  std::vector<NodeRecord> nodes;
  std::vector<AcceleratorRecord> accelerators;
  std::vector<MeasurementRecord> measurements;
};

// The runs before and after one, where one goes on with the other. Empty: there is none.
struct RunLinks {
  std::string continues;
  std::string continued_by;   // the newest that does
};

struct StoredEvent {
  Timestamp at{};
  Event event;
};

// How much of the evidence a reader needs. Of a site of 260,000 accelerators the whole is gigabytes; readiness needs
// neither the full documents nor figures other than power. What is known of links comes with either kind of figures.
struct EvidenceScope {
  // false: NodeRecord::detail has only those members of the document's top level that are no arrays or objects.
  bool full_details = true;
  enum class Figures { all, power, none };   // power: those in watts
  Figures figures = Figures::all;
};

// What happened, in <dir>/kfab.db. History is only ever added to; what has been put is on disk when the call returns,
// so that a process may be killed at any moment. Any number of processes may use one store at once: each call waits
// up to 30 s for the others. Not for use from several threads.
//
// Errors of every call: store_full, store_unwritable (permission, read-only, input and output errors), store_busy,
// store_damaged, store_failed. After an error the store is as it was before the call.
class Store {
 public:
  // Opens or makes the store, and the directory with it (mode 0700). Further errors: store_newer. A damaged or foreign
  // file is left as it is. `site` is the one of runs that name none.
  static Result<std::unique_ptr<Store>> open(const std::filesystem::path& dir, const std::string& site = {});
  // One without any record, in memory: for whoever only reads where there is none.
  static Result<std::unique_ptr<Store>> empty(const std::string& site = {});
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // The run must be new. Its `finished_at` and `outcome` are not looked at. `continues` is the run that this one goes on with.
  // Errors: unknown_run for that one.
  Status begin_run(const RunRecord&, std::string_view continues = {});
  // Errors: unknown_run.
  Status finish_run(std::string_view run_id, Outcome, Timestamp at);
  // Kept in memory and written with the next put, finish_run or flush, or when there are 200: events are the story of
  // a run and not its evidence.
  Status append_event(std::string_view run_id, const Event&, Timestamp at);
  Status flush();

  // All of them in one transaction. Errors: unknown_run for a record of a run that was not begun.
  Status put(const Findings&);
  Status put(const NodeRecord&);
  Status put(const AcceleratorRecord&);
  Status put(const MeasurementRecord&);

  // The newest `limit` runs, newest first.
  Result<std::vector<RunRecord>> runs(std::size_t limit) const;
  Result<RunRecord> run(std::string_view run_id) const;                          // errors: unknown_run
  Result<RunLinks> links(std::string_view run_id) const;                         // errors: unknown_run
  // The runs that belong together because one goes on with the other: from the first, over this one, to the newest.
  // Errors: unknown_run.
  Result<std::vector<std::string>> chain(std::string_view run_id) const;
  Result<std::vector<StoredEvent>> events(std::string_view run_id) const;        // in order; those written
  // The nodes of which the run has kept a record of the step, or of any for an empty one: sorted, each once. A run
  // that was killed goes on with the others.
  Result<std::vector<std::string>> nodes_done(std::string_view run_id, std::string_view step = {}) const;

  // What a run set out to do, a document of its command: kept once, before the first node is touched, so that another run
  // can go on with it. Null where none was kept. Errors: unknown_run.
  Status put_work(std::string_view run_id, const json::Value& document);
  Result<json::Value> work(std::string_view run_id) const;
  // The newest record of each node that the run has kept of the step, by node; of its details the members that are no lists,
  // mappings or long texts. Errors: unknown_run.
  Result<std::vector<NodeRecord>> node_records(std::string_view run_id, std::string_view step) const;

  // The newest record of the node and step with its whole document: of that run, or of any run about the site where `run_id` is
  // empty. Nothing where there is none. Errors: unknown_run.
  Result<std::optional<NodeRecord>> node_record(std::string_view run_id, std::string_view site, std::string_view node, std::string_view step) const;

  // The locks of a site that are held at that moment, the oldest first.
  Result<std::vector<LockRecord>> locks(std::string_view site, Timestamp now) const;
  // Takes all of them, or none and gives back one that is in the way: one that collides and that `may_pass` does not let
  // by. Their `seq` is set when they were taken. No two processes can both take what collides.
  Result<std::optional<LockRecord>> take_locks(std::vector<LockRecord>& wanted, Timestamp now, const std::function<bool(const LockRecord& held)>& may_pass);
  // Ends one; of one that has ended nothing changes.
  Status end_lock(std::int64_t seq, LockEnd, std::string_view by, std::string_view reason, Timestamp at);

  // The newest evidence about a site: of each node and step the newest record; of each accelerator (node, id, device)
  // the newest record for every level it was tested at, because a short test says nothing about a long one, and of these the
  // newest that was judged beside the newest that was not, because a test that could not run takes no failure back; and the
  // figures that were measured on those accelerators, or on their node as a whole, in the runs of those records. Newest is the later `at`,
  // then the one put later. Results of runs that were killed count. With `as_of`, records dated later do not.
  // Sorted by node, then step, id or order of arrival.
  Result<Evidence> evidence(std::string_view site, std::optional<Timestamp> as_of = {}, EvidenceScope = {}) const;

 private:
  class Impl;
  explicit Store(std::unique_ptr<Impl>);
  static Result<std::unique_ptr<Store>> of_file(const std::filesystem::path&, const std::string& site);
  std::unique_ptr<Impl> impl_;
};

}  // namespace kfab::store
