#include "store/store.hpp"

#include <doctest/doctest.h>
#include <sqlite3.h>

#include <fstream>

#include "base/codes/store.hpp"
#include "base/file.hpp"
#include "temp_dir.hpp"

using namespace kfab;
using namespace kfab::store;
using kfab::test::TempDir;

namespace {

Timestamp at(std::int64_t ms) { return Timestamp{std::chrono::milliseconds{1'795'000'000'000 + ms}}; }

std::unique_ptr<Store> open_store(const TempDir& dir) {
  auto store = Store::open(dir.path(), "seoul");
  if (!store) FAIL(store.error().message);
  return std::move(store).value();
}

RunRecord run_record(const std::string& id, std::int64_t started = 0, const std::string& site = {}) {
  return {id, "validate", {"kfab", "validate", "--nodes=a b"}, site, "sha", "ops@host", "0.1.0", at(started), {}, {}};
}

NodeRecord node_record(const std::string& run, const std::string& node, const std::string& step, std::int64_t ms, Verdict verdict = Verdict::pass) {
  return {run, node, "serial-" + node, step, at(ms), NodeOutcome::ok, verdict, "", json::Object{{"n", ms}, {"list", json::Array{1, 2}}}};
}

AcceleratorRecord accelerator(const std::string& run, const std::string& node, const std::string& id, std::int64_t ms, const std::string& level,
                              Verdict verdict = Verdict::pass) {
  return {run, node, id, "cuda", "H200", 3, at(ms), verdict, "why", level, "default@1", "c-sha", "p-sha"};
}

MeasurementRecord figure(const std::string& run, const std::string& node, const std::string& id, std::optional<double> value, const std::string& unit = "tflops") {
  return {run, node, id, "cuda", "gemm_fp32", "burnin.gemm_fp32." + unit, unit, value, at(5), Verdict::pass, "gemm", 3.5, "said"};
}

void raw_sql(const TempDir& dir, const char* sql) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open((dir.path() / "kfab.db").c_str(), &db) == SQLITE_OK);
  CHECK(sqlite3_exec(db, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(db);
}

}  // namespace

TEST_CASE("runs come back as they were written, newest first") {
  const TempDir dir;
  {
    const auto store = open_store(dir);
    REQUIRE(store->begin_run(run_record("r1", 0)));
    REQUIRE(store->begin_run(run_record("r2", 10, "busan")));
    REQUIRE(store->finish_run("r1", Outcome::incomplete, at(99)));
    CHECK_FALSE(store->begin_run(run_record("r1", 20)));
    CHECK_FALSE(store->finish_run("r1", Outcome::yes, at(100)));
    CHECK(store->finish_run("nope", Outcome::yes, at(1)).error().code == code::unknown_run);
  }
  const auto store = open_store(dir);
  const auto runs = store->runs(10);
  REQUIRE(runs);
  REQUIRE(runs->size() == 2);
  CHECK((*runs)[0].id == "r2");
  CHECK((*runs)[0].site == "busan");
  CHECK_FALSE((*runs)[0].finished_at);
  const RunRecord& first = (*runs)[1];
  CHECK(first.site == "seoul");
  CHECK(first.argv == std::vector<std::string>{"kfab", "validate", "--nodes=a b"});
  CHECK(first.who == "ops@host");
  CHECK(first.started_at == at(0));
  CHECK(first.finished_at == at(99));
  CHECK(first.outcome == Outcome::incomplete);
  CHECK(store->runs(1)->size() == 1);
  CHECK(store->run("r1")->command == "validate");
  CHECK(store->run("r9").error().code == code::unknown_run);
}

