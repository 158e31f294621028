#include "agent/undo_task.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "agent/reboot_due.hpp"
#include "agent/resources/undo_store.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/codes/undo.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

// How undoing one resource ended, or what it would do.
struct Undone {
  std::string_view status = "in_sync";
  Difference difference;
  std::optional<Diagnostic> problem;
  std::string reboot;
};

Undone ended(Diagnostic problem) {
  Undone undone;
  undone.status = problem.code == code::agent_cancelled ? "cancelled" : problem.code == code::undo_impossible ? "skipped" : "failed";
  undone.problem = std::move(problem);
  return undone;
}

// What is to be put back of one resource.
struct Intent {
  std::vector<std::optional<PlaceUndo>> pieces;   // of the record's pieces, in their order; none: nothing to do
  std::vector<PlaceState> now;
  json::Object live;                              // of the snapshot, what is to be as before
  Difference difference;
  std::vector<Diagnostic> refused;
  bool empty() const { return live.empty() && std::none_of(pieces.begin(), pieces.end(), [](const auto& piece) { return piece.has_value(); }); }
};

class Undoing {
 public:
  Undoing(TaskContext& task, const NodeEnvironment& node, const UndoStore& store, bool apply) : task_(task), context_{task, node}, store_(store), apply_(apply) {}

  // What a record says about who made what. `words` of all that it could put back.
  void know(const UndoRecord& record, const std::string& id, std::string_view words) {
    for (const auto& piece : record.pieces) known_.insert_or_assign(piece.place.path, fmt::format("of {}, {}", id, words));
    if (const auto made = record.attributes.string_or("creates"); record.type == "command" && !made.empty())
      known_.try_emplace(made, fmt::format("made by the command {}, which cannot be undone", id));
  }

  Undone one(const UndoRecord& record, const std::string& id) {
    Undone undone = tried(record);
    if (undone.problem) know(record, id, fmt::format("which is not undone, {}", to_string(undone.problem->code)));
    return undone;
  }

 private:
  Undone tried(UndoRecord record) {
    if (record.restart) return restart(record);
    if (task_.stop_requested()) return ended(error(code::agent_cancelled, "the run was stopped before it"));
    if (!record.possible) return impossible(record, error(code::undo_impossible, fmt::format("what a {} did is not known, and is not taken back", one_line(record.type, 40))));
    auto created = create_resource(record.type, record.attributes, context_);
    if (!created) return ended(std::move(created).error());
    Resource& resource = **created;
    auto intent = intend(record, resource);
    if (!intent) return ended(std::move(intent).error());
    if (!intent->refused.empty()) return refuse(record, *intent);
    foresee(record, *intent);
    Undone undone;
    undone.difference = intent->difference;
    const bool settle = record.undoing || !intent->empty();
    if (!settle) {
      if (apply_)
        if (auto dropped = store_.drop(record.key); !dropped) return ended(std::move(dropped).error());
      return undone;
    }
    if (intent->empty()) undone.difference.changes.push_back({"system", "may know of what was before", "told again"});
    undone.status = apply_ ? "changed" : "would_change";
    if (apply_)
      if (auto done = do_it(record, *intent, resource); !done) {
        Undone failed = ended(std::move(done).error());
        failed.difference = std::move(undone.difference);
        return failed;
      }
    undone.reboot = resource.reboot_after_undo(record.before);
    return undone;
  }

  // The service reads files anew that were put back, if it runs at all by now.
  Undone restart(const UndoRecord& record) {
    const std::string name = record.attributes.string_or("name");
    const bool due = apply_ ? store_.has(record.key) : store_.has(record.key) || read_by_.contains(name);
    if (!due) return {};
    if (task_.stop_requested()) return ended(error(code::agent_cancelled, "the run was stopped before it"));
    auto created = create_resource(record.type, record.attributes, context_);
    if (!created) return ended(std::move(created).error());
    Resource& service = **created;
    if (auto looked = service.check(); !looked) return ended(std::move(looked).error());
    const auto to_be = states_.find(name);
    const bool runs = apply_ || to_be == states_.end() ? service.restartable() : to_be->second == "running";
    Undone undone;
    if (runs) {
      undone.status = apply_ ? "changed" : "would_change";
      undone.difference.changes.push_back({"restart", "running with what was before", "restarted"});
    }
    if (!apply_) return undone;
    Status done = runs ? restarted(service) : ok();
    if (done) done = store_.drop(record.key);
    if (done) return undone;
    Undone failed = ended(std::move(done).error());
    failed.difference = std::move(undone.difference);
    return failed;
  }

