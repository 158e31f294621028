#include "agent/resources/undo_store.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <set>

#include <fmt/format.h>

#include "agent/resources/backup.hpp"
#include "agent/resources/disk_file.hpp"
#include "base/codes/provision.hpp"
#include "base/codes/undo.hpp"
#include "base/file.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr std::int64_t record_version = 1;
constexpr std::size_t max_records = 20'000;
constexpr std::size_t max_record_bytes = std::size_t{1} << 20;

Status private_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return system_failure(errno, "make", path);
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) return system_failure(errno, "look at", path);
  if (!S_ISDIR(found.st_mode) || found.st_uid != ::geteuid())
    return error(code::undo_not_recorded, fmt::format("{} is not a directory of the agent's own", one_line(path)));
  if ((found.st_mode & 077) != 0 && ::chmod(path.c_str(), 0700) != 0) return system_failure(errno, "set the mode of", path);
  return ok();
}

void sync_directory(const std::string& path) {
  const Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() >= 0) ::fsync(directory.get());
}

constexpr std::array<std::string_view, 6> kinds{"whole", "lines", "own_lines", "directory", "tree", "mount_point"};

json::Value to_json(const UndoRecord::Piece& piece) {
  return json::Object{{"path", piece.place.path},
                      {"kind", kinds[static_cast<std::size_t>(piece.place.kind)]},
                      {"copies", piece.place.copies},
                      {"sensitive", piece.place.sensitive},
                      {"own_directory", piece.place.own_directory},
                      {"before", piece.before.to_json()},
                      {"left", piece.left ? piece.left->to_json() : json::Value()}};
}

std::optional<UndoRecord::Piece> piece_of(const json::Value& value) {
  const auto kind = std::find(kinds.begin(), kinds.end(), value.string_or("kind"));
  UndoRecord::Piece piece;
  piece.place.path = value.string_or("path");
  if (kind == kinds.end() || !piece.place.path.starts_with('/')) return std::nullopt;
  piece.place.kind = static_cast<Place::Kind>(kind - kinds.begin());
  piece.place.copies = value.bool_or("copies", true);
  piece.place.sensitive = value.bool_or("sensitive", false);
  piece.place.own_directory = value.bool_or("own_directory", false);
  piece.before = PlaceState::from_json(value["before"]);
  if (value["left"].is_object()) piece.left = PlaceState::from_json(value["left"]);
  return piece;
}

json::Value to_json(const UndoRecord& record) {
  json::Array ids, pieces, readers;
  for (const auto& id : record.ids) ids.emplace_back(id);
  for (const auto& reader : record.readers) readers.emplace_back(json::Object{{"id", reader.id}, {"attributes", reader.attributes}});
  for (const auto& piece : record.pieces) pieces.push_back(to_json(piece));
  return json::Object{{"version", record_version}, {"key", record.key}, {"type", record.type}, {"owner", record.owner}, {"ids", std::move(ids)},
                      {"order", record.order}, {"attributes", record.attributes}, {"possible", record.possible}, {"undoing", record.undoing}, {"complete", record.complete},
                      {"places", std::move(pieces)}, {"before", record.before}, {"left", record.left}, {"readers", std::move(readers)}, {"restart", record.restart}};
}

std::optional<UndoRecord> record_of(const json::Value& value, const std::string& key) {
  UndoRecord record;
  record.key = value.string_or("key");
  record.type = value.string_or("type");
  record.owner = value.string_or("owner");
  record.ids = string_list(value["ids"]);
  record.order = value.int_or("order", 0);
  record.attributes = value["attributes"];
  record.possible = value.bool_or("possible", true);
  record.complete = value.bool_or("complete", false);
  record.undoing = value.bool_or("undoing", false);
  record.before = value["before"];
  record.left = value["left"];
  record.restart = value.bool_or("restart", false);
  for (const auto& reader : value.array_at("readers")) record.readers.push_back({reader.string_or("id"), reader["attributes"]});
  for (const auto& item : value.array_at("places")) {
    auto piece = piece_of(item);
    if (!piece) return std::nullopt;
    record.pieces.push_back(std::move(*piece));
  }
  const bool whole = value.int_or("version", 0) == record_version && record.key == key && !record.type.empty() && !record.ids.empty() && record.before.is_object() && record.left.is_object();
  return whole ? std::optional(std::move(record)) : std::nullopt;
}