TEST_CASE("runs that go on with each other are one chain, whichever of them is named") {
  const TempDir dir;
  using Names = std::vector<std::string>;
  {
    const auto store = open_store(dir);
    REQUIRE(store->begin_run(run_record("r1")));
    REQUIRE(store->begin_run(run_record("other")));
    REQUIRE(store->begin_run(run_record("r2"), "r1"));
    REQUIRE(store->begin_run(run_record("r3"), "r2"));
    CHECK(store->begin_run(run_record("r4"), "nobody").error().code == code::unknown_run);
    CHECK_FALSE(store->run("r4"));
  }
  const auto store = open_store(dir);
  for (const char* one : {"r1", "r2", "r3"}) CHECK(*store->chain(one) == Names{"r1", "r2", "r3"});
  CHECK(*store->chain("other") == Names{"other"});
  CHECK(store->chain("nobody").error().code == code::unknown_run);
  CHECK(store->links("r1")->continues.empty());
  CHECK(store->links("r1")->continued_by == "r2");
  CHECK(store->links("r3")->continues == "r2");
  CHECK(store->links("r3")->continued_by.empty());
  // Two that went on with the same one at different times: the later one is the way on.
  REQUIRE(store->begin_run(run_record("r5"), "r2"));
  CHECK(store->links("r2")->continued_by == "r5");
  CHECK(*store->chain("r1") == Names{"r1", "r2", "r5"});
}

TEST_CASE("records come back whole, and the newest one counts") {
  const TempDir dir;
  const auto store = open_store(dir);
  REQUIRE(store->begin_run(run_record("r1")));
  REQUIRE(store->begin_run(run_record("r2")));
  REQUIRE(store->put(Findings{{node_record("r1", "n1", "validate", 10), node_record("r1", "n2", "validate", 10)},
                              {accelerator("r1", "n1", "gpu-a", 10, "standard")},
                              {figure("r1", "n1", "gpu-a", 1.5), figure("r1", "n1", "", {}, "w")}}));
  REQUIRE(store->put(node_record("r2", "n1", "validate", 20, Verdict::fail)));
  REQUIRE(store->put(node_record("r2", "n1", "inventory", 15)));
  REQUIRE(store->put(node_record("r2", "n2", "validate", 5)));    // older than what is there
  const auto evidence = store->evidence("seoul");
  REQUIRE(evidence);
  REQUIRE(evidence->nodes.size() == 3);
  CHECK(evidence->nodes[0].step == "inventory");
  const NodeRecord& newest = evidence->nodes[1];
  CHECK(newest.run_id == "r2");
  CHECK(newest.node == "n1");
  CHECK(newest.board_serial == "serial-n1");
  CHECK(newest.verdict == Verdict::fail);
  CHECK(newest.outcome == NodeOutcome::ok);
  CHECK(newest.at == at(20));
  CHECK(json::dump(newest.detail) == R"({"n":20,"list":[1,2]})");
  CHECK(evidence->nodes[2].run_id == "r1");
  REQUIRE(evidence->accelerators.size() == 1);
  const AcceleratorRecord& gpu = evidence->accelerators[0];
  CHECK(gpu.id == "gpu-a");
  CHECK(gpu.index == 3);
  CHECK(gpu.model == "H200");
  CHECK(gpu.reason == "why");
  CHECK(gpu.criteria == "default@1");
  CHECK(gpu.criteria_sha256 == "c-sha");
  CHECK(gpu.profile_sha256 == "p-sha");
  REQUIRE(evidence->measurements.size() == 2);
  const MeasurementRecord& measured = evidence->measurements[0];
  CHECK(measured.value == 1.5);
  CHECK(measured.limit == 3.5);
  CHECK(measured.metric == "burnin.gemm_fp32.tflops");
  CHECK(measured.criterion == "gemm");
  CHECK(measured.detail == "said");
  CHECK(measured.verdict == Verdict::pass);
  CHECK_FALSE(evidence->measurements[1].value);
  CHECK(store->evidence("busan")->nodes.empty());
}