  static Status restarted(Resource& service) {
    KFAB_TRY_VOID(service.restart());
    KFAB_TRY(now, service.snapshot());
    if (now.string_or("state") == "running") return ok();
    return error(code::resource_verify_failed, "restarted, but afterwards it does not run");
  }

  // What the look at later ones must know of this one, which only a run would have done by then.
  void foresee(const UndoRecord& record, const Intent& intent) {
    if (apply_ || intent.empty()) return;
    for (const auto& reader : record.readers) read_by_.insert(reader.name());
    for (std::size_t i = 0; i < record.pieces.size(); ++i)
      if (intent.pieces[i]) going_.add(record.pieces[i].place, intent.pieces[i]->to);
    if (record.type == "package") going_.others_may = true;   // what files a package takes along, apt alone knows
    if (const auto* state = intent.live.find("state"); state != nullptr && record.type == "service") states_[record.attributes.string_or("name")] = scalar_text(*state);
  }

  // The directories that are to go must be empty by then; else nothing of the resource is touched.
  Status goes_empty(const UndoRecord& record, const Intent& intent) const {
    Going going = going_;
    for (std::size_t i = record.pieces.size(); i-- > 0;) {
      if (!intent.pieces[i]) continue;
      const Place& place = record.pieces[i].place;
      if (intent.pieces[i]->to.kind == "absent" && intent.now[i].kind == "directory")
        KFAB_TRY_VOID(can_be_removed(place, going, known_, intent.live.empty(), context_.node));
      going.add(place, intent.pieces[i]->to);
    }
    return ok();
  }

  Undone impossible(const UndoRecord& record, Diagnostic why) const {
    if (apply_)
      if (auto dropped = store_.drop(record.key); !dropped) return ended(std::move(dropped).error());
    return ended(std::move(why));
  }

  Undone refuse(const UndoRecord& record, const Intent& intent) const {
    // What can never be done weighs least: what differs is for somebody to look at first.
    auto worst = std::find_if(intent.refused.begin(), intent.refused.end(), [](const Diagnostic& why) { return why.code != code::undo_impossible; });
    if (worst == intent.refused.end()) return impossible(record, intent.refused.front());
    Diagnostic why = *worst;
    for (const auto& other : intent.refused)
      if (&other != &*worst && other.code == why.code) why.message = fmt::format("{}; {}", why.message, other.message);
    return ended(std::move(why));
  }

  Result<Intent> intend(const UndoRecord& record, Resource& resource) const {
    Intent intent;
    for (const auto& piece : record.pieces) {
      KFAB_TRY(now, look_at(piece.place, nullptr, context_.node));
      PlaceUndo undo = decide(piece.place, piece.before, piece.left, record.complete, now, store_);
      intent.pieces.emplace_back();
      if (undo.what == PlaceUndo::Do::refuse) intent.refused.push_back(*undo.why);
      else if (undo.what == PlaceUndo::Do::put_back) {
        describe(piece.place, now, undo, store_, intent.difference);
        intent.pieces.back() = std::move(undo);
      }
      intent.now.push_back(std::move(now));
    }
    KFAB_TRY_VOID(intend_live(record, resource, intent));
    if (intent.refused.empty())
      if (auto free = goes_empty(record, intent); !free) intent.refused.push_back(std::move(free).error());
    return intent;
  }

