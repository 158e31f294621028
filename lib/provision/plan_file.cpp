#include "provision/plan_file.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/codes/plan.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "json/shorthand.hpp"

namespace kfab::provision {
namespace {

constexpr std::string_view schema = "kfab.plan-file/1.1", schema_stem = "kfab.plan-file/1.";
constexpr std::string_view opening = R"({"schema":"kfab.plan-file/)";
constexpr std::size_t longest_line = std::size_t{64} << 20;

std::vector<std::string> texts_of(const json::Array& list) {
  std::vector<std::string> texts;
  for (const auto& item : list)
    if (const auto* text = item.as_string()) texts.push_back(*text);
  return texts;
}

json::Array to_json(const std::vector<ResourceRecord>& found) {
  json::Array list;
  for (const auto& record : found) {
    json::Array changes;
    for (const auto& change : record.changes)
      changes.emplace_back(json::Object{{"what", change.what}, {"before", change.before}, {"after", change.after}});
    list.emplace_back(json::Object{{"id", record.id},
                                   {"type", record.type},
                                   {"status", to_string(record.status)},
                                   {"changes", std::move(changes)},
                                   {"diff", json::text_or_null(record.diff)},
                                   {"message", json::text_or_null(record.message)},
                                   {"code", json::text_or_null(record.code)},
                                   {"reboot_reason", json::text_or_null(record.reboot_reason)},
                                   {"digests", json::array_of(record.digests)}});
  }
  return list;
}

std::vector<ResourceRecord> read_found(const json::Array& list) {
  std::vector<ResourceRecord> found;
  for (const auto& item : list) {
    ResourceRecord record;
    record.id = item.string_or("id");
    record.type = item.string_or("type");
    record.status = parse_resource_status(item.string_or("status")).value_or(ResourceStatus::not_reported);
    for (const auto& change : item.array_at("changes"))
      record.changes.push_back({change.string_or("what"), change.string_or("before"), change.string_or("after")});
    record.diff = item.string_or("diff");
    record.message = item.string_or("message");
    record.code = item.string_or("code");
    record.reboot_reason = item.string_or("reboot_reason");
    record.digests = texts_of(item.array_at("digests"));
    found.push_back(std::move(record));
  }
  return found;
}

std::vector<Turn> read_turns(const json::Array& list) {
  std::vector<Turn> turns;
  for (const auto& item : list)
    if (const auto limit = item.int_or("limit", 0); limit > 0) turns.push_back({item.string_or("name"), static_cast<std::size_t>(limit)});
  return turns;
}

DesiredState read_state(const json::Value& line) {
  DesiredState state;
  for (const auto& item : line.array_at("resources"))
    state.resources.push_back({item.string_or("id"), item.string_or("type"), item["attributes"], texts_of(item.array_at("after")),
                               texts_of(item.array_at("restart_on")), read_turns(item.array_at("turns"))});
  state.sha256 = line.string_or("sha256");
  state.secrets = secrets_in(resources_json(state));
  return state;
}

json::Array secrets_json(const PlanFile& plan) {
  json::Array list;
  for (const auto& [id, digest] : plan.secrets) list.emplace_back(json::Object{{"id", id}, {"sha256", digest}});
  return list;
}

json::Object to_json(const PlannedNode& node) {
  return json::Object{{"type", "node"},           {"node", node.node},
                      {"outcome", node.outcome},  {"phase", node.phase},
                      {"code", json::text_or_null(node.code)}, {"reason", json::text_or_null(node.reason)},
                      {"desired", node.desired},  {"found", json::text_or_null(node.found)},
                      {"board_serial", node.board_serial}, {"machine_id", node.machine_id},
                      {"facts_sha256", facts_sha256(node)}};
}

PlannedNode read_node(const json::Value& line) {
  return {line.string_or("node"),   line.string_or("outcome"), line.string_or("phase"), line.string_or("code"),
          line.string_or("reason"), line.string_or("desired"), line.string_or("found"), line["board_serial"], line["machine_id"]};
}

// What the digests of a line's own content must be, or the file was not written by kfab.
bool fits(const PlanFile& plan) {
  return std::all_of(plan.nodes.begin(), plan.nodes.end(), [&](const PlannedNode& node) {
    const auto found = plan.found.find(node.found);
    const auto state = plan.states.find(node.desired);
    if (state == plan.states.end()) return false;
    return node.found.empty() || (found != plan.found.end() && found->second.size() == state->second.resources.size());
  });
}

}  // namespace

const PlannedNode* PlanFile::find(std::string_view node) const {
  const auto at = places.find(node);
  return at == places.end() ? nullptr : &nodes[at->second];
}

NodePlan PlanFile::plan_of(const PlannedNode& node) const {
  const auto state = states.find(node.desired);
  const auto records = found.find(node.found);
  DesiredState desired = state == states.end() ? DesiredState{} : state->second;
  desired.node = node.node;
  return judge_records(desired, Mode::plan, records == found.end() ? std::vector<ResourceRecord>{} : records->second);
}

void add_node(PlanFile& plan, const DesiredState& desired, const NodePlan& judged, PlannedNode how) {
  how.node = desired.node;
  how.desired = desired.sha256;
  if (plan.states.count(desired.sha256) == 0) {
    DesiredState state = desired;
    state.node.clear();
    plan.states.emplace(desired.sha256, std::move(state));
  }
  if (judged.complete && judged.not_reported == 0 && judged.cancelled == 0) {
    std::vector<ResourceRecord> records = judged.resources;
    for (auto& record : records) record.duration_s.reset();
    how.found = sha256_hex(json::dump(to_json(records)));
    how.board_serial = judged.board_serial;
    how.machine_id = judged.machine_id;
    plan.found.emplace(how.found, std::move(records));
  }
  plan.places.emplace(how.node, plan.nodes.size());
  plan.nodes.push_back(std::move(how));
}