// Of each type: what a record is known by, and what else of the declaration is needed to put it back.
struct TypeRow {
  std::string_view type, key, more;
};
constexpr std::array type_rows{
    TypeRow{"package", "names", "hold lock_timeout_s timeout_s"},
    TypeRow{"file", "path", ""},
    TypeRow{"directory", "path", ""},
    TypeRow{"line", "path", ""},   // and a digest of what it is about
    TypeRow{"sudoers", "name", ""},
    TypeRow{"ssh_key", "user", ""},
    TypeRow{"limits", "item kind domains", ""},
    TypeRow{"drop_in", "unit name", ""},
    TypeRow{"repository", "name", ""},
    TypeRow{"hostname", "", "name"},
    TypeRow{"timezone", "", "name"},
    TypeRow{"mount", "path", "device fstype options state"},
    TypeRow{"swap", "device", "state"},
    TypeRow{"kernel_module", "name", "ramdisk"},
    TypeRow{"kernel_argument", "name", ""},
    TypeRow{"hugepages", "size_kib", "count"},
    TypeRow{"sysctl", "name", ""},
    TypeRow{"service", "name", "state enabled timeout_s"},
    TypeRow{"user", "name", "uid group groups shell home"},
    TypeRow{"group", "name", "gid"},
    TypeRow{"firewall", "", ""},
    TypeRow{"archive", "path", "from sha256"},
};

const TypeRow* row_of(std::string_view type) {
  const auto it = std::find_if(type_rows.begin(), type_rows.end(), [&](const TypeRow& row) { return row.type == type; });
  return it == type_rows.end() ? nullptr : &*it;
}

json::Value chosen(const json::Value& attributes, std::string_view names) {
  json::Object out;
  for (const auto& name : split(names, ' '))
    if (!name.empty() && !attributes[name].is_null()) out.set(name, attributes[name]);
  return out;
}

// What a line is about may be secret, so only its digest is in the key.
std::string key_of(const std::string& owner, const std::string& type, const json::Value& attributes) {
  const auto* row = row_of(type);
  std::string what = row ? json::dump(chosen(attributes, row->key)) : json::dump(attributes);
  if (type == "line") what += attributes.string_or("match", attributes.string_or("line"));
  if (type == "ssh_key") what += json::dump(attributes["keys"]);
  return sha256_hex(fmt::format("{}\n{}\n{}", owner, type, what)).substr(0, 32);
}

json::Value kept_attributes(const std::string& type, const json::Value& attributes) {
  if (type == "command") return chosen(attributes, "creates");   // it is not removed, but may be in the way of what is
  const auto* row = row_of(type);
  if (row == nullptr) return json::Object{};
  return chosen(attributes, fmt::format("{} {}", row->key, row->more));
}

Result<std::vector<UndoRecord>> records_in(const std::string& directory, std::vector<std::string>& damaged) {
  std::vector<UndoRecord> records;
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(directory, problem)) {
    const auto name = entry.path().filename().string();
    if (!name.ends_with(".json") || name.starts_with('.')) continue;   // one that was being written when it was cut
    if (records.size() == max_records) return error(code::undo_record_damaged, fmt::format("{} holds more than {} records", directory, max_records));
    const auto text = read_file(entry.path(), max_record_bytes);
    if (!text && ::access(entry.path().c_str(), F_OK) != 0) continue;   // dropped meanwhile
    const auto value = text ? json::parse(*text, max_record_bytes) : Result<json::Value>(text.error());
    auto record = value ? record_of(*value, name.substr(0, name.size() - 5)) : std::nullopt;
    if (record) records.push_back(std::move(*record));
    else damaged.push_back(entry.path().string());
  }
  if (problem && problem != std::errc::no_such_file_or_directory) return system_failure(problem.value(), "read", directory);
  return records;
}

}  // namespace

bool UndoRecord::of_role(std::string_view role) const {
  return std::any_of(ids.begin(), ids.end(), [&](const std::string& id) { return id.size() > role.size() && id.starts_with(role) && id[role.size()] == '/'; });
}

UndoRecord::Piece* UndoRecord::find(const std::string& path) {
  const auto it = std::find_if(pieces.begin(), pieces.end(), [&](const Piece& piece) { return piece.place.path == path; });
  return it == pieces.end() ? nullptr : &*it;
}

UndoRecord restart_record(const std::string& owner, const UndoRecord::Reader& reader) {
  UndoRecord record;
  record.key = sha256_hex(fmt::format("{}\nrestart\n{}", owner, reader.name())).substr(0, 32);
  record.type = "service";
  record.owner = owner;
  record.ids = {reader.id};
  record.attributes = reader.attributes;
  record.complete = record.restart = true;
  return record;
}

bool can_be_undone(std::string_view type) { return row_of(type) != nullptr; }

std::vector<std::string> differing_members(const json::Value& a, const json::Value& b) {
  std::vector<std::string> names;
  if (const auto* object = a.as_object())
    for (const auto& [name, value] : object->members())
      if (!name.starts_with('~') && json::dump(value) != json::dump(b[name])) names.push_back(name);
  return names;
}

