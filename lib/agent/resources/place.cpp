#include "agent/resources/place.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include <fmt/format.h>

#include "agent/diff.hpp"
#include "agent/resources/backup.hpp"
#include "agent/resources/disk_file.hpp"
#include "agent/resources/mount_table.hpp"
#include "agent/resources/undo_store.hpp"
#include "base/codes/provision.hpp"
#include "base/codes/undo.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr std::size_t max_tree_entries = 1'000'000;

// What a file of kfab's own lines holds when none of them is left.
const std::string& empty_own_file() {
  static const std::string text = std::string(written_by_kfab) + "\n";
  return text;
}

// Tells any change of a tree without reading its files: whoever writes one, or changes its mode or owner, sets its ctime.
std::string digest_of_tree(const std::string& path) {
  std::vector<std::string> lines;
  std::error_code problem;
  for (std::filesystem::recursive_directory_iterator it(path, problem), end; !problem && it != end && lines.size() < max_tree_entries; it.increment(problem)) {
    struct stat found {};
    if (::lstat(it->path().c_str(), &found) != 0) continue;
    lines.push_back(fmt::format("{} {} {} {}.{}", it->path().string().substr(path.size()), found.st_mode, S_ISDIR(found.st_mode) ? 0 : found.st_size,
                                found.st_ctim.tv_sec, found.st_ctim.tv_nsec));
  }
  std::sort(lines.begin(), lines.end());
  Sha256 hash;
  for (const auto& line : lines) hash.update(line + "\n");
  return hash.hex();
}

std::vector<std::string> missing_parents(const std::string& path) {
  std::vector<std::string> missing;
  struct stat found {};
  for (std::string parent = directory_of(path); parent.size() > 1 && ::lstat(parent.c_str(), &found) != 0 && errno == ENOENT; parent = directory_of(parent))
    missing.insert(missing.begin(), parent);
  return missing;
}

Ownership ownership_of(const PlaceState& state) {
  Ownership ownership;
  ownership.owner = state.owner;
  ownership.group = state.group;
  ownership.mode = state.mode;
  return ownership;
}

// The text of a file of lines in a state; absent is no text, or that of a file of kfab's own without lines.
Result<std::string> text_in(const Place& place, const PlaceState& state, const UndoStore& store) {
  if (state.kind != "file") return place.kind == Place::Kind::own_lines ? empty_own_file() : std::string();
  return store.copy(state.sha256);
}

Result<std::string> text_now(const Place& place) {
  KFAB_TRY(found, read_disk_file(place.path, place.own_directory));
  return std::move(found.bytes);
}

PlaceUndo refuse(Diagnostic why) { return {PlaceUndo::Do::refuse, {}, {}, std::move(why)}; }

// A file of lines with this text; none where nothing of it is left to keep.
PlaceUndo file_with(const Place& place, const PlaceState& before, const PlaceState& now, std::string text) {
  const bool goes = place.kind == Place::Kind::own_lines ? text.empty() || text == empty_own_file() : text.empty() && before.kind == "absent";
  PlaceUndo undo{PlaceUndo::Do::put_back, {}, {}, {}};
  if (goes) {
    if (before.kind == "absent") undo.to = before;
    return undo;
  }
  undo.to = before.kind == "file" ? before : now;
  undo.to.sha256 = sha256_hex(text);
  undo.to.kept = true;
  undo.text = std::move(text);
  return undo;
}

PlaceUndo merged(const Place& place, const PlaceState& before, const PlaceState& left, const PlaceState& now, const UndoStore& store) {
  const auto base = text_in(place, left, store), wanted = text_in(place, before, store);
  const auto mine = text_now(place);
  for (const auto* text : {&base, &wanted, &mine})
    if (!*text) return refuse(text->error());
  const auto text = merged_text(*base, *mine, *wanted);
  if (!text) return refuse(error(code::undo_differs, fmt::format("the lines that kfab wrote into {} were changed since", one_line(place.path))));
  if (*text == *mine) return {};
  return file_with(place, before, now, *text);
}