Status check_secrets(const PlanFile& plan, const SecretSources& sources, const SecretValues& values) {
  for (const auto& [id, value] : values) {
    const auto planned = plan.secrets.find(id);
    if (planned != plan.secrets.end() && planned->second == secret_digest(plan.run_id, value)) continue;
    const auto source = sources.find(id);
    return error(code::secret_changed, fmt::format("the secret {} is not what it was when the plan was made",
                                                   source == sources.end() ? id : one_line(source->second.name, 60)));
  }
  return ok();
}

json::Value expectation(const PlanFile& plan, const PlannedNode& node) {
  json::Array resources;
  if (const auto records = plan.found.find(node.found); records != plan.found.end())
    for (const auto& record : records->second)
      resources.emplace_back(json::Object{{"id", record.id},
                                          {"failed", record.status == ResourceStatus::failed || record.status == ResourceStatus::skipped},
                                          {"digests", json::array_of(record.digests)}});
  return json::Object{{"board_serial", node.board_serial}, {"machine_id", node.machine_id}, {"resources", std::move(resources)}};
}

std::string facts_sha256(const PlannedNode& node) {
  return sha256_hex(json::dump(json::Array{node.board_serial, node.machine_id, node.found}));
}

std::string to_text(PlanFile& plan) {
  std::string text = json::dump(json::Object{{"schema", schema},
                                             {"kfab", json::Object{{"version", plan.kfab_version}}},
                                             {"created_at", to_rfc3339(plan.created_at)},
                                             {"created_by", plan.created_by},
                                             {"run_id", plan.run_id},
                                             {"site", plan.site},
                                             {"manifest", json::text_or_null(plan.manifest)},
                                             {"manifest_sha256", plan.manifest_sha256},
                                             {"secrets", secrets_json(plan)}}) + "\n";
  const auto add = [&](json::Object line) { text += json::dump(line) + "\n"; };
  for (const auto& [digest, state] : plan.states)
    add({{"type", "state"}, {"sha256", digest}, {"resources", resources_json(state, WithPace::yes)}});
  for (const auto& [digest, records] : plan.found) add({{"type", "found"}, {"sha256", digest}, {"resources", to_json(records)}});
  for (const auto& node : plan.nodes) add(to_json(node));
  plan.sha256 = sha256_hex(text);
  add({{"type", "end"}, {"sha256", plan.sha256}});
  return text;
}

bool is_plan_file(std::string_view text) { return text.starts_with(opening); }

Result<PlanFile> read_plan_file(std::string_view text, std::string_view name) {
  const auto damaged = [&](std::string_view why) { return error(code::plan_file_damaged, fmt::format("{}: {}", one_line(name, 160), why)); };
  if (!is_plan_file(text)) return damaged("is no plan file");
  const auto lines = split_lines(text);
  const auto read = [](std::string_view line) {
    auto value = json::parse(line, longest_line);
    return value ? std::move(*value) : json::Value();
  };
  const json::Value header = read(lines.front());
  if (!header.is_object()) return damaged("its first line is not whole");
  if (!header.string_or("schema").starts_with(schema_stem))
    return error(code::plan_file_newer, fmt::format("{}: its schema is {}, this kfab knows {}", one_line(name, 160), one_line(header.string_or("schema", "unreadable"), 40), schema));
  const json::Value end = read(lines.back());
  if (lines.size() < 2 || end.string_or("type") != "end") return damaged("its end is missing");
  PlanFile plan;
  plan.sha256 = sha256_hex(text.substr(0, static_cast<std::size_t>(lines.back().data() - text.data())));
  if (end.string_or("sha256") != plan.sha256) return damaged("its content is not what kfab wrote: the SHA-256 differs");
  plan.kfab_version = header["kfab"].string_or("version");
  plan.created_at = parse_rfc3339(header.string_or("created_at")).value_or(Timestamp{});
  plan.created_by = header.string_or("created_by");
  plan.run_id = header.string_or("run_id");
  plan.site = header.string_or("site");
  plan.manifest = header.string_or("manifest");
  plan.manifest_sha256 = header.string_or("manifest_sha256");
  for (const auto& secret : header.array_at("secrets")) plan.secrets.emplace(secret.string_or("id"), secret.string_or("sha256"));
  for (std::size_t i = 1; i + 1 < lines.size(); ++i) {
    const json::Value line = read(lines[i]);
    const std::string type = line.string_or("type");
    if (type == "state") plan.states.emplace(line.string_or("sha256"), read_state(line));
    else if (type == "found") plan.found.emplace(line.string_or("sha256"), read_found(line.array_at("resources")));
    else if (type == "node") {
      plan.nodes.push_back(read_node(line));
      if (!plan.places.emplace(plan.nodes.back().node, plan.nodes.size() - 1).second) return damaged("a node stands in it twice");
    } else return damaged(fmt::format("line {} is none that kfab writes", i + 1));
  }
  if (!fits(plan)) return damaged("a node refers to a state that is not in it");
  return plan;
}

}  // namespace kfab::provision
