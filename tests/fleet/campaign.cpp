// The fault campaign: every fault at every phase that it makes sense in, over real SSH to a simulated site. A sick node
// is named for what it is and costs no other node anything.
#include <csignal>

#include <atomic>
#include <thread>

#include "base/codes/agent.hpp"
#include "base/codes/ssh.hpp"
#include "fleet/campaign_site.hpp"
#include "fleet/simulator/faults.hpp"

using namespace kfab;
using namespace kfab::fleet;
using namespace kfab::fleet::test;
using ssh::Phase;
using std::chrono::seconds;

// libssh2 1.10 loses a few bytes of libcrypto's when it is given certain keys; we never call libcrypto ourselves.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:CRYPTO_zalloc\nleak:CRYPTO_malloc\n"; }

namespace {

constexpr auto good = NodeOutcome::ok, failed = NodeOutcome::failed, timed_out = NodeOutcome::timed_out, refused = NodeOutcome::refused,
               unreachable = NodeOutcome::unreachable;

// Long enough for a healthy node on a busy machine, short enough to wait for.
FleetOptions options_with(int phase_s, int total_s) {
  FleetOptions options;
  auto& limits = options.deadlines;
  limits.resolve = limits.connect = limits.banner = limits.kex = limits.auth = limits.channel = seconds(phase_s * patience);
  limits.total = seconds(total_s * patience);
  limits.close = seconds(3 * patience);
  options.max_stdout_bytes = options.max_stderr_bytes = 256 * 1024;
  return options;
}

// Where a fault at this point shows. A peer that says its banner and dies may be noticed before or after the banner
// was looked at.
std::vector<Phase> phases_of(std::string_view point) {
  if (point == "accept") return {Phase::banner};
  if (point == "banner") return {Phase::banner, Phase::kex};
  if (point == "kexinit" || point == "kexreply" || point == "newkeys") return {Phase::kex};
  if (point == "service") return {Phase::kex};   // libssh2 asks for it in the same breath
  if (point == "auth" || point == "signature") return {Phase::auth};
  if (point == "channel" || point == "exec") return {Phase::channel};
  return {Phase::command, Phase::close};
}
bool before_login(Phase phase) { return phase == Phase::banner || phase == Phase::kex; }

// ACTION@POINT, wherever the simulator can play it.
std::vector<Case> phased_cases() {
  std::vector<Case> cases;
  for (const std::string_view action : sim::action_names()) {
    for (const std::string_view point : sim::point_names()) {
      const std::string name = fmt::format("{}@{}", action, point);
      if (point == "byte" || action == "corrupt" || !sim::parse_fault(name)) continue;
      Case one{name, {}, phases_of(point)};
      const bool early = before_login(one.phases.front());
      const Code lost = early ? code::ssh_not_ssh : code::ssh_connection_lost;
      const Code late = one.phases.front() == Phase::command ? code::remote_command_timed_out : code::ssh_timed_out;
      if (action == "stall") {
        one.outcomes = {timed_out};
        one.codes = {late};
      } else if (action == "garbage") {   // what it means depends on what it decrypts to
        one.outcomes = {unreachable, timed_out};
        one.codes = {lost, late, code::ssh_kex_failed};
      } else {
        one.outcomes = {unreachable};
        one.codes = {lost};
      }
      cases.push_back(std::move(one));
    }
  }
  return cases;
}

Case fine(std::string fault, std::string_view out = healthy_output) {
  return {std::move(fault), {good}, {Phase::close}, {}, [out = std::string(out)](const CommandResult& result) {
            CHECK(result.stdout_text == out);
            CHECK(result.exit_status == 0);
          }};
}

std::vector<Case> named_cases() {
  Case closed_port{"closed_port", {unreachable}, {Phase::connect}, {code::ssh_connect_failed}};
  closed_port.on_closed_port = true;
  const auto no_status = [](const CommandResult& result) { CHECK(!result.exit_status); };
  std::vector<Case> cases{
      closed_port,
      {"black_hole", {timed_out}, {Phase::connect}, {code::ssh_timed_out}},
      {"max_startups", {unreachable}, {Phase::banner}, {code::ssh_not_ssh}},
      {"banner_trickle", {timed_out}, {Phase::banner}, {code::ssh_timed_out}},
      {"garbage_banner", {timed_out, unreachable}, {Phase::banner}, {code::ssh_timed_out, code::ssh_not_ssh}},
      {"endless_lines", {timed_out}, {Phase::banner}, {code::ssh_timed_out}},
      {"http", {unreachable}, {Phase::banner}, {code::ssh_not_ssh}},
      {"banner_too_long", {unreachable, timed_out}, {Phase::banner, Phase::kex}, {code::ssh_not_ssh, code::ssh_kex_failed, code::ssh_timed_out}},
      {"ssh1", {timed_out, unreachable}, {Phase::banner, Phase::kex}, {code::ssh_timed_out, code::ssh_not_ssh, code::ssh_kex_failed}},
      {"echo", {unreachable, timed_out}, {Phase::kex}, {code::ssh_kex_failed, code::ssh_not_ssh, code::ssh_timed_out}},
      {"huge_packet", {unreachable}, {Phase::kex}, {code::ssh_not_ssh, code::ssh_kex_failed}},
      {"wrong_host_key", {refused}, {Phase::kex}, {code::host_key_changed}},
      {"bad_signature", {unreachable}, {Phase::kex}, {code::ssh_kex_failed}},
      {"auth_refused", {refused}, {Phase::auth}, {code::ssh_auth_refused}},
      {"auth_partial", {refused}, {Phase::auth}, {code::ssh_auth_refused}},
      {"auth_partial_stall", {timed_out}, {Phase::auth}, {code::ssh_timed_out}},
      {"channel_refused", {refused}, {Phase::channel}, {code::ssh_channel_refused}},
      {"exec_refused", {refused}, {Phase::channel}, {code::ssh_channel_refused}},
      {"no_status", {unreachable}, {Phase::command, Phase::close}, {code::ssh_no_exit_status}, no_status},
      {"no_status_eof", {timed_out}, {Phase::command, Phase::close}, {code::remote_command_timed_out}, no_status},
      {"exit", {failed}, {Phase::close}, {code::remote_command_failed}, [](const CommandResult& result) { CHECK(result.exit_status == 3); }},
      {"exit:255", {failed}, {Phase::close}, {code::remote_command_failed}, [](const CommandResult& result) { CHECK(result.exit_status == 255); }},
      {"signal", {failed}, {Phase::close}, {code::remote_command_killed}, [](const CommandResult& result) {
         CHECK(result.signal == "KILL");
         CHECK(!result.exit_status);
       }},
      {"endless_trickle", {timed_out}, {Phase::command}, {code::remote_command_timed_out}, [](const CommandResult& result) {
         CHECK(result.stdout_text.starts_with("drop drop drop "));
       }},
  };
  const std::pair<const char*, std::string> odd[] = {
      {"max_startups:2", healthy_output}, {"greeting", healthy_output}, {"old_version", healthy_output}, {"slow_banner", healthy_output},
      {"laggy", healthy_output}, {"late_status", "soon\n"},
      {"trickle", "drop drop drop drop "}, {"binary", std::string(sim::binary_text())}, {"deaf_exit", ""}};
  for (const auto& [fault, out] : odd) cases.push_back(fine(fault, out));
  for (const char* fault : {"invalid_utf8", "escapes", "clock_1970", "clock_2038"}) {
    cases.push_back(fine(fault, sim::exec_script(*sim::parse_fault(fault))->text));
  }
  return cases;
}

// The bytes a server says before its command's output, and some of that, cut, held back and changed at many places.
std::vector<Case> swept_cases() {
  std::vector<Case> cases;
  const std::vector<Phase> any{Phase::banner, Phase::kex, Phase::auth, Phase::channel, Phase::command, Phase::close};
  for (const char* action : {"stall", "reset", "hang_up", "half_close", "corrupt"}) {
    for (int byte = 1; byte < 4000; byte += byte < 60 ? 13 : byte < 2000 ? 97 : 419) {
      Case one{fmt::format("{}@byte:{}", action, byte), {unreachable}, any, {code::ssh_not_ssh, code::ssh_connection_lost, code::ssh_kex_failed}};
      if (action == std::string_view("stall")) one.outcomes = {timed_out}, one.codes = {code::ssh_timed_out, code::remote_command_timed_out};
      if (action == std::string_view("corrupt")) {   // anything may come of it but a success
        one.outcomes = {unreachable, timed_out, refused};
        one.codes.insert(one.codes.end(), {code::ssh_timed_out, code::remote_command_timed_out, code::host_key_changed, code::host_key_unknown});
      }
      cases.push_back(std::move(one));
    }
  }
  return cases;
}

// Before, nobody was there; after, nobody is.
void all_is_given_back(const Accounts& before, Site& site) {
  CHECK(site.all_hung_up());
  const Accounts after = Accounts::now();
  CHECK(after.threads == before.threads);
  CHECK(after.descriptors == before.descriptors);
}

std::size_t faults_in(const std::vector<Case>& cases) {
  std::vector<std::string> names;
  for (const Case& one : cases) names.push_back(one.fault.substr(0, one.fault.find_first_of("@:")));
  std::sort(names.begin(), names.end());
  return static_cast<std::size_t>(std::unique(names.begin(), names.end()) - names.begin());
}

}  // namespace