Result<Descriptor> parent_of(const Place& place) {
  Descriptor parent(::open(directory_of(place.path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | (place.own_directory ? O_NOFOLLOW : 0)));
  if (parent.get() < 0) return system_failure(errno, "open the directory of", place.path);
  return parent;
}

Status remove_file(const Place& place, const ResourceContext& context) {
  KFAB_TRY(parent, parent_of(place));
  const auto name = base_name(place.path);
  struct stat found {};
  if (::fstatat(parent.get(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT ? ok() : Status(system_failure(errno, "look at", place.path));
  if (S_ISREG(found.st_mode) && place.copies) KFAB_TRY_VOID(keep_backup(place.path, parent.get(), context.node));
  if (::unlinkat(parent.get(), name.c_str(), 0) != 0 && errno != ENOENT) return system_failure(errno, "remove", place.path);
  ::fsync(parent.get());
  return ok();
}

constexpr std::string_view others_files = "what commands made, files of another role, or of nobody that kfab knows";

Status remove_directory(const Place& place) {
  KFAB_TRY(parent, parent_of(place));
  if (::unlinkat(parent.get(), base_name(place.path).c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) {
    ::fsync(parent.get());
    return ok();
  }
  if (errno == ENOTEMPTY || errno == EEXIST || errno == EBUSY)
    return error(code::undo_in_use, fmt::format("{} is not removed: {}", one_line(place.path), errno == EBUSY ? "it is in use" : fmt::format("it holds what was not undone with it: {}", others_files)));
  return system_failure(errno, "remove", place.path);
}

// Out of sight in one step, so that a cut leaves all of it or nothing at its place.
Status remove_tree(const Place& place) {
  const auto aside = directory_of(place.path) + "/." + base_name(place.path) + ".kfab-old";
  std::error_code problem;
  std::filesystem::remove_all(aside, problem);   // what a run that was cut left
  if (::rename(place.path.c_str(), aside.c_str()) != 0 && errno != ENOENT) return system_failure(errno, "remove", place.path);
  std::filesystem::remove_all(aside, problem);
  return problem ? Status(system_failure(problem.value(), "remove", aside)) : ok();
}

// The parents that kfab made go as well, unless others use them by now.
void remove_made_parents(const PlaceState& before) {
  for (auto it = before.missing.rbegin(); it != before.missing.rend(); ++it)
    if (::rmdir(it->c_str()) != 0 && errno != ENOENT) return;
}

Status put_back_directory(const Place& place, const PlaceState& before) {
  KFAB_TRY(parent, parent_of(place));
  const auto name = base_name(place.path);
  if (::mkdirat(parent.get(), name.c_str(), 0700) != 0 && errno != EEXIST) return system_failure(errno, "make", place.path);
  const Descriptor directory(::openat(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | (place.own_directory ? O_NOFOLLOW : 0)));
  if (directory.get() < 0) return system_failure(errno, "open", place.path);
  return set_ownership(directory.get(), ownership_of(before), place.path);
}

}  // namespace

bool PlaceState::same(const PlaceState& other) const {
  if (kind != other.kind) return false;
  if (kind == "absent" || kind == "other") return true;
  if (owner != other.owner || group != other.group) return false;
  if (kind == "link") return link_to == other.link_to;
  return mode == other.mode && sha256 == other.sha256;
}

std::string PlaceState::words() const {
  if (kind == "absent" || kind == "other") return kind;
  if (kind == "link") return "link to " + one_line(link_to, 120);
  return fmt::format("{}, {}, {}:{}{}", kind, octal(mode), owner, group, sha256.empty() ? "" : ", sha256 " + sha256.substr(0, 8));
}

json::Value PlaceState::to_json() const {
  json::Object out{{"kind", kind}};
  if (kind == "absent") {
    json::Array parents;
    for (const auto& parent : missing) parents.emplace_back(parent);
    return out.set("missing", std::move(parents));
  }
  out.set("mode", octal(mode)).set("owner", owner).set("group", group).set("kept", kept);
  if (!sha256.empty()) out.set("sha256", sha256);
  if (kind == "link") out.set("link_to", link_to);
  return out;
}

PlaceState PlaceState::from_json(const json::Value& value) {
  PlaceState state;
  state.kind = value.string_or("kind", "absent");
  state.mode = static_cast<unsigned>(std::strtoul(value.string_or("mode").c_str(), nullptr, 8)) & 07777;
  state.owner = static_cast<unsigned>(value.int_or("owner", 0));
  state.group = static_cast<unsigned>(value.int_or("group", 0));
  state.kept = value.bool_or("kept", false);
  state.sha256 = value.string_or("sha256");
  state.link_to = value.string_or("link_to");
  state.missing = string_list(value["missing"]);
  return state;
}

Result<PlaceState> look_at(const Place& place, const UndoStore* keep, const NodeEnvironment& node) {
  PlaceState state;
  struct stat found {};
  if (::lstat(place.path.c_str(), &found) != 0) {
    if (errno != ENOENT && errno != ENOTDIR) return system_failure(errno, "look at", place.path);
    state.missing = missing_parents(place.path);
    return state;
  }
  // A link to a directory serves as one.
  if (S_ISLNK(found.st_mode) && place.kind == Place::Kind::directory && !place.own_directory && ::stat(place.path.c_str(), &found) != 0)
    return system_failure(errno, "look at", place.path);
  state.mode = found.st_mode & 07777;
  state.owner = found.st_uid;
  state.group = found.st_gid;
  if (S_ISLNK(found.st_mode)) {
    std::array<char, 4096> target;
    const auto n = ::readlink(place.path.c_str(), target.data(), target.size());
    if (n < 0) return system_failure(errno, "read the link", place.path);
    state.kind = "link";
    state.link_to.assign(target.data(), static_cast<std::size_t>(n));
  } else if (S_ISDIR(found.st_mode)) {
    state.kind = "directory";
    if (place.kind == Place::Kind::tree) state.sha256 = digest_of_tree(place.path);
    if (place.kind == Place::Kind::mount_point) state.mode = state.owner = state.group = 0;   // of what is mounted, not of the place
  } else if (S_ISREG(found.st_mode)) {
    KFAB_TRY(file, read_disk_file(place.path, place.own_directory));
    state.kind = "file";
    if (file.bytes.size() > max_compared_bytes) {   // told by what changes with every write; too large to be kept
      state.sha256 = sha256_hex(fmt::format("{} {}.{}", found.st_size, found.st_ctim.tv_sec, found.st_ctim.tv_nsec));
      return state;
    }
    state.sha256 = sha256_hex(file.bytes);
    if (keep == nullptr || !place.copies) return state;
    KFAB_TRY_VOID(keep->keep(state.sha256, file.bytes, place.path, node));
    state.kept = true;
  } else {
    state.kind = "other";
  }
  return state;
}

PlaceUndo decide(const Place& place, const PlaceState& before, const std::optional<PlaceState>& left, bool complete, const PlaceState& now, const UndoStore& store) {
  if (now.same(before)) return {};
  if (!left) return refuse(error(code::undo_unfinished, fmt::format("{} is neither as it was before kfab nor known to be as kfab left it", one_line(place.path))));
  if (left->same(before)) return {};   // kfab changed nothing here: what differs now is others'
  if (!now.same(*left)) {
    const bool text = place.of_lines() && now.kind == "file" && left->kind == "file" && left->kept && (before.kind == "absent" || before.kept);
    if (text) return merged(place, before, *left, now, store);
    return refuse(error(complete ? code::undo_differs : code::undo_unfinished,
                        fmt::format("{} is not as kfab left it: it is {}, kfab left {}", one_line(place.path), now.words(), left->words())));
  }
  if (before.kind == "file" && !before.kept && before.sha256 != left->sha256)
    return refuse(error(code::undo_impossible, fmt::format("no copy of what {} held was kept{}", one_line(place.path), place.copies ? ": it was too large" : " (backup: false)")));
  if (before.kind == "other") return refuse(error(code::undo_impossible, fmt::format("{} was neither a file, a link nor a directory", one_line(place.path))));
  if (place.kind == Place::Kind::tree && before.kind == "directory" && before.sha256 != left->sha256)
    return refuse(error(code::undo_impossible, fmt::format("what {} held before was replaced, and is not kept", one_line(place.path))));
  // A file of kfab's own whose last line goes.
  if (place.kind == Place::Kind::own_lines && before.kind == "file") {
    const auto text = store.copy(before.sha256);
    if (text && *text == empty_own_file()) return file_with(place, before, now, *text);
  }
  return {PlaceUndo::Do::put_back, before, {}, {}};
}

void Going::add(const Place& place, const PlaceState& to) {
  if (to.kind != "absent") return;
  places.insert(place.path);
  parents.insert(to.missing.begin(), to.missing.end());
}

std::vector<std::string> left_in(const std::string& directory, const Going& going) {
  std::vector<std::string> left;
  std::error_code problem;
  for (std::filesystem::directory_iterator it(directory, problem), end; !problem && it != end; it.increment(problem)) {
    const std::string name = it->path().filename().string(), path = fmt::format("{}/{}", directory, name);
    if (!going.places.contains(path) && !(going.parents.contains(path) && left_in(path, going).empty())) left.push_back(name);
  }
  std::sort(left.begin(), left.end());
  return left;
}

std::string named(const std::vector<std::string>& names) {
  constexpr std::size_t most = 3;
  std::vector<std::string> shown;
  for (const auto& name : names)
    if (shown.size() < most) shown.push_back(one_line(name, 60));
  return join(shown, ", ") + (names.size() > most ? fmt::format(" and {} more", names.size() - most) : "");
}

namespace {

// What is known of an entry of a directory that is in the way: of itself, or of the first thing below it that stays as well.
std::string known_of(const std::string& path, const KnownPaths& known, const Going& going) {
  const std::string below = path + "/";
  for (auto it = known.lower_bound(path); it != known.end() && it->first.starts_with(path); ++it) {
    struct stat found {};
    const bool about = it->first == path || it->first.starts_with(below);
    if (about && !going.places.contains(it->first) && ::lstat(it->first.c_str(), &found) == 0) return it->second;
  }
  return {};
}

// "stamp (made by the command base/stamp, which cannot be undone); a, b: files of another role, ...".
std::string whose(const std::string& directory, const std::vector<std::string>& left, const KnownPaths& known, const Going& going) {
  constexpr std::size_t most = 3;
  std::vector<std::string> parts, strangers;
  std::size_t more = 0;
  for (const auto& name : left) {
    const auto words = known_of(fmt::format("{}/{}", directory, name), known, going);
    if (words.empty()) strangers.push_back(name);
    else if (parts.size() == most) ++more;
    else parts.push_back(fmt::format("{} ({})", one_line(name, 60), one_line(words, 160)));
  }
  if (more > 0) parts.push_back(fmt::format("{} more that kfab knows", more));
  if (!strangers.empty()) parts.push_back(fmt::format("{} ({})", named(strangers), others_files));
  return join(parts, ", ");
}

}  // namespace

Status can_be_removed(const Place& place, const Going& going, const KnownPaths& known, bool stays_mounted, const NodeEnvironment& node) {
  if (place.kind != Place::Kind::directory && place.kind != Place::Kind::mount_point) return ok();
  const auto mounts = mounts_of(node);
  const bool mounted = mounts && std::any_of(mounts->begin(), mounts->end(), [&](const Mounted& one) { return one.path == place.path; });
  if (mounted && !stays_mounted) return ok();   // what lies below it is to be seen only then
  if (mounted) return error(code::undo_in_use, fmt::format("{} is not removed: it is in use: something is mounted there", one_line(place.path)));
  const auto left = left_in(place.path, going);
  if (left.empty() || going.others_may) return ok();
  return error(code::undo_in_use, fmt::format("{} is not removed: it holds what is not undone with it: {}", one_line(place.path), whose(place.path, left, known, going)));
}

Status put_back(const Place& place, const PlaceState& to, const UndoStore& store, const ResourceContext& context) {
  if (to.kind == "absent") {
    switch (place.kind) {
      case Place::Kind::directory:
      case Place::Kind::mount_point: KFAB_TRY_VOID(remove_directory(place)); break;
      case Place::Kind::tree: KFAB_TRY_VOID(remove_tree(place)); break;
      default: KFAB_TRY_VOID(remove_file(place, context)); break;
    }
    remove_made_parents(to);
    return ok();
  }
  if (to.kind == "link") {
    Ownership ownership = ownership_of(to);
    ownership.mode.reset();
    struct stat found {};
    if (place.copies && ::lstat(place.path.c_str(), &found) == 0 && S_ISREG(found.st_mode)) {
      KFAB_TRY(parent, parent_of(place));
      KFAB_TRY_VOID(keep_backup(place.path, parent.get(), context.node));
    }
    return replace_with_link(place.path, to.link_to, ownership);
  }
  if (to.kind == "directory") return put_back_directory(place, to);
  if (to.kept) {
    KFAB_TRY(bytes, store.copy(to.sha256));
    NewFile file;
    file.path = place.path;
    file.bytes = std::move(bytes);
    file.ownership = ownership_of(to);
    file.sensitive = place.sensitive;
    file.backup = place.copies;
    file.own_directory = place.own_directory;
    return replace_disk_file(file, context);
  }
  // Of this one only owner and mode were changed.
  const Descriptor file(::open(place.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.get() < 0) return system_failure(errno, "open", place.path);
  return set_ownership(file.get(), ownership_of(to), place.path);
}

void describe(const Place& place, const PlaceState& now, const PlaceUndo& undo, const UndoStore& store, Difference& difference) {
  difference.changes.push_back({one_line(place.path), now.words(), undo.to.words()});
  if (now.kind != "file" || (undo.to.kind != "file" && undo.to.kind != "absent") || now.sha256 == undo.to.sha256) return;
  if (place.sensitive) {
    difference.diff += "(content is sensitive and not shown)\n";
    return;
  }
  const auto mine = text_now(place);
  const auto wanted = undo.to.kind == "absent" ? Result<std::string>(std::string()) : undo.text ? Result<std::string>(*undo.text) : store.copy(undo.to.sha256);
  if (!mine || !wanted) return;
  std::string text = unified_diff(*mine, *wanted, place.path);
  constexpr std::string_view declared = " (declared)\n";   // what it is put back to is declared by nobody
  if (const auto at = text.find(declared); at != std::string::npos) text.replace(at, declared.size(), " (before kfab)\n");
  difference.diff += text;
}

Result<PlaceState> before_again(const Place& place, const PlaceState& before, const PlaceState& left, const PlaceState& now, const UndoStore& store,
                                const NodeEnvironment& node) {
  if (!place.of_lines() || now.same(left) || now.kind != "file" || left.kind != "file" || !left.kept || (before.kind == "file" && !before.kept)) return before;
  KFAB_TRY(base, text_in(place, left, store));
  KFAB_TRY(wanted, text_in(place, before, store));
  KFAB_TRY(mine, text_now(place));
  auto text = merged_text(base, mine, wanted, place.kind == Place::Kind::own_lines);
  if (!text) text = mine;   // somebody wrote kfab's very lines anew, and their words are what is there before kfab's
  if (before.kind == "absent" && (text->empty() || *text == empty_own_file())) return before;
  PlaceState again = before.kind == "file" ? before : now;
  again.sha256 = sha256_hex(*text);
  again.kept = true;
  KFAB_TRY_VOID(store.keep(again.sha256, *text, place.path, node));
  return again;
}

}  // namespace kfab::agent
