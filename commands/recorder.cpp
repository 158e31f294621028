#include "commands/recorder.hpp"

#include <unistd.h>

#include <array>

#include <fmt/format.h>

#include "base/codes/commands.hpp"
#include "base/text.hpp"
#include "json/redact.hpp"

namespace kfab::commands {

std::string who(const Env& env) {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  const auto user = env.getenv("USER");
  return fmt::format("{}@{}", user ? *user : fmt::format("uid {}", ::getuid()), host.data());
}

Recorder::Recorder(std::unique_ptr<store::Store> store, Env& env) : store_(std::move(store)), env_(env) {}
Recorder::~Recorder() = default;

Result<std::unique_ptr<Recorder>> Recorder::begin(Env& env, std::string command, const SiteRef& site, const std::string& continues) {
  KFAB_TRY(opened, store::Store::open(env.state_dir, site.name));
  store::RunRecord run;
  run.id = env.run_id;
  run.command = std::move(command);
  run.argv = env.command_line;
  run.site = site.name;
  run.manifest_sha256 = site.manifest_sha256;
  run.who = who(env);
  run.kfab_version = env.kfab_version;
  run.started_at = env.started_at;
  KFAB_TRY_VOID(opened->begin_run(run, continues));
  return std::unique_ptr<Recorder>(new Recorder(std::move(opened), env));
}

namespace {

store::Findings redacted(store::Findings found, const Redactor& redactor) {
  for (auto& record : found.nodes) {
    record.reason = redactor.text(std::move(record.reason));
    record.detail = json::redacted(record.detail, redactor);
  }
  for (auto& record : found.accelerators) record.reason = redactor.text(std::move(record.reason));
  for (auto& record : found.measurements) record.detail = redactor.text(std::move(record.detail));
  return found;
}

}  // namespace

void Recorder::put(const store::Findings& found) {
  auto kept = env_.redactor->empty() ? store_->put(found) : store_->put(redacted(found, *env_.redactor));
  if (!kept) problems_.push_back(std::move(kept).error());
}

void Recorder::event(const Event& event) {
  Event clean = event;
  clean.message = env_.redactor->text(std::move(clean.message));
  if (auto kept = store_->append_event(env_.run_id, clean, env_.clock.now()); !kept) problems_.push_back(std::move(kept).error());
}

void Recorder::work(const json::Value& document) {
  if (auto kept = store_->put_work(env_.run_id, document); !kept) problems_.push_back(std::move(kept).error());
}

void Recorder::finish(CommandOutput& output) {
  // Evidence that is not kept is evidence that readiness will not see: such a run did not do what it was asked to, and its record says so.
  const auto incomplete_if_lost = [&] {
    if (!problems_.empty() && (output.outcome == Outcome::yes || output.outcome == Outcome::no)) output.outcome = Outcome::incomplete;
  };
  incomplete_if_lost();
  if (auto kept = store_->finish_run(env_.run_id, output.outcome, env_.clock.now()); !kept)
    problems_.push_back(std::move(kept).error());
  incomplete_if_lost();
  if (problems_.empty()) return;
  Diagnostic why = error(code::not_recorded, fmt::format("{} of this run could not be kept", plural(static_cast<long long>(problems_.size()), "result")));
  why.help.push_back("the first reason: " + problems_.front().message);
  output.diagnostics.push_back(std::move(why));
  output.diagnostics.push_back(std::move(problems_.front()));
}

}  // namespace kfab::commands