TEST_CASE("every fault at every phase is told for what it is") {
  auto cases = phased_cases();
  const auto named = named_cases();
  cases.insert(cases.end(), named.begin(), named.end());
  Site site(cases, 20);
  const Accounts before = Accounts::now();
  const Ran ran = site.run(options_with(10, 10));
  const std::size_t wrong = site.judge(ran);
  CHECK(ran.wall_s < 60 * patience);
  all_is_given_back(before, site);
  MESSAGE(fmt::format("{} faults, {} cases, {} wrong, 20 healthy nodes, {:.1f} s, the slowest healthy node {:.1f} s", faults_in(cases), cases.size(), wrong, ran.wall_s, ran.slowest_healthy_s));
}

TEST_CASE("a connection cut, held or changed at any byte is never a success") {
  Site site(swept_cases(), 20);
  const Accounts before = Accounts::now();
  const Ran ran = site.run(options_with(10, 10));
  const std::size_t wrong = site.judge(ran);
  CHECK(ran.wall_s < 60 * patience);
  all_is_given_back(before, site);
  MESSAGE(fmt::format("{} places, {} wrong, {:.1f} s, the slowest healthy node {:.1f} s", site.cases().size(), wrong, ran.wall_s, ran.slowest_healthy_s));
}

TEST_CASE("floods are cut at the cap, and memory with them") {
  constexpr std::uint64_t flooded = std::uint64_t{64} << 20;
  const auto capped = [](std::uint64_t sent) {
    return [sent](const CommandResult& result) {
      const std::string& kept = result.stdout_text.empty() ? result.stderr_text : result.stdout_text;
      CHECK(kept.size() == 256 * 1024);
      CHECK(kept.substr(0, sim::pattern_text().size()) == sim::pattern_text());   // unharmed
      CHECK(kept.substr(kept.size() - sim::pattern_text().size()) == sim::pattern_text());
      if (sent > 0) CHECK(result.truncated_bytes == sent - kept.size());
      else CHECK(result.truncated_bytes > 0);
    };
  };
  const std::vector<Case> cases{
      {"flood", {good}, {Phase::close}, {}, capped(flooded)},
      {"stderr_flood", {good}, {Phase::close}, {}, capped(flooded)},
      {"flood:8388608", {good}, {Phase::close}, {}, capped(8388608)},
      {"flood:262145", {good}, {Phase::close}, {}, capped(262145)},
      {"endless", {timed_out}, {Phase::command}, {code::remote_command_timed_out}, capped(0)},
  };
  Site site(cases, 20);
  const Accounts before = Accounts::now();
  forget_peak_memory();
  const long resident = memory_kib("VmRSS");
  const Ran ran = site.run(options_with(10, sanitized ? 30 : 20));   // 128 MiB take their time on a busy machine
  const long grown = memory_kib("VmHWM") - resident;
  site.judge(ran);
  all_is_given_back(before, site);
  if (!sanitized) CHECK(grown < 48 * 1024);   // 136 MiB and more were sent
  MESSAGE(fmt::format("{:.1f} s, memory grew by {} KiB, the slowest healthy node {:.1f} s", ran.wall_s, grown, ran.slowest_healthy_s));
}