TEST_CASE("evidence as of an earlier moment, and in a smaller scope") {
  const TempDir dir;
  const auto store = open_store(dir);
  REQUIRE(store->begin_run(run_record("r1")));
  for (const int ms : {10, 20, 30}) {
    const std::string id = "gpu-" + std::to_string(ms);
    REQUIRE(store->put(Findings{{node_record("r1", "n1", "validate", ms)}, {accelerator("r1", "n1", "gpu", ms, "quick")}, {}}));
  }
  CHECK(store->evidence("seoul")->nodes.at(0).at == at(30));
  CHECK(store->evidence("seoul", at(30))->nodes.at(0).at == at(30));
  CHECK(store->evidence("seoul", at(25))->nodes.at(0).at == at(20));
  CHECK(store->evidence("seoul", at(25))->accelerators.at(0).at == at(20));
  CHECK(store->evidence("seoul", at(5))->nodes.empty());
  CHECK(store->evidence("seoul", at(5))->accelerators.empty());

  REQUIRE(store->put(Findings{{}, {}, {figure("r1", "n1", "gpu", 1.0), figure("r1", "n1", "gpu", 700, "w")}}));
  const auto light = store->evidence("seoul", {}, {false, EvidenceScope::Figures::power});
  CHECK(json::dump(light->nodes.at(0).detail) == R"({"n":30})");
  REQUIRE(light->measurements.size() == 1);
  CHECK(light->measurements[0].unit == "w");
  CHECK(store->evidence("seoul", {}, {true, EvidenceScope::Figures::none})->measurements.empty());
}

TEST_CASE("links: the least that were up, and the copies that criteria judged, by run and accelerator") {
  const TempDir dir;
  const auto store = open_store(dir);
  REQUIRE(store->begin_run(run_record("r1")));
  const auto told = [](const std::string& id, const std::string& metric, std::optional<double> value, Verdict verdict = Verdict::not_judged, const std::string& criterion = {}) {
    auto record = figure("r1", "n1", id, 0, "count");
    record.metric = metric;
    record.value = value;
    record.verdict = verdict;
    record.criterion = criterion;
    return record;
  };
  REQUIRE(store->put(Findings{{}, {accelerator("r1", "n1", "a", 10, "standard", Verdict::pass), accelerator("r1", "n1", "b", 10, "standard", Verdict::pass),
                                   accelerator("r1", "n1", "c", 10, "standard", Verdict::pass)},
                              {told("a", "health.nvlinks_active", 18), told("a", "health.nvlinks_down", 0), told("a", "health.fabric_unhealthy", 1),
                               told("a", "bandwidth.device_to_device_memcpy_read_ce_gbps", 370, Verdict::pass, "peer-read"),
                               told("a", "bandwidth.device_to_device_memcpy_read_ce_gbps", 12, Verdict::fail, "peer-read"),
                               told("a", "bandwidth.device_to_device_memcpy_read_sm_gbps", 12),            // nobody judged it
                               told("a", "bandwidth.host_to_device_memcpy_ce_gbps", 50, Verdict::pass, "h2d"), told("b", "health.nvlinks_active", std::nullopt),
                               told("stranger", "health.nvlinks_active", 18), told("c", "burnin.power_w", 700)}}));
  const auto evidence = store->evidence("seoul", {}, {false, EvidenceScope::Figures::power});
  REQUIRE(evidence);
  REQUIRE(evidence->links.size() == 2);
  const auto& a = evidence->links[0];
  CHECK(a.accelerator_id == "a");
  CHECK(a.looked_at);
  CHECK(a.active == 18);
  CHECK(a.down == 0);
  CHECK_FALSE(a.fabric_incomplete);
  CHECK(a.fabric_unhealthy == 1);
  CHECK(a.copies_judged == 2);
  CHECK(a.copies_short == 1);
  const auto& b = evidence->links[1];
  CHECK(b.accelerator_id == "b");
  CHECK(b.looked_at);
  CHECK_FALSE(b.active);
  CHECK(b.copies_judged == 0);
  CHECK(store->evidence("seoul", {}, {false, EvidenceScope::Figures::none})->links.empty());
}

TEST_CASE("a short test does not hide a long one, and figures belong to the run of the verdict") {
  const TempDir dir;
  const auto store = open_store(dir);
  for (const char* id : {"r1", "r2", "r3"}) REQUIRE(store->begin_run(run_record(id)));
  REQUIRE(store->put(Findings{{}, {accelerator("r1", "n1", "gpu", 10, "standard")}, {figure("r1", "n1", "gpu", 1)}}));
  REQUIRE(store->put(Findings{{}, {accelerator("r2", "n1", "gpu", 20, "bandwidth")}, {figure("r2", "n1", "gpu", 2)}}));
  auto evidence = store->evidence("seoul");
  REQUIRE(evidence->accelerators.size() == 2);
  CHECK(evidence->measurements.size() == 2);
  REQUIRE(store->put(Findings{{}, {accelerator("r3", "n1", "gpu", 30, "standard", Verdict::fail)}, {figure("r3", "n1", "gpu", 3)}}));
  evidence = store->evidence("seoul");
  REQUIRE(evidence->accelerators.size() == 2);
  CHECK(evidence->accelerators[1].verdict == Verdict::fail);
  REQUIRE(evidence->measurements.size() == 2);   // r1's figures no longer stand for anything
  for (const auto& measured : evidence->measurements) CHECK(measured.run_id != "r1");
}

