#include <algorithm>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "agent/resources/resource.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr double nft_timeout_s = 60;

// Whether the text stays inside the braces that are put around it: one that closed them could write other tables.
bool stays_inside(std::string_view rules) {
  int depth = 0;
  bool quoted = false, comment = false;
  for (const char c : rules) {
    if (c == '\n') comment = false;
    if (comment) continue;
    if (c == '"') quoted = !quoted;
    if (quoted) continue;
    if (c == '#') comment = true;
    if (c == '{') ++depth;
    if (c == '}' && --depth < 0) return false;
  }
  return depth == 0 && !quoted;
}

// kfab's own table of the kernel's packet filter: loaded in one step, and by a unit of its own at boot. Other tables are
// never touched. What was loaded is remembered as nft lists it, so that a rule added by hand is drift.
class FirewallResource final : public Resource {
 public:
  FirewallResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context),
        rules_(attributes.string_or("rules")),
        absent_(attributes.string_or("state") == "absent"),
        backup_(attributes.bool_or("backup", true)),
        rules_file_(context.node.at("/etc/kfab/firewall.nft"), "rules", 0600),
        unit_file_(context.node.at("/etc/systemd/system/kfab-firewall.service"), "unit"),
        listing_file_(context.node.at("/var/lib/kfab/firewall.listing"), "what was loaded", 0600) {
    if (absent_) {
      rules_file_.want_absent();
      unit_file_.want_absent();
      listing_file_.want_absent();
      return;
    }
    // The first two lines make the load the same whether the table was there or not, and all of it one transaction.
    if (!rules_.empty() && !rules_.ends_with('\n')) rules_ += '\n';
    rules_file_.want(fmt::format("{}\ntable inet kfab\ndelete table inet kfab\ntable inet kfab {{\n{}}}\n", written_by_kfab, rules_));
    unit_file_.want(fmt::format("{}\n[Unit]\nDescription=Packet filter of kfab\nDefaultDependencies=no\n"
                                "After=systemd-modules-load.service nftables.service\nBefore=network-pre.target\nWants=network-pre.target\n"
                                "Conflicts=shutdown.target\nBefore=shutdown.target\n\n"
                                "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/sbin/nft -f /etc/kfab/firewall.nft\n"
                                "ExecStop=/usr/sbin/nft delete table inet kfab\n\n[Install]\nWantedBy=multi-user.target\n", written_by_kfab));
  }

  Result<Difference> check() override {
    if (!absent_ && (trim(rules_).empty() || !stays_inside(rules_)))
      return error(code::agent_bad_request, "the rules are empty, or do not stay inside their table");
    Difference difference;
    KFAB_TRY_VOID(rules_file_.check(difference));
    KFAB_TRY_VOID(unit_file_.check(difference));
    KFAB_TRY(now, listing());
    load_ = false;
    if (absent_) {
      load_ = !now.empty();
      if (load_) difference.changes.push_back({"live", "loaded", "absent"});
      KFAB_TRY_VOID(listing_file_.check(difference));
      return difference;
    }
    KFAB_TRY(loaded, read_disk_file(listing_file_.path()));
    if (now.empty()) difference.changes.push_back({"live", "absent", "loaded"});
    else if (loaded.bytes != stamp(now)) difference.changes.push_back({"live", "not what was loaded", "loaded"});
    load_ = now.empty() || loaded.bytes != stamp(now) || rules_file_.differs();
    enable_ = !enabled();
    if (enable_) difference.changes.push_back({"at boot", "not enabled", "enabled"});
    return difference;
  }

  Status apply(const Difference&) override {
    if (absent_) return remove();
    // Checked before it is installed, loaded before the unit: the next boot never sees what nft does not take.
    if (rules_file_.differs()) KFAB_TRY_VOID(rules_file_.apply(context_, backup_, {"nft", "-c", "-f", "%s"}));
    if (load_) {
      KFAB_TRY_VOID(run({"nft", "-f", rules_file_.path()}));
      KFAB_TRY(now, listing());
      listing_file_.want(stamp(now));
      KFAB_TRY_VOID(listing_file_.apply(context_));
    }
    if (unit_file_.differs()) {
      KFAB_TRY_VOID(unit_file_.apply(context_));
      KFAB_TRY_VOID(run({"systemctl", "daemon-reload"}));
    }
    return enable_ || unit_file_.differs() ? run({"systemctl", "enable", "--", "kfab-firewall.service"}) : ok();
  }

  // The link by which the unit is enabled is one of them: once the unit is gone systemctl would not find it any more.
  std::vector<Place> places() const override {
    return {{.path = rules_file_.path(), .copies = backup_}, {.path = listing_file_.path()}, {.path = unit_file_.path()},
            {.path = context_.node.at("/etc/systemd/system/multi-user.target.wants/kfab-firewall.service")}};
  }
  Result<json::Value> snapshot() override {
    KFAB_TRY(now, listing());
    return json::Value(json::Object{{"table inet kfab", now.empty() ? "absent" : "sha256 " + sha256_hex(now)}});
  }
  // A table that was there is loaded by settle(), from the rules that are put back.
  Status restore(const json::Value& before) override {
    return before.string_or("table inet kfab") == "absent" ? run({"nft", "delete", "table", "inet", "kfab"}) : ok();
  }
  Status settle(const json::Value& before) override {
    KFAB_TRY_VOID(run({"systemctl", "daemon-reload"}));
    KFAB_TRY(now, snapshot());
    if (scalar_text(now["table inet kfab"]) == before.string_or("table inet kfab") || before.string_or("table inet kfab") == "absent") return ok();
    return run({"nft", "-f", rules_file_.path()});
  }

 private:
  Status remove() const {
    if (unit_file_.differs()) KFAB_TRY_VOID(run({"systemctl", "disable", "--", "kfab-firewall.service"}));
    if (load_) KFAB_TRY_VOID(run({"nft", "delete", "table", "inet", "kfab"}));
    for (const auto* file : {&unit_file_, &rules_file_, &listing_file_})
      if (file->differs()) KFAB_TRY_VOID(file->apply(context_));
    return run({"systemctl", "daemon-reload"});
  }

  // Without counters; empty where there is no such table.
  Result<std::string> listing() const {
    const auto result = context_.run({"nft", "-s", "list", "table", "inet", "kfab"}, nft_timeout_s);
    if (result.success()) return result.out;
    if (result.end == ProcessResult::End::exited && result.err.find("No such file or directory") != std::string::npos) return std::string();
    return process_failure(code::firewall_failed, "nft list", result);
  }

  // Of the rules as declared as well: the same listing of other rules would not be the same.
  std::string stamp(const std::string& listing) const { return sha256_hex(rules_ + "\n" + listing) + "\n"; }

  bool enabled() const {
    const auto result = context_.run({"systemctl", "is-enabled", "--", "kfab-firewall.service"}, nft_timeout_s);
    return trim(result.out) == "enabled";
  }

  Status run(const std::vector<std::string>& argv) const {
    const auto result = context_.run(argv, nft_timeout_s);
    if (result.success()) return ok();
    return process_failure(code::firewall_failed, one_line(join(argv, " "), 120), result);
  }

  ResourceContext context_;
  std::string rules_;
  bool absent_, backup_;
  OwnFile rules_file_, unit_file_, listing_file_;
  bool load_ = false, enable_ = false;
};

}  // namespace

std::unique_ptr<Resource> make_firewall(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<FirewallResource>(attributes, context);
}

}  // namespace kfab::agent
