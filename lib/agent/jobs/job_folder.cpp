#include "agent/jobs/job_folder.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "agent/protocol.hpp"
#include "base/codes/agent.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_state_bytes = 1 << 20;
constexpr std::size_t longest_id = 120;

Diagnostic not_started(std::string why) { return error(code::agent_job_not_started, std::move(why)); }

// A directory of this user's own that nobody else can write to, no link; made if it is missing.
Status make_private(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return not_started(fmt::format("{}: {}", path, std::strerror(errno)));
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) return not_started(fmt::format("{}: {}", path, std::strerror(errno)));
  if (!S_ISDIR(found.st_mode) || found.st_uid != ::geteuid() || (found.st_mode & 022) != 0)
    return not_started(fmt::format("{} is not a directory of this user's own that nobody else can write to", path));
  return ok();
}

bool is_private(const std::string& path) {
  struct stat found {};
  return ::lstat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode) && found.st_uid == ::geteuid() && (found.st_mode & 022) == 0;
}

// Whether only root can put something there.
bool is_roots(const std::string& path) {
  struct stat found {};
  return ::lstat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode) && found.st_uid == 0 && (found.st_mode & 022) == 0;
}

std::string usual_place(const JobPlaces& places) { return fmt::format("{}/kfab-{}", places.tmp, ::geteuid()); }

// This user's own directories of names that nobody could know before, in order.
std::vector<std::string> other_places(const JobPlaces& places) {
  constexpr int most_looked_at = 200'000;
  std::vector<std::string> out;
  const std::string prefix = usual_place(places) + "-";
  std::error_code ignored;
  int looked_at = 0;
  for (fs::directory_iterator it(places.tmp, ignored), end; !ignored && it != end && looked_at < most_looked_at; it.increment(ignored), ++looked_at)
    if (const std::string path = places.tmp + "/" + it->path().filename().string(); path.size() == prefix.size() + 6 && path.starts_with(prefix) && is_private(path)) out.push_back(path);
  std::sort(out.begin(), out.end());
  return out;
}

Result<std::string> with_jobs(const std::string& own) {
  KFAB_TRY_VOID(make_private(own));
  KFAB_TRY_VOID(make_private(own + "/jobs"));
  return own + "/jobs";
}

struct flock whole_file() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

json::Value read_json(const std::string& path) {
  const auto text = read_file(path, most_state_bytes);
  if (!text) return {};
  auto value = json::parse(*text, most_state_bytes);
  return value ? std::move(*value) : json::Value();
}

}  // namespace

Result<std::string> jobs_root(const JobPlaces& places) {
  const char* said = std::getenv("KFAB_JOBS_DIR");
  if (said != nullptr && *said == '/') {
    KFAB_TRY_VOID(make_private(said));
    return std::string(said);
  }
  if (::geteuid() == 0 && is_roots(places.lib))
    if (auto root = with_jobs(places.lib + "/kfab")) return root;
  auto usual = with_jobs(usual_place(places));
  if (usual) return usual;
  // Somebody else was there first, whoever that was and why: a name that nobody can know before cannot be taken.
  for (const auto& other : other_places(places))
    if (auto root = with_jobs(other)) return root;
  std::string made = usual_place(places) + "-XXXXXX";
  if (::mkdtemp(made.data()) == nullptr) return not_started(fmt::format("{}; {}: {}", usual.error().message, made, std::strerror(errno)));
  return with_jobs(made);
}

std::vector<std::string> jobs_roots(const JobPlaces& places) {
  const char* said = std::getenv("KFAB_JOBS_DIR");
  if (said != nullptr && *said == '/') return is_private(said) ? std::vector<std::string>{said} : std::vector<std::string>();
  std::vector<std::string> own, out;
  if (::geteuid() == 0 && is_roots(places.lib)) own.push_back(places.lib + "/kfab");
  own.push_back(usual_place(places));
  for (auto& other : other_places(places)) own.push_back(std::move(other));
  for (const auto& one : own)
    if (is_private(one) && is_private(one + "/jobs")) out.push_back(one + "/jobs");
  return out;
}

bool is_job_id(std::string_view id) {
  const auto good = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'; };
  return !id.empty() && id.size() <= longest_id && id[0] != '.' && id[0] != '-' && std::all_of(id.begin(), id.end(), good);
}

Result<JobFolder> JobFolder::make(const std::string& root, const std::string& id, const json::Value& request) {
  JobFolder folder(root + "/" + id);
  if (::mkdir(folder.path_.c_str(), 0700) != 0) return not_started(fmt::format("{}: {}", folder.path_, std::strerror(errno)));
  if (auto written = write_file_atomically(folder.file("request"), json::dump(request) + "\n", 0600); !written) {
    folder.remove();
    return not_started(written.error().message);
  }
  return folder;
}

std::optional<JobFolder> JobFolder::find(const std::string& root, const std::string& id) {
  JobFolder folder(root + "/" + id);
  struct stat found {};
  if (::lstat(folder.path_.c_str(), &found) != 0 || !S_ISDIR(found.st_mode)) return std::nullopt;
  return folder;
}