Result<UndoStore> UndoStore::at(const NodeEnvironment& node, const std::string& owner) {
  const auto backups = backup_directory(node);
  if (backups.empty()) return error(code::undo_not_recorded, "there is no place to write down what is on the node: HOME is not set");
  const std::string directory = directory_of(backups) + "/undo";
  return UndoStore(directory, fmt::format("{}/records/{}", directory, sha256_hex(owner).substr(0, 16)));
}

Status UndoStore::prepare() const {
  KFAB_TRY_VOID(make_directories(directory_of(directory_)));
  for (const auto& directory : {directory_, directory_ + "/records", records_, directory_ + "/copies"}) KFAB_TRY_VOID(private_directory(directory));
  return ok();
}

Result<std::vector<UndoRecord>> UndoStore::load(std::vector<std::string>& damaged) const {
  KFAB_TRY(records, records_in(records_, damaged));
  std::sort(records.begin(), records.end(), [](const UndoRecord& a, const UndoRecord& b) { return a.order != b.order ? a.order < b.order : a.key < b.key; });
  std::sort(damaged.begin(), damaged.end());
  return records;
}

Status UndoStore::save(const UndoRecord& record, const ResourceContext& context) const {
  KFAB_TRY_VOID(prepare());
  NewFile file;
  file.path = fmt::format("{}/{}.json", records_, record.key);
  file.bytes = json::dump(to_json(record)) + "\n";
  if (file.bytes.size() > max_record_bytes) return error(code::undo_not_recorded, fmt::format("what is to be written down of a {} is too long", record.type));
  file.ownership.mode = 0600;
  file.backup = false;
  return replace_disk_file(file, context);
}

Status UndoStore::drop(const std::string& key) const {
  const auto path = fmt::format("{}/{}.json", records_, key);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return system_failure(errno, "remove", path);
  sync_directory(records_);
  ::rmdir(records_.c_str());   // with the last of them
  return ok();
}

bool UndoStore::has(const std::string& key) const { return ::access(fmt::format("{}/{}.json", records_, key).c_str(), F_OK) == 0; }