TEST_CASE("a node that never reads its input holds nobody up") {
  const std::string input(std::size_t{6} << 20, 'i');
  const std::vector<Case> cases{
      {"deaf", {timed_out}, {Phase::command}, {code::remote_command_timed_out}},
      fine("deaf_exit", ""),
      {"cat", {good}, {Phase::close}, {}, [&](const CommandResult& result) { CHECK(result.stdout_text == input); }},
  };
  Site site(cases, 5);
  const Accounts before = Accounts::now();
  FleetOptions options = options_with(10, 8);
  options.max_stdout_bytes = input.size();
  site.judge(site.run(options, input));
  all_is_given_back(before, site);
}

TEST_CASE("an end that never comes is cut by the deadline of its phase alone") {
  const std::vector<Case> cases{
      {"stall@close", {timed_out}, {Phase::close}, {code::remote_command_timed_out}, [](const CommandResult& result) { CHECK(result.exit_status == 0); }},
  };
  Site site(cases, 3);
  CancelToken cancel;
  std::atomic<bool> done{false};
  std::thread rescue([&] {   // or the test would be what hangs
    for (int tenth = 0; tenth < 400 * patience && !done; ++tenth) ::usleep(100'000);
    cancel.raise(SIGINT);
    cancel.raise(SIGINT);
  });
  const Ran ran = site.run(options_with(15, 0), {}, cancel);
  done = true;
  rescue.join();
  site.judge(ran);
  CHECK(ran.wall_s < 30 * patience);
}

TEST_CASE("a silent command is cut by the idle deadline, one that speaks is not") {
  Case drops = fine("trickle:40");   // 2 s in drops of 50 ms
  drops.also = {};
  const std::vector<Case> cases{drops,
                                {"late_status:600000", {timed_out}, {Phase::command}, {code::remote_command_timed_out}},
                                {"stall@output", {timed_out}, {Phase::command}, {code::remote_command_timed_out}}};
  Site site(cases, 3);
  FleetOptions options = options_with(15, 0);
  options.deadlines.idle = seconds(3 * patience);
  const Ran ran = site.run(options);
  site.judge(ran);
  CHECK(ran.wall_s < 30 * patience);
}

TEST_CASE("a host key that changed between two runs is refused") {
  for (const bool first_use : {false, true}) {
    CAPTURE(first_use);
    Site site({fine("changed_host_key")}, 2);
    if (first_use) {
      for (ssh::Target& target : site.targets()) {
        target.known_hosts = {site.simulator().dir + "/none"};
        target.site_store = site.simulator().dir + "/site_store";
        target.host_keys = ssh::HostKeyPolicy::trust_on_first_use;
      }
    }
    site.judge(site.run(options_with(15, 15)));
    const Ran again = site.run(options_with(15, 15));
    CHECK(again.results[0].outcome == refused);
    CHECK(again.results[0].phase == Phase::kex);
    CHECK((again.results[0].why && again.results[0].why->code == code::host_key_changed));
    for (std::size_t i = 1; i < again.results.size(); ++i) CHECK(again.results[i].outcome == good);
  }
}

TEST_CASE("a node that takes few logins at a time is asked again until all are in") {
  Site site({fine("crowded:5")}, 5);
  for (int more = 0; more < 60; ++more) {   // one machine, many names
    site.targets().push_back(site.target_of(0));
    site.targets().back().node = fmt::format("name{}", more);
  }
  const Accounts before = Accounts::now();
  const Ran ran = site.run(options_with(15, 15));
  site.judge(ran);
  all_is_given_back(before, site);
  MESSAGE(fmt::format("{} logins at a machine that takes 5 at a time: {:.1f} s, {} connections", 61, ran.wall_s, site.simulator().stat("accepted")));
}

namespace {

// All faults again and again, to `count` nodes.
std::vector<Case> everything(std::size_t count) {
  auto kinds = phased_cases();
  for (const auto& more : {named_cases(), swept_cases()}) kinds.insert(kinds.end(), more.begin(), more.end());
  kinds.push_back({"flood:4194304", {good}, {Phase::close}});
  kinds.push_back({"endless", {timed_out}, {Phase::command}, {code::remote_command_timed_out}});
  std::vector<Case> cases;
  while (cases.size() < count) cases.push_back(kinds[cases.size() % kinds.size()]);
  return cases;
}

}  // namespace

TEST_CASE("all faults at once, and a site of healthy nodes among them") {
  Site site(everything(500), 250);
  const Accounts before = Accounts::now();
  forget_peak_memory();
  const long resident = memory_kib("VmRSS");
  const Ran ran = site.run(options_with(18, 18));
  const long grown = memory_kib("VmHWM") - resident;
  const std::size_t wrong = site.judge(ran);
  CHECK(ran.wall_s < 90 * patience);
  all_is_given_back(before, site);
  if (!sanitized) CHECK(grown < 750 * 512);   // 512 KiB a node, what they printed included
  MESSAGE(fmt::format("500 sick and 250 healthy nodes, {} wrong, {:.1f} s, memory grew by {} KiB, the slowest healthy node {:.1f} s", wrong, ran.wall_s, grown, ran.slowest_healthy_s));
}

TEST_CASE("stopped in the midst of all faults, every node is accounted for at once") {
  Site site(everything(200), 50);
  const Accounts before = Accounts::now();
  CancelToken cancel;
  std::thread stop([&] {
    ::usleep(700'000);
    cancel.raise(SIGINT);
    cancel.raise(SIGINT);
  });
  const Ran ran = site.run(options_with(60, 60), {}, cancel);
  stop.join();
  CHECK(ran.wall_s < 20 * patience);
  for (std::size_t i = 0; i < site.cases().size(); ++i) {
    const CommandResult& result = ran.results[i];
    INFO(result.node, " is ", told(result));
    const auto& right = site.cases()[i].outcomes;
    const bool stopped = result.outcome == unreachable && result.why && result.why->code == code::fleet_cancelled;
    CHECK((stopped || std::find(right.begin(), right.end(), result.outcome) != right.end()));
  }
  all_is_given_back(before, site);
}

TEST_CASE("a transport that goes away in the midst leaves nothing behind") {
  Site site(everything(200), 50);
  const Accounts before = Accounts::now();
  struct Nobody final : ssh::CommandListener {
    void on_end(const ssh::CommandEnd&) override {}
  };
  {
    auto transport = ssh::make_transport({});
    ssh::Command command{"true", options_with(60, 60).deadlines};
    for (const ssh::Target& target : site.targets()) transport->launch(target, command, std::make_shared<Nobody>());
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(700);
    while (std::chrono::steady_clock::now() < until) transport->drive(std::chrono::milliseconds(50));
    CHECK(transport->running() > 0);
  }
  all_is_given_back(before, site);
}
