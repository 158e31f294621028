#include "cli/fleet_options.hpp"

#include <cstdint>

#include "base/text.hpp"
#include "fleet/pace.hpp"

namespace kfab::cli {

using namespace kfab::commands;

std::vector<OptionSpec> reach_options() {
  return {
      {.name = "window", .kind = Kind::integer, .value = "N", .help = "most nodes at work at the same time; a run starts with 32 and finds its size", .fallback = "512", .min = 1, .max = 20000},
      {.name = "user", .kind = Kind::text, .value = "NAME", .help = "log in as NAME instead of the manifest's user"},
      {.name = "port", .kind = Kind::integer, .value = "PORT", .help = "connect to PORT instead of the manifest's", .min = 1, .max = 65535},
      {.name = "identity", .kind = Kind::path, .value = "FILE", .help = "use this private key; may be given several times", .repeatable = true},
      {.name = "known-hosts", .kind = Kind::path, .value = "FILE", .help = "read host keys from FILE; may be given several times", .repeatable = true},
      {.name = "host-keys", .kind = Kind::choice, .value = "POLICY",
       .help = "what to do about an unknown host key: refuse it, or keep it for this site", .choices = {"verify", "trust-on-first-use"}},
      {.name = "ssh-config", .kind = Kind::path, .value = "FILE",
       .help = "follow this OpenSSH configuration; none follows no file. Default: the manifest's, without a manifest ~/.ssh/config"},
      {.name = "transport", .kind = Kind::choice, .value = "WAY",
       .help = "libssh2 within kfab, or openssh: by ssh(1), for certificates, security keys and Kerberos; what the manifest reaches as local stays local", .choices = {"libssh2", "openssh"}},
      {.name = "become", .help = "work as root by sudo, which must not ask for a password unless one of the next two is there"},
      {.name = "ask-become-pass", .help = "ask once on the terminal for the password that sudo wants on the nodes"},
      {.name = "become-pass-file", .kind = Kind::path, .value = "FILE", .help = "read that password from FILE's first line; only you may read FILE"},
      {.name = "connect-timeout", .kind = Kind::duration, .value = "TIME", .help = "longest wait for a connection, and for the server's first words after it", .fallback = "10s"},
  };
}

std::vector<OptionSpec> pace_options(std::string_view canary_help) {
  return {
      {.name = "canary", .kind = Kind::integer, .value = "N", .help = canary_help, .max = 1'000'000},
      {.name = "batch", .kind = Kind::share, .value = "SHARE", .help = "nodes per batch, as 50 or 10%; the next batch begins when all of one have ended"},
      {.name = "ramp", .kind = Kind::choice, .value = "HOW",
       .help = "batches after the first: each twice as large, all the same, or all the rest; default is double after a canary, same with --batch",
       .choices = {"double", "same", "rest"}},
      {.name = "max-fail", .kind = Kind::share, .value = "SHARE",
       .help = "start no more once more nodes than this, as 5 or 2%, failed, did not answer or were refused; 0 stops at the first"},
      {.name = "max-fail-per-batch", .kind = Kind::share, .value = "SHARE", .help = "the same within one batch"},
      {.name = "max-fail-per-rack", .kind = Kind::share, .value = "SHARE", .help = "once more than this many of a rack failed, leave the rest of that rack out"},
  };
}

std::vector<OptionSpec> with_pace(std::vector<OptionSpec> own, std::vector<OptionSpec> pace) {
  for (auto& option : pace) own.push_back(std::move(option));
  for (auto& option : reach_options()) own.push_back(std::move(option));
  return own;
}

std::vector<OptionSpec> with_agent(std::vector<OptionSpec> own, std::vector<OptionSpec> pace) {
  own.push_back({.name = "relay", .help = "send the agent once per rack: the first node that has it hands it to the others, over a port that it opens for that time"});
  return with_pace(std::move(own), std::move(pace));
}

PositionalSpec site_manifest(bool required) {
  return {.name = "MANIFEST", .kind = Kind::manifest, .help = "the site's manifest; - is standard input", .required = required};
}

SiteOptions site_options(const Args& args) {
  SiteOptions site;
  site.manifest = args.command()->name == "copy" ? "" : args.positional("MANIFEST");
  site.selection = {args.list("tranche"), join(args.list("nodes"), ","), join(args.list("exclude"), ",")};
  ReachOptions& reach = site.reach;
  reach.user = args.text("user");
  if (const auto port = args.integer("port")) reach.port = static_cast<std::uint16_t>(*port);
  reach.identity_files = args.list("identity");
  reach.known_hosts = args.list("known-hosts");
  reach.host_keys = args.text("host-keys");
  reach.become_password_file = args.text("become-pass-file");
  reach.ask_become_password = args.flag("ask-become-pass");
  reach.become = args.flag("become");
  reach.window = static_cast<std::size_t>(args.integer("window").value_or(512));
  reach.connect_timeout_s = args.duration_s("connect-timeout");
  reach.connect_timeout_said = args.given("connect-timeout");
  reach.ssh_config = args.text("ssh-config");
  reach.transport = args.text("transport");
  return site;
}

SiteOptions paced_site_options(const Args& args) {
  SiteOptions site = site_options(args);
  fleet::PaceOptions& pace = site.reach.pace;
  if (const auto canary = args.integer("canary")) pace.canary = static_cast<std::size_t>(*canary);
  pace.batch = args.share("batch");
  pace.ramp = fleet::parse_ramp(args.text("ramp"));
  pace.max_fail = args.share("max-fail");
  pace.max_fail_per_batch = args.share("max-fail-per-batch");
  pace.max_fail_per_rack = args.share("max-fail-per-rack");
  return site;
}

SiteOptions agent_site_options(const Args& args) {
  SiteOptions site = paced_site_options(args);
  site.reach.relay = args.flag("relay");
  return site;
}

}  // namespace kfab::cli
