#include <doctest/doctest.h>

#include "base/codes/reboot.hpp"
#include "provision/reboot_proof.hpp"

using namespace kfab;
using namespace kfab::provision;

namespace {

Boot boot(const std::string& id, double age_s, const std::string& state = "running") {
  return {.boot_id = id, .machine_id = "m1", .board_serial = "s1", .init_age_s = age_s, .state = state};
}

}  // namespace

TEST_CASE("a reboot is proven by another boot id, a system younger than the order, and the same machine") {
  const RebootProof proof = judge_reboot("n1", boot("a", 5000), boot("b", 20), 60);
  CHECK(proof.stage == RebootStage::proven);
  CHECK_FALSE(proof.why);
  CHECK(proof.boot_id_changed);
  CHECK(proof.started_after_order);
  CHECK(proof.same_machine);
}

TEST_CASE("each proof that is missing has its own answer") {
  struct Case {
    const char* what;
    Boot before, after;
    RebootStage stage;
    Code code;
  };
  Boot other_board = boot("b", 20);
  other_board.board_serial = "s2";
  Boot other_system = boot("b", 20);
  other_system.machine_id = "m2";
  Boot silent = boot("", 20);
  Boot ageless = boot("b", 20);
  ageless.init_age_s.reset();
  const Case cases[] = {
      {"it still runs", boot("a", 5000), boot("a", 5010), RebootStage::same_boot, code::reboot_not_happened},
      {"it was another boot already", boot("a", 5000), boot("b", 400), RebootStage::wrong, code::reboot_not_proven},
      {"it tells no boot id", boot("a", 5000), silent, RebootStage::wrong, code::reboot_not_proven},
      {"it told no boot id", silent, boot("b", 20), RebootStage::wrong, code::reboot_not_proven},
      {"it tells no age", boot("a", 5000), ageless, RebootStage::wrong, code::reboot_not_proven},
      {"another board", boot("a", 5000), other_board, RebootStage::wrong, code::reboot_other_machine},
      {"another system", boot("a", 5000), other_system, RebootStage::wrong, code::reboot_other_machine},
      {"not done", boot("a", 5000), boot("b", 20, "starting"), RebootStage::starting, code::reboot_not_settled},
      {"hardly begun", boot("a", 5000), boot("b", 20, "initializing"), RebootStage::starting, code::reboot_not_settled},
  };
  for (const Case& row : cases) {
    CAPTURE(row.what);
    const RebootProof proof = judge_reboot("n1", row.before, row.after, 60);
    CHECK(proof.stage == row.stage);
    REQUIRE(proof.why);
    CHECK(proof.why->code == row.code);
    CHECK(proof.why->node == "n1");
  }
}

TEST_CASE("a machine without serial is told by what it has") {
  Boot before = boot("a", 5000), after = boot("b", 20);
  before.board_serial.clear();
  CHECK(judge_reboot("n1", before, after, 60).stage == RebootStage::proven);
  before.machine_id = "m2";
  CHECK(judge_reboot("n1", before, after, 60).stage == RebootStage::wrong);
}

TEST_CASE("units that failed do not unmake a reboot") {
  CHECK(judge_reboot("n1", boot("a", 5000), boot("b", 20, "degraded"), 60).stage == RebootStage::proven);
}

TEST_CASE("what the agent says about its boot is cleaned and bounded") {
  json::Array units;
  for (int i = 0; i < 100; ++i) units.emplace_back("bad\x1b[31m.service");
  const std::vector<json::Value> messages{json::Object{{"type", "progress"}},
                                          json::Object{{"type", "boot"}, {"boot_id", "a\nb"}, {"machine_id", 7}, {"init_age_s", "old"}, {"failed_units", units}}};
  const auto read = read_boot(json::Object{{"board_serial", std::string(500, 'x')}}, messages);
  REQUIRE(read);
  CHECK(read->boot_id == "a b");
  CHECK(read->machine_id.empty());
  CHECK_FALSE(read->init_age_s);
  CHECK(read->board_serial.size() <= 90);
  CHECK(read->failed_units.size() == 20);
  CHECK(read->failed_units.front().find('\x1b') == std::string::npos);
  CHECK(read->state == "unknown");
  CHECK_FALSE(reboot_was_ordered(messages));
  CHECK_FALSE(read_boot({}, {json::Object{{"type", "facts"}}}));
  CHECK(reboot_was_ordered({json::Object{{"type", "reboot_ordered"}}}));
}