  static Status intend_live(const UndoRecord& record, Resource& resource, Intent& intent) {
    if (record.before.as_object()->empty()) return ok();
    KFAB_TRY(now, resource.snapshot());
    for (const auto& [name, before] : record.before.as_object()->members()) {
      if (name.starts_with('~')) continue;
      const std::string was = scalar_text(before), is = scalar_text(now[name]), left = scalar_text(record.left[name]);
      const bool known = record.complete || !record.left[name].is_null();
      if (is == was || (known && left == was)) continue;
      if (!known)
        intent.refused.push_back(error(code::undo_unfinished, fmt::format("{} is {}, was {} before kfab, and it is not known how kfab left it", name, shown(is), shown(was))));
      else if (is != left)
        intent.refused.push_back(error(record.complete ? code::undo_differs : code::undo_unfinished, fmt::format("{} is not as kfab left it: it is {}, kfab left {}", name, shown(is), shown(left))));
      else {
        intent.live.set(name, before);
        intent.difference.changes.push_back({name, shown(is), shown(was)});
      }
    }
    if (const auto why = resource.cannot_restore(intent.live); !why.empty()) intent.refused.push_back(error(code::undo_impossible, why));
    return ok();
  }

  static std::string shown(const std::string& text) { return text.empty() ? "empty" : one_line(text, 160); }

  Status do_it(UndoRecord& record, const Intent& intent, Resource& resource) const {
    KFAB_TRY(held, store_.hold());
    // From here on the record says exactly what is found and what is to come of it, so that a cut is gone on from.
    for (std::size_t i = 0; i < record.pieces.size(); ++i) {
      if (!intent.pieces[i]) continue;
      auto& piece = record.pieces[i];
      if (intent.pieces[i]->text)
        KFAB_TRY_VOID(store_.keep(intent.pieces[i]->to.sha256, *intent.pieces[i]->text, piece.place.path, context_.node));
      piece.before = intent.pieces[i]->to;
      piece.left = intent.now[i];
    }
    record.undoing = true;
    for (const auto& reader : record.readers) KFAB_TRY_VOID(store_.save(restart_record(record.owner, reader), context_));
    KFAB_TRY_VOID(store_.save(record, context_));
    if (!intent.live.empty()) KFAB_TRY_VOID(resource.restore(intent.live));
    for (std::size_t i = record.pieces.size(); i-- > 0;)
      if (intent.pieces[i]) KFAB_TRY_VOID(put_back(record.pieces[i].place, record.pieces[i].before, store_, context_));
    KFAB_TRY_VOID(resource.settle(record.before));
    KFAB_TRY_VOID(verify(record, intent, resource));
    return store_.drop(record.key);
  }

  Status verify(const UndoRecord& record, const Intent& intent, Resource& resource) const {
    for (std::size_t i = 0; i < record.pieces.size(); ++i) {
      if (!intent.pieces[i]) continue;
      KFAB_TRY(now, look_at(record.pieces[i].place, nullptr, context_.node));
      if (!now.same(record.pieces[i].before))
        return error(code::resource_verify_failed, fmt::format("put back, but afterwards {} is {} and not {}", one_line(record.pieces[i].place.path), now.words(), record.pieces[i].before.words()));
    }
    if (intent.live.empty()) return ok();
    KFAB_TRY(now, resource.snapshot());
    for (const auto& [name, before] : intent.live.members())
      if (scalar_text(now[name]) != scalar_text(before))
        return error(code::resource_verify_failed, fmt::format("put back, but afterwards {} is {} and not {}", name, shown(scalar_text(now[name])), shown(scalar_text(before))));
    return ok();
  }

  TaskContext& task_;
  ResourceContext context_;
  const UndoStore& store_;
  bool apply_;
  // Of a look, what would have been done by now.
  Going going_;
  KnownPaths known_;
  std::set<std::string> read_by_;               // services that read what would be put back
  std::map<std::string, std::string> states_;   // of services, that would be started or stopped
};

// The services that read any of these, each once, and those that a run which was cut left to be restarted: after all else.
void add_restarts(std::vector<UndoRecord>& records, const std::string& owner) {
  std::vector<UndoRecord> restarts, rest;
  const auto add = [&](UndoRecord one) {
    const bool known = std::any_of(restarts.begin(), restarts.end(), [&](const UndoRecord& other) { return other.key == one.key; });
    if (!known) restarts.push_back(std::move(one));
  };
  for (auto& record : records) {
    for (const auto& reader : record.readers) add(restart_record(owner, reader));
    if (record.restart) add(std::move(record));
    else rest.push_back(std::move(record));
  }
  records = std::move(rest);
  for (auto& one : restarts) records.push_back(std::move(one));
}