std::optional<JobFolder> JobFolder::find(const std::vector<std::string>& roots, const std::string& id) {
  for (const auto& root : roots)
    if (auto folder = find(root, id)) return folder;
  return std::nullopt;
}

std::vector<std::string> JobFolder::all(const std::string& root) {
  std::vector<std::string> ids;
  std::error_code ignored;
  for (fs::directory_iterator it(root, ignored), end; !ignored && it != end; it.increment(ignored))
    if (is_job_id(it->path().filename().string())) ids.push_back(it->path().filename().string());
  std::sort(ids.begin(), ids.end());
  return ids;
}

Result<json::Value> JobFolder::request() const {
  KFAB_TRY(text, read_file(file("request"), max_request_bytes));
  return json::parse(text, max_request_bytes);
}

bool JobFolder::is_held() const {
  const int fd = ::open(file("lock").c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return false;
  struct flock lock = whole_file();
  // Asks without taking: a process that just begins must not find the lock taken by whoever looks.
  const bool held = ::fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  ::close(fd);
  return held;
}

Result<int> JobFolder::hold() const {
  const int fd = ::open(file("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  struct flock lock = whole_file();
  if (fd >= 0 && ::fcntl(fd, F_OFD_SETLK, &lock) == 0) return fd;
  Diagnostic why = not_started(fmt::format("{}: {}", file("lock"), std::strerror(errno)));
  if (fd >= 0) ::close(fd);
  return why;
}

JobFolder::State JobFolder::state() const {
  if (is_held()) return State::running;
  if (!done().is_null()) return State::done;
  const std::string then = read_json(file("state")).string_or("boot_id");
  return !then.empty() && then != boot_id() ? State::restarted : State::lost;
}

json::Value JobFolder::progress() const {
  json::Value all = read_json(file("progress"));
  return all.is_array() ? all : json::Value(json::Array{});
}

std::optional<double> JobFolder::elapsed_s() const {
  const json::Value state = read_json(file("state"));
  if (state.string_or("boot_id") != boot_id()) return std::nullopt;
  const double began = state.double_or("started_boottime_s", -1);
  return began < 0 ? std::nullopt : std::optional(std::max(0.0, boottime_s() - began));
}

std::string JobFolder::started_at() const { return one_line(read_json(file("state")).string_or("started_at"), 40); }

std::string JobFolder::last_words() const {
  const auto text = read_file(file("log"), most_state_bytes);
  if (!text) return {};
  const auto lines = split_lines(*text);
  return lines.empty() ? std::string() : one_line(lines.back(), 300);
}

double JobFolder::age_s() const { return since_written({"", "request", "state", "messages", "progress"}); }   // the folder, too: one that is just being made is young

double JobFolder::since_written(std::initializer_list<const char*> names) const {
  std::time_t newest = 0;
  for (const char* name : names) {
    struct stat found {};
    if (::stat(file(name).c_str(), &found) == 0) newest = std::max(newest, found.st_mtime);
  }
  return std::difftime(std::time(nullptr), newest);
}

std::optional<double> JobFolder::ended_s_ago() const {
  if (is_held()) return std::nullopt;
  const json::Value last = done();
  const double ended = last.double_or("boottime_s", -1);
  if (ended >= 0 && last.string_or("boot_id") == boot_id()) return std::max(0.0, boottime_s() - ended);   // whatever happened to the clock
  const double by_clock = std::max(0.0, since_written({"request", "state", "messages", "progress"}));
  const std::string then = read_json(file("state")).string_or("boot_id");
  return !then.empty() && then != boot_id() ? std::max(by_clock, boottime_s()) : by_clock;
}

std::string JobFolder::board_serial() const { return one_line(read_json(file("state")).string_or("board_serial"), 80); }

bool JobFolder::each_message(const std::function<void(const json::Value&)>& take) const {
  std::ifstream in(file("messages"), std::ios::binary);
  std::string line;
  while (std::getline(in, line)) {
    if (in.eof()) break;   // no line end: the process died while it wrote this
    auto message = json::parse(line, max_agent_line_bytes);
    if (!message || !message->is_object()) return false;
    take(*message);
  }
  return true;
}

json::Value JobFolder::done() const {
  json::Value last;
  if (!each_message([&](const json::Value& message) { last = message; })) return {};
  return last.string_or("type") == "done" ? last : json::Value();
}

Status JobFolder::ask_to_stop() const {
  const int fd = ::open(file("stop").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return error(code::agent_task_failed, fmt::format("{}: {}", file("stop"), std::strerror(errno)));
  ::close(fd);
  return ok();
}

void JobFolder::remove() const {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string boot_id() {
  const auto text = read_file("/proc/sys/kernel/random/boot_id", 4096);
  return text ? one_line(trim(*text), 64) : std::string();
}

double boottime_s() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace kfab::agent