TEST_CASE("a test that came to no verdict hides none that did") {
  const TempDir dir;
  const auto store = open_store(dir);
  for (const char* id : {"r1", "r2", "r3"}) REQUIRE(store->begin_run(run_record(id)));
  REQUIRE(store->put(accelerator("r1", "n1", "gpu", 10, "burnin", Verdict::fail)));
  REQUIRE(store->put(accelerator("r2", "n1", "gpu", 20, "burnin", Verdict::not_judged)));
  for (const auto as_of : {std::optional<Timestamp>(), std::optional(at(25))}) {
    REQUIRE(store->put(accelerator("r2", "n1", "other", 30, "burnin")));   // so that 25 is answered from the history
    auto found = store->evidence("seoul", as_of);
    REQUIRE(found);
    std::erase_if(found->accelerators, [](const auto& record) { return record.id != "gpu"; });
    REQUIRE(found->accelerators.size() == 2);
    CHECK(found->accelerators[0].verdict == Verdict::not_judged);
    CHECK(found->accelerators[1].verdict == Verdict::fail);
  }
}

TEST_CASE("what is put together is kept together or not at all") {
  const TempDir dir;
  const auto store = open_store(dir);
  REQUIRE(store->begin_run(run_record("r1")));
  const auto refused = store->put(Findings{{node_record("r1", "n1", "validate", 1), node_record("nope", "n2", "validate", 1)}, {}, {}});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == code::unknown_run);
  CHECK(store->evidence("seoul")->nodes.empty());
  CHECK(store->put(node_record("r1", "n1", "validate", 1)));
  CHECK(store->evidence("seoul")->nodes.size() == 1);
}

TEST_CASE("a killed run goes on where it stopped") {
  const TempDir dir;
  const auto store = open_store(dir);
  REQUIRE(store->begin_run(run_record("r1")));
  REQUIRE(store->put(Findings{{node_record("r1", "n2", "inventory", 1), node_record("r1", "n1", "inventory", 1), node_record("r1", "n1", "validate", 2)}, {}, {}}));
  CHECK(*store->nodes_done("r1") == std::vector<std::string>{"n1", "n2"});
  CHECK(*store->nodes_done("r1", "validate") == std::vector<std::string>{"n1"});
  CHECK(store->nodes_done("r2").error().code == code::unknown_run);
}

TEST_CASE("events are kept in order, at the latest when the run ends") {
  const TempDir dir;
  const auto store = open_store(dir);
  REQUIRE(store->begin_run(run_record("r1")));
  for (int i = 0; i < 450; ++i) REQUIRE(store->append_event("r1", {.type = "progress", .node = "n1", .step = "s", .message = "m", .done = double(i)}, at(i)));
  CHECK(store->events("r1")->size() == 400);
  CHECK(store->append_event("nope", {.type = "message"}, at(1)).error().code == code::unknown_run);
  REQUIRE(store->finish_run("r1", Outcome::yes, at(1000)));
  const auto events = store->events("r1");
  REQUIRE(events->size() == 450);
  CHECK((*events)[449].event.done == 449.0);
  CHECK((*events)[449].at == at(449));
  CHECK_FALSE((*events)[0].event.total);
}

TEST_CASE("texts of any bytes survive") {
  const TempDir dir;
  const auto store = open_store(dir);
  REQUIRE(store->begin_run(run_record("r1")));
  NodeRecord record = node_record("r1", "n1", "validate", 1);
  record.reason = std::string("a\0b", 3) + "\x1b[31m'; DROP TABLE runs; --";
  record.detail = json::Object{{"text", "\xff\xfe"}};
  REQUIRE(store->put(record));
  const auto evidence = store->evidence("seoul");
  CHECK(evidence->nodes.at(0).reason == record.reason);
  CHECK(evidence->nodes.at(0).detail.string_or("text") == "\xEF\xBF\xBD\xEF\xBF\xBD");
  CHECK(store->runs(5)->size() == 1);
}