Status UndoStore::keep(const std::string& sha256, const std::string& bytes, const std::string& path, const NodeEnvironment& node) const {
  KFAB_TRY_VOID(prepare());
  const auto copies = directory_ + "/copies", copy = copies + "/" + sha256;
  if (const auto there = read_file(copy, max_compared_bytes); there && *there == bytes) return ok();
  if (const auto backup = newest_backup(path, node); !backup.empty())
    if (const auto kept = read_file(backup, max_compared_bytes); kept && *kept == bytes && ::link(backup.c_str(), copy.c_str()) == 0) {
      sync_directory(copies);
      return ok();
    }
  const auto beside = fmt::format("{}/.{}.{}.new", copies, sha256, ::getpid());   // several agents may keep the same bytes at once
  ::unlink(beside.c_str());
  Descriptor out(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  const auto give_up = [&]() -> Status {
    const int error_number = errno;
    ::unlink(beside.c_str());
    return system_failure(error_number, "keep a copy of", path);
  };
  if (out.get() < 0) return give_up();
  for (std::size_t done = 0; done < bytes.size();) {
    const auto n = ::write(out.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return give_up();
    done += static_cast<std::size_t>(n);
  }
  if (::fsync(out.get()) != 0 || ::rename(beside.c_str(), copy.c_str()) != 0) return give_up();
  sync_directory(copies);
  return ok();
}

Result<std::string> UndoStore::copy(const std::string& sha256) const {
  const auto path = fmt::format("{}/copies/{}", directory_, sha256);
  auto bytes = read_file(path, max_compared_bytes);
  if (bytes && sha256_hex(*bytes) == sha256) return bytes;
  return error(code::undo_record_damaged, fmt::format("the copy {} is {}", path, bytes ? "not what was kept" : "gone"));
}

Result<Descriptor> UndoStore::hold() const {
  KFAB_TRY_VOID(prepare());
  const auto path = directory_ + "/lock";
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.get() < 0 || ::flock(file.get(), LOCK_SH) != 0) return system_failure(errno, "lock", path);
  return file;
}

void UndoStore::sweep() const {
  const Descriptor file(::open((directory_ + "/lock").c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (file.get() < 0 || ::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return;
  std::vector<std::string> damaged;
  std::set<std::string> needed;
  std::error_code problem;
  for (const auto& owner : std::filesystem::directory_iterator(directory_ + "/records", problem)) {
    const auto records = records_in(owner.path().string(), damaged);
    if (!records || !damaged.empty()) return;   // what they need is not known
    for (const auto& record : *records)
      for (const auto& piece : record.pieces) {
        needed.insert(piece.before.sha256);
        if (piece.left) needed.insert(piece.left->sha256);
      }
  }
  if (problem) return;
  for (const auto& entry : std::filesystem::directory_iterator(directory_ + "/copies", problem))
    if (!needed.contains(entry.path().filename().string())) ::unlink(entry.path().c_str());
}

Status UndoTrail::load() {
  if (store_) return ok();
  KFAB_TRY(store, UndoStore::at(context_.node, owner_));
  std::vector<std::string> damaged;   // told when something is undone; what they were about is not known
  KFAB_TRY(records, store.load(damaged));
  records_ = std::move(records);
  store_ = std::move(store);
  return ok();
}

UndoRecord* UndoTrail::find(const std::string& key) {
  const auto it = std::find_if(records_.begin(), records_.end(), [&](const UndoRecord& record) { return record.key == key; });
  return it == records_.end() ? nullptr : &*it;
}

Status UndoTrail::before(const std::string& id, const std::string& type, const json::Value& attributes, Resource& resource) {
  KFAB_TRY_VOID(load());
  const auto key = key_of(owner_, type, attributes);
  if (find(key) == nullptr) {
    UndoRecord fresh;
    fresh.key = key;
    fresh.type = type;
    fresh.owner = owner_;
    fresh.possible = can_be_undone(type);
    fresh.order = records_.empty() ? 1 : records_.back().order + 1;
    records_.push_back(std::move(fresh));
  }
  UndoRecord record = *find(key);
  record.attributes = kept_attributes(type, attributes);
  if (std::find(record.ids.begin(), record.ids.end(), id) == record.ids.end()) record.ids.push_back(id);
  record.complete = !record.possible;
  record.undoing = false;
  KFAB_TRY(held, store_->hold());
  for (auto& place : resource.places()) {
    KFAB_TRY(now, look_at(place, &*store_, context_.node));
    auto* piece = record.find(place.path);
    if (piece == nullptr) {
      record.pieces.push_back({std::move(place), std::move(now), std::nullopt});
      continue;
    }
    piece->place = std::move(place);
    if (!piece->left) continue;
    KFAB_TRY(again, before_again(piece->place, piece->before, *piece->left, now, *store_, context_.node));
    piece->before = std::move(again);
  }
  KFAB_TRY(now, resource.snapshot());
  json::Object before = *record.before.as_object();
  for (const auto& [name, value] : now.as_object()->members())
    if (before.find(name) == nullptr) before.set(name, value);
  record.before = std::move(before);
  KFAB_TRY_VOID(store_->save(record, context_));
  *find(key) = std::move(record);
  open_ = key;
  return ok();
}

Status UndoTrail::finish(UndoRecord& record, Resource& resource) {
  if (!record.possible) return ok();
  KFAB_TRY(held, store_->hold());
  UndoRecord done = record;
  bool changed = false;
  for (auto& piece : done.pieces) {
    // What is the resource's alone is compared by its digest, so what was declared, which may be secret, is not kept.
    KFAB_TRY(now, look_at(piece.place, piece.place.of_lines() ? &*store_ : nullptr, context_.node));
    changed = changed || !now.same(piece.before);
    piece.left = std::move(now);
  }
  KFAB_TRY(now, resource.snapshot());
  done.left = std::move(now);
  done.complete = true;
  if (!changed && differing_members(done.before, done.left).empty()) {   // as it was: there is nothing to take back
    KFAB_TRY_VOID(store_->drop(record.key));
    std::erase_if(records_, [&](const UndoRecord& one) { return one.key == done.key; });
    return ok();
  }
  KFAB_TRY_VOID(store_->save(done, context_));
  record = std::move(done);
  return ok();
}

Status UndoTrail::after(Resource& resource) {
  if (open_.empty()) return ok();
  auto* record = find(open_);
  open_.clear();
  return finish(*record, resource);
}

Status UndoTrail::read_by(const std::vector<std::string>& ids, const std::string& service_id, const json::Value& attributes) {
  if (!load()) return ok();   // nothing can have been written down
  const UndoRecord::Reader reader{service_id, chosen(attributes, "name timeout_s")};
  for (auto& record : records_) {
    const bool read = !record.restart && std::any_of(record.ids.begin(), record.ids.end(), [&](const std::string& id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); });
    const bool known = std::any_of(record.readers.begin(), record.readers.end(), [&](const UndoRecord::Reader& one) { return one.name() == reader.name(); });
    if (!read || known) continue;
    UndoRecord more = record;
    more.readers.push_back(reader);
    KFAB_TRY_VOID(store_->save(more, context_));
    record = std::move(more);
  }
  return ok();
}

Status UndoTrail::confirm(const std::string& type, const json::Value& attributes, Resource& resource) {
  if (!load()) return ok();   // nothing can have been written down
  auto* record = find(key_of(owner_, type, attributes));
  return record == nullptr || record->complete ? ok() : finish(*record, resource);
}

}  // namespace kfab::agent