// The id by which the host knows a record: the role's own, and where one id had several resources, which of them.
std::vector<std::string> ids_of(const std::vector<UndoRecord>& records, const std::vector<std::string>& roles) {
  std::vector<std::string> ids;
  std::map<std::string, int> seen;
  for (const auto& record : records) {
    std::string id = record.ids.front();
    for (const auto& one : record.ids)
      for (const auto& role : roles)
        if (one.size() > role.size() && one.starts_with(role) && one[role.size()] == '/') id = one;
    const int count = ++seen[id];
    ids.push_back(count == 1 ? id : fmt::format("{} #{}", id, count));
  }
  return ids;
}

void report(TaskContext& task, const std::string& id, const UndoRecord& record, const Undone& undone, double duration_s) {
  json::Array changes;
  for (const auto& change : undone.difference.changes)
    changes.emplace_back(json::Object{{"what", change.what}, {"before", change.before}, {"after", change.after}});
  json::Value message, code;
  if (undone.problem) message = undone.problem->message, code = to_string(undone.problem->code);
  task.emit(json::Object{{"type", "resource"},
                         {"id", id},
                         {"resource_type", record.type},
                         {"status", undone.status},
                         {"changes", std::move(changes)},
                         {"diff", undone.difference.diff},
                         {"message", message},
                         {"code", code},
                         {"digests", json::Array{}},
                         {"reboot_required", !undone.reboot.empty()},
                         {"reboot_reason", undone.reboot.empty() ? json::Value() : json::Value(undone.reboot)},
                         {"duration_s", duration_s}});
}

}  // namespace

Status run_undo_task(const json::Value& request, TaskContext& context, const NodeEnvironment& node) {
  const std::string mode = request.string_or("mode");
  if (mode != "plan" && mode != "apply") return error(code::agent_bad_request, "mode must be plan or apply");
  const auto roles = string_list(request["roles"]);
  const std::string owner = request.string_or("owner");
  if (roles.empty() || owner.empty()) return error(code::agent_bad_request, "the request names no roles, or not in whose name they were applied");
  KFAB_TRY(store, UndoStore::at(node, owner));
  std::vector<std::string> damaged;
  KFAB_TRY(all, store.load(damaged));
  std::vector<UndoRecord> records, others;
  for (auto it = all.rbegin(); it != all.rend(); ++it) {   // what was applied last may rest on what was applied before
    const bool wanted = it->owner == owner && std::any_of(roles.begin(), roles.end(), [&](const std::string& role) { return it->of_role(role); });
    (wanted ? records : others).push_back(std::move(*it));
  }
  add_restarts(records, owner);
  const auto ids = ids_of(records, roles);
  json::Array listed;
  for (std::size_t i = 0; i < records.size(); ++i) listed.emplace_back(json::Object{{"id", ids[i]}, {"type", records[i].type}});
  context.emit(json::Object{{"type", "undo"}, {"resources", std::move(listed)}});
  Undoing undoing(context, node, store, mode == "apply");
  for (const auto& other : others) undoing.know(other, other.ids.front(), "of a role that is not undone");
  for (std::size_t i = 0; i < records.size(); ++i) undoing.know(records[i], ids[i], "which does not go as a whole");
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (!context.stop_requested())
      context.progress(ids[i], static_cast<double>(i), static_cast<double>(records.size()), mode == "apply" ? "undoing" : "checking");
    const auto start = std::chrono::steady_clock::now();
    const Undone undone = undoing.one(records[i], ids[i]);
    report(context, ids[i], records[i], undone, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  if (mode == "apply") store.sweep();
  const std::string system = system_reboot_reason(node);
  context.emit(json::Object{{"type", "system"}, {"reboot_due", system.empty() ? json::Value() : json::Value(system)}});
  if (!damaged.empty())
    return error(code::undo_record_damaged, fmt::format("{} cannot be read; what {} about is not known", join(damaged, ", "), damaged.size() == 1 ? "it is" : "they are"));
  if (context.stop_requested()) return error(code::agent_cancelled, "the run was stopped before all was undone");
  return ok();
}

Status run_undo_task(const json::Value& request, TaskContext& context) {
  const NodeEnvironment node;
  return run_undo_task(request, context, node);
}

}  // namespace kfab::agent