TEST_CASE("damaged, foreign, newer and unreachable stores are told and left as they are") {
  const auto code_of = [](const std::filesystem::path& path) {
    const auto store = Store::open(path);
    return store ? std::string("opened") : std::string(info(store.error().code).name);
  };
  SUBCASE("no database at all") {
    const TempDir dir;
    const std::string text(10'000, 'x');
    REQUIRE(write_file_atomically(dir.path() / "kfab.db", text));
    CHECK(code_of(dir.path()) == "store_damaged");
    CHECK(*read_file(dir.path() / "kfab.db") == text);
  }
  SUBCASE("pages overwritten") {
    const TempDir dir;
    {
      const auto store = open_store(dir);
      REQUIRE(store->begin_run(run_record("r1")));
      for (int i = 0; i < 500; ++i) REQUIRE(store->put(node_record("r1", "n" + std::to_string(i), "validate", i)));
    }
    auto bytes = *read_file(dir.path() / "kfab.db");
    for (std::size_t i = 4096; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7);
    REQUIRE(write_file_atomically(dir.path() / "kfab.db", bytes));
    auto store = Store::open(dir.path());
    if (store) {
      const auto evidence = (*store)->evidence("seoul");
      REQUIRE_FALSE(evidence);
      CHECK(evidence.error().code == code::store_damaged);
    } else {
      CHECK(store.error().code == code::store_damaged);
    }
    CHECK(read_file(dir.path() / "kfab.db")->size() == bytes.size());
  }
  SUBCASE("another program's") {
    const TempDir dir;
    raw_sql(dir, "CREATE TABLE theirs(x)");
    const auto before = *read_file(dir.path() / "kfab.db");
    CHECK(code_of(dir.path()) == "store_damaged");
    CHECK(*read_file(dir.path() / "kfab.db") == before);
  }
  SUBCASE("newer") {
    const TempDir dir;
    { const auto store = open_store(dir); }
    raw_sql(dir, "PRAGMA user_version = 99");
    CHECK(code_of(dir.path()) == "store_newer");
    raw_sql(dir, "PRAGMA user_version = 4");
    CHECK(code_of(dir.path()) == "opened");
  }
  SUBCASE("older") {
    const TempDir dir;
    {
      const auto store = open_store(dir);
      REQUIRE(store->begin_run(run_record("r1")));
    }
    raw_sql(dir, "DROP TABLE locks; DROP TABLE lock_ends; DROP TABLE run_work; DROP TABLE run_links; DROP INDEX links_of_node; PRAGMA user_version = 1");   // as the first version left it
    const auto store = open_store(dir);
    CHECK(store->locks("seoul", Timestamp{})->empty());
    CHECK(store->put_work("r1", json::Object{}));
    CHECK(store->runs(5)->size() == 1);
    CHECK(*store->chain("r1") == std::vector<std::string>{"r1"});
  }
  SUBCASE("a file where the directory should be") {
    const TempDir dir;
    REQUIRE(write_file_atomically(dir.path() / "file", "x"));
    CHECK(code_of(dir.path() / "file") == "store_unwritable");
    CHECK(code_of(dir.path() / "file" / "deeper") == "store_unwritable");
  }
}

TEST_CASE("the directory is made for its owner alone") {
  const TempDir dir;
  const auto place = dir.path() / "a" / "b";
  REQUIRE(Store::open(place));
  CHECK((std::filesystem::status(place).permissions() & std::filesystem::perms::mask) == std::filesystem::perms::owner_all);
}

TEST_CASE("a store without a file is as any other, and empty") {
  auto store = Store::empty("here");
  REQUIRE(store);
  CHECK((*store)->runs(10)->empty());
  CHECK_FALSE((*store)->run("20261121T000000Z-000001"));
  CHECK((*store)->evidence("here")->nodes.empty());
  CHECK_FALSE(std::filesystem::exists(":memory:"));
}
