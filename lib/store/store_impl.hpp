#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/database.hpp"
#include "store/store.hpp"

namespace kfab::store {

class Store::Impl {
 public:
  struct Run { std::int64_t seq = 0; std::string site; };
  struct PendingEvent { std::int64_t run; StoredEvent event; };

  Result<Run> find_run(std::string_view id);
  Result<std::string> run_id(std::int64_t seq);

  Status insert(const Run&, const NodeRecord&);
  Status insert(const Run&, const AcceleratorRecord&);
  Status insert(const Run&, const MeasurementRecord&);
  Status insert_events();

  Result<std::vector<NodeRecord>> nodes(std::string_view site, std::optional<Timestamp> as_of, bool full_details);
  Result<std::vector<AcceleratorRecord>> accelerators(std::string_view site, std::optional<Timestamp> as_of);
  Result<std::vector<MeasurementRecord>> figures(const std::vector<AcceleratorRecord>&, bool power_only);
  Result<std::vector<LinkRecord>> links(const std::vector<AcceleratorRecord>&);

  std::unique_ptr<Database> db;
  std::string site;
  std::vector<PendingEvent> pending;

 private:
  using WantedIds = std::set<std::pair<std::string_view, std::string_view>>;   // run, accelerator
  // Calls `read` for each node of these records and each run that they are from.
  Status each_tested(const std::vector<AcceleratorRecord>&,
                     const std::function<Status(std::string_view run, std::int64_t seq, const std::string& node, const WantedIds&)>& read);
  Result<bool> has_later(const char* sql, std::string_view wanted_site, Timestamp as_of);
  std::map<std::string, Run, std::less<>> runs_by_id_;
  std::map<std::int64_t, std::string> ids_by_run_;
};

}  // namespace kfab::store
