#include "ssh/host_keys.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <mutex>

#include "base/file.hpp"
#include "base/text.hpp"
#include "ssh/codec.hpp"
#include "ssh/host_key_store.hpp"

namespace kfab::ssh {
namespace {

// By which the store knows a target, its own name first.
std::vector<std::string> names_of(const Target& target) { return {node_name(target), address_name(target)}; }

// Names under which the user's own files may confirm a key but not contradict it: the node's, which the user may give to
// another machine, and the bare address, as ssh does for ports other than 22.
std::vector<std::string> vague_names_of(const Target& target) {
  std::vector<std::string> names;
  for (const std::string& name : {node_name(target), to_lower(target.address)}) {
    if (name != address_name(target) && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

std::vector<std::string> all_names_of(const Target& target) {
  std::vector<std::string> names = vague_names_of(target);
  names.push_back(address_name(target));
  return names;
}

bool contains(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// "known_hosts:3 SHA256:..." of every line, for the message about a changed key.
std::string where(const KnownHosts::Lines& lines, const std::vector<std::string>& files) {
  std::vector<std::string> parts;
  for (const KnownHost* line : lines) {
    if (parts.size() == 4) { parts.emplace_back("..."); break; }
    parts.push_back(fmt::format("{}:{} ({} {})", files[line->file], line->line, line->type, fingerprint(line->blob)));
  }
  return one_line(join(parts, ", "), 600);
}

Diagnostic not_stored(const Target& target, std::string_view why) {
  return error(Code::host_key_not_stored,
               fmt::format("the host key of {} was not stored in {}: {}", shown(target), one_line(target.site_store), why));
}

}  // namespace

std::vector<std::string> HostKeys::files_of(const Target& target) const {
  if (!target.known_hosts.empty()) return target.known_hosts;
  std::vector<std::string> files;
  if (!home_.empty()) files.push_back(home_ + "/.ssh/known_hosts");
  files.push_back("/etc/ssh/ssh_known_hosts");
  return files;
}

Result<HostKeys::Book*> HostKeys::book_of(const std::vector<std::string>& files) {
  std::unique_ptr<Book>& book = books_[files];
  if (book) return book.get();
  auto fresh = std::make_unique<Book>();
  fresh->files = files;
  for (std::size_t i = 0; i < files.size(); ++i) {
    std::error_code failed;
    if (!std::filesystem::exists(files[i], failed) && !failed) continue;   // a file that is not there knows nobody
    auto text = read_file(files[i]);
    // Fail closed: an unread file may hold an @revoked line.
    if (!text) return error(Code::known_hosts_unreadable, text.error().message);
    fresh->hosts.add(*text, i);
    fresh->bytes += text->size();
    fresh->lines += split_lines(*text).size();
  }
  book = std::move(fresh);
  return book.get();
}

HostKeys::Books HostKeys::books(const Target& target) const {
  const auto find = [&](const std::vector<std::string>& files) -> const Book* {
    const auto at = books_.find(files);
    return at == books_.end() ? nullptr : at->second.get();
  };
  return {find(files_of(target)), target.site_store.empty() ? nullptr : find({target.site_store})};
}

// Reads what is not read yet.
Status HostKeys::read_books(const Target& target) {
  {
    const std::shared_lock lock(mutex_);
    const Books have = books(target);
    if (have.users != nullptr && (have.store != nullptr || target.site_store.empty())) return ok();
  }
  const std::unique_lock lock(mutex_);
  if (auto users = book_of(files_of(target)); !users) return std::move(users).error();
  if (target.site_store.empty()) return ok();
  if (auto store = book_of({target.site_store}); !store) return std::move(store).error();
  return ok();
}

HostKeys::Known HostKeys::known(const Target& target, std::string_view key_blob) const {
  const auto [users, store] = books(target);
  const auto look = [&](const Book* book, const std::string& name, bool vague) -> std::optional<Known> {
    if (const KnownHost* line = book->hosts.find_key(name, key_blob)) return Known{{line}, book, vague, true};
    if (vague) return std::nullopt;   // it cannot contradict, so hashed lines need not be tried
    auto lines = book->hosts.find(name);
    if (lines.empty()) return std::nullopt;
    return Known{std::move(lines), book, false, false};
  };
  if (store != nullptr) {
    for (const std::string& name : names_of(target)) {
      if (auto found = look(store, name, false)) return std::move(*found);
    }
  }
  if (auto found = look(users, address_name(target), false)) return std::move(*found);
  for (const std::string& name : vague_names_of(target)) {
    if (auto found = look(users, name, true)) return std::move(*found);
  }
  return Known{{}, users, true, false};
}

const KnownHost* HostKeys::revoked(const Target& target, std::string_view key_blob) const {
  const auto [users, store] = books(target);
  for (const Book* book : {users, store}) {
    if (book == nullptr) continue;
    for (const std::string& name : all_names_of(target)) {
      if (const KnownHost* line = book->hosts.find_key(name, key_blob, KnownHost::Marker::revoked)) return line;
    }
  }
  return nullptr;
}

Result<HostKeyInquiry> HostKeys::prepare(const Target& target) {
  KFAB_TRY_VOID(read_books(target));
  const std::shared_lock lock(mutex_);
  const auto [users, store] = books(target);
  HostKeyInquiry inquiry;
  const auto add = [&](const std::string& type) {
    if (!contains(inquiry.types, type)) inquiry.types.push_back(type);
  };
  const auto take = [&](const Book* book, const std::string& name) {
    for (const KnownHost* line : book->hosts.find_readable(name)) add(line->type);
    return !inquiry.types.empty();
  };
  if (store != nullptr && (take(store, node_name(target)) || take(store, address_name(target)))) return inquiry;
  if (take(users, address_name(target))) return inquiry;
  for (const std::string& name : vague_names_of(target)) {
    if (take(users, name)) return inquiry;
  }
  if (store != nullptr) {
    for (const std::string& type : store->hosts.types_not_tried(node_name(target))) add(type);
  }
  for (const std::string& type : users->hosts.types_not_tried(address_name(target))) add(type);
  inquiry.guessed = !inquiry.types.empty();
  return inquiry;
}

Result<HostKeyAnswer> HostKeys::judge(const Target& target, HostKeyInquiry& inquiry, std::string_view key_blob,
                                      const std::vector<std::string>& checkable) {
  KFAB_TRY_VOID(read_books(target));
  {
    const std::shared_lock lock(mutex_);
    if (revoked(target, key_blob) != nullptr) {
      return error(Code::host_key_revoked, fmt::format("{} offers the revoked host key {} {}", shown(target), one_line(key_type(key_blob)), fingerprint(key_blob)));
    }
    const Known known = this->known(target, key_blob);
    if (known.trusted) return HostKeyAnswer::trusted;
    // A machine known only by types that cannot be asked for is not new either: it is for a person to say.
    if (target.host_keys != HostKeyPolicy::trust_on_first_use || !known.lines.empty()) return judge_known(target, inquiry, key_blob, known, checkable);
  }
  const std::unique_lock lock(mutex_);
  KFAB_TRY_VOID(store(target, key_blob));
  // Somebody may have stored another key for it meanwhile: then it is a changed one.
  const Known known = this->known(target, key_blob);
  if (known.trusted) return HostKeyAnswer::trusted;
  return judge_known(target, inquiry, key_blob, known, checkable);
}

Result<HostKeyAnswer> HostKeys::judge_known(const Target& target, HostKeyInquiry& inquiry, std::string_view key_blob, const Known& known,
                                            const std::vector<std::string>& checkable) const {
  const std::string type(key_type(key_blob));
  std::vector<std::string> comparable;
  for (const KnownHost* line : known.lines) {
    if (contains(checkable, line->type) && !contains(comparable, line->type)) comparable.push_back(line->type);
  }
  if (comparable.empty()) return unknown(target, key_blob, known);
  if (inquiry.guessed && !inquiry.asked_again && !contains(comparable, type)) {
    inquiry.types = std::move(comparable);
    inquiry.asked_again = true;
    return HostKeyAnswer::ask_again;
  }
  Diagnostic changed = error(Code::host_key_changed, fmt::format("THE HOST KEY OF {} HAS CHANGED: it offers {} {}", shown(target), one_line(type),
                                                                 fingerprint(key_blob)));
  changed.help.push_back("known until now: " + where(known.lines, known.book->files));
  return changed;
}

Diagnostic HostKeys::unknown(const Target& target, std::string_view key_blob, const Known& known) const {
  const std::string type = one_line(key_type(key_blob));
  Diagnostic unknown = error(Code::host_key_unknown, fmt::format("the host key of {} is not known: {} {}", shown(target), type, fingerprint(key_blob)));
  if (!known.lines.empty()) {
    unknown.help.push_back("known by keys that this libssh2 cannot check: " + where(known.lines, known.book->files));
  }
  const std::string file = target.site_store.empty() ? files_of(target).front() : target.site_store;
  unknown.help.push_back("compare with the node's console: ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub");
  unknown.help.push_back(fmt::format("to trust it, add this line to {}: {} {} {}", one_line(file), one_line(address_name(target)), type,
                                     base64_encode(key_blob)));
  unknown.help.push_back("to trust every new node of a site, set ssh.host_keys: trust-on-first-use in its manifest");
  return unknown;
}

// Holds mutex_ alone.
Status HostKeys::store(const Target& target, std::string_view key_blob) {
  if (target.site_store.empty()) return not_stored(target, "the site has no store file");
  if (!can_be_stored(target)) return not_stored(target, "its name or address has characters that a known_hosts line cannot hold");
  auto file = LockedFile::open(target.site_store);
  if (!file) return not_stored(target, file.error().message);
  struct stat about {};
  if (::fstat((*file)->fd(), &about) != 0) return not_stored(target, std::strerror(errno));
  // Two kfabs may meet a new machine at once: whoever has the lock reads again what the other may have written.
  const std::vector<std::string> files{target.site_store};
  if (const auto have = books_.find(files); have != books_.end() && have->second->bytes != static_cast<std::uintmax_t>(about.st_size)) {
    books_.erase(have);
  }
  KFAB_TRY(book, book_of(files));
  if (const Known now = known(target, key_blob); now.trusted || !now.lines.empty()) return ok();   // the caller looks

  char last = '\n';
  if (about.st_size > 0 && ::pread((*file)->fd(), &last, 1, about.st_size - 1) != 1) return not_stored(target, std::strerror(errno));
  const std::string line = store_line(target, key_blob);
  const std::string bytes = (last == '\n' ? "" : "\n") + line + "\n";   // a line cut short by a crash is closed first
  const auto now = std::chrono::steady_clock::now();
  // Waiting for the disk once a second is enough: what a crash of the machine loses is met as new again.
  const auto synced = synced_.find(target.site_store);
  const bool sync = synced == synced_.end() || now - synced->second >= std::chrono::seconds(1);
  if (::write((*file)->fd(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()) || (sync && ::fdatasync((*file)->fd()) != 0)) {
    const int reason = errno;
    if (::ftruncate((*file)->fd(), about.st_size) != 0) return not_stored(target, "the disk is full, and half a line may be left");
    return not_stored(target, std::strerror(reason));
  }
  if (sync) synced_[target.site_store] = now;
  book->hosts.add_line(line, ++book->lines, 0);
  book->bytes += bytes.size();
  return ok();
}

HostKeys::~HostKeys() {
  for (const auto& [path, when] : synced_) {
    const Fd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    if (fd.get() >= 0) (void)::fdatasync(fd.get());
  }
}

}  // namespace kfab::ssh
