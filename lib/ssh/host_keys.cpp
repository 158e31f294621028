#include "ssh/host_keys.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/file.hpp"
#include "base/text.hpp"
#include "ssh/codec.hpp"

namespace kfab::ssh {
namespace {

std::string address_name(const Target& target) { return known_hosts_name(target.address, target.port); }
std::string node_name(const Target& target) { return to_lower(target.node); }

std::string shown(const Target& target) {
  const std::string address = address_name(target);
  return target.node == address ? one_line(address) : one_line(target.node + " (" + address + ")");
}

bool holds(const std::vector<const KnownHost*>& lines, std::string_view blob) {
  return std::any_of(lines.begin(), lines.end(), [&](const KnownHost* line) { return line->blob == blob; });
}

bool contains(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// "known_hosts:3 SHA256:..." of every line, for the message about a changed key.
std::string where(const std::vector<const KnownHost*>& lines, const std::vector<std::string>& files) {
  std::vector<std::string> parts;
  for (const KnownHost* line : lines) {
    parts.push_back(fmt::format("{}:{} ({} {})", files[line->file], line->line, line->type, fingerprint(line->blob)));
  }
  return one_line(join(parts, ", "), 600);
}

// An open file descriptor that closes itself.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { if (fd_ >= 0) ::close(fd_); }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
 private:
  int fd_;
};

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

Result<HostKeys::Known> HostKeys::known(const Target& target) {
  if (!target.site_store.empty()) {
    KFAB_TRY(store, book_of({target.site_store}));
    for (const std::string& name : {node_name(target), address_name(target)}) {
      auto lines = store->hosts.find(name);
      if (!lines.empty()) return Known{std::move(lines), store, false};
    }
  }
  KFAB_TRY(users, book_of(files_of(target)));
  auto lines = users->hosts.find(address_name(target));
  const bool vague = lines.empty();
  if (vague) lines = users->hosts.find(node_name(target));
  return Known{std::move(lines), users, vague};
}

Result<std::vector<const KnownHost*>> HostKeys::marked(const Target& target) {
  std::vector<const KnownHost*> found;
  std::vector<std::vector<std::string>> sources{files_of(target)};
  if (!target.site_store.empty()) sources.push_back({target.site_store});
  for (const auto& files : sources) {
    KFAB_TRY(book, book_of(files));
    for (const std::string& name : {node_name(target), address_name(target)}) {
      for (const KnownHost* line : book->hosts.find_marked(name)) found.push_back(line);
    }
  }
  return found;
}

Result<std::vector<std::string>> HostKeys::known_types(const Target& target) {
  KFAB_TRY(known, this->known(target));
  std::vector<std::string> types;
  for (const KnownHost* line : known.lines) {
    if (!contains(types, line->type)) types.push_back(line->type);
  }
  return types;
}

Status HostKeys::check(const Target& target, std::string_view key_blob, const std::vector<std::string>& checkable) {
  const std::string print = fingerprint(key_blob);
  const std::string type = one_line(key_type(key_blob));
  KFAB_TRY(marked_lines, marked(target));
  bool authority = false;
  for (const KnownHost* line : marked_lines) {
    if (line->marker == KnownHost::Marker::cert_authority) authority = true;
    else if (line->blob == key_blob) {
      return error(Code::host_key_revoked, fmt::format("{} offers the revoked host key {} {}", shown(target), type, print));
    }
  }

  KFAB_TRY(known, this->known(target));
  if (holds(known.lines, key_blob)) return ok();
  const bool comparable = std::any_of(known.lines.begin(), known.lines.end(),
                                      [&](const KnownHost* line) { return contains(checkable, line->type); });
  if (comparable && !known.vague) {
    Diagnostic changed = error(Code::host_key_changed,
                               fmt::format("THE HOST KEY OF {} HAS CHANGED: it offers {} {}", shown(target), type, print));
    changed.help.push_back("known until now: " + where(known.lines, known.book->files));
    return changed;
  }
  // A machine known only by types that cannot be asked for is not new either: it is for a person to say.
  if (target.host_keys == HostKeyPolicy::trust_on_first_use && (known.lines.empty() || known.vague)) {
    return store(target, key_blob, checkable);
  }

  Diagnostic unknown = error(Code::host_key_unknown, fmt::format("the host key of {} is not known: {} {}", shown(target), type, print));
  if (!known.lines.empty() && !known.vague) {
    unknown.help.push_back("known by keys that this libssh2 cannot check: " + where(known.lines, known.book->files));
  }
  if (authority) unknown.help.push_back("a @cert-authority line covers this host, but kfab does not verify host certificates yet");
  const std::string file = target.site_store.empty() ? files_of(target).front() : target.site_store;
  unknown.help.push_back("compare with the node's console: ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub");
  unknown.help.push_back(fmt::format("to trust it, add this line to {}: {} {} {}", one_line(file), one_line(address_name(target)), type,
                                     base64_encode(key_blob)));
  unknown.help.push_back("to trust every new node of a site, set ssh.host_keys: trust-on-first-use in its manifest");
  return unknown;
}

Status HostKeys::store(const Target& target, std::string_view key_blob, const std::vector<std::string>& checkable) {
  if (target.site_store.empty()) return not_stored(target, "the site has no store file");
  if (target.node.find_first_of(" \t\r\n,*?!|@#") != std::string::npos || address_name(target).find_first_of(" \t\r\n,*?!|@#") != std::string::npos) {
    return not_stored(target, "its name or address has characters that a known_hosts line cannot hold");
  }
  std::error_code failed;
  std::filesystem::create_directories(std::filesystem::path(target.site_store).parent_path(), failed);
  Fd fd(::open(target.site_store.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (fd.get() < 0) return not_stored(target, std::strerror(errno));
  // Two kfabs may meet a new machine at once: whoever has the lock reads again what the other may have written.
  if (::flock(fd.get(), LOCK_EX) != 0) return not_stored(target, std::strerror(errno));
  struct stat about {};
  if (::fstat(fd.get(), &about) != 0) return not_stored(target, std::strerror(errno));
  if (books_[{target.site_store}] && books_[{target.site_store}]->bytes != static_cast<std::uintmax_t>(about.st_size)) {
    books_.erase({target.site_store});
  }
  KFAB_TRY(book, book_of({target.site_store}));
  KFAB_TRY(now_known, known(target));
  if (!now_known.lines.empty() && !now_known.vague) {
    if (holds(now_known.lines, key_blob)) return ok();
    return check(target, key_blob, checkable);   // somebody stored another key meanwhile: it is a changed one
  }

  char last = '\n';
  if (about.st_size > 0 && ::pread(fd.get(), &last, 1, about.st_size - 1) != 1) return not_stored(target, std::strerror(errno));
  const std::string address = address_name(target);
  const std::string names = node_name(target) == address ? address : node_name(target) + "," + address;
  const std::string line = fmt::format("{} {} {}", names, key_type(key_blob), base64_encode(key_blob));
  const std::string bytes = (last == '\n' ? "" : "\n") + line + "\n";   // a line cut short by a crash is closed first
  if (::write(fd.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()) || ::fdatasync(fd.get()) != 0) {
    const int reason = errno;
    if (::ftruncate(fd.get(), about.st_size) != 0) return not_stored(target, "the disk is full, and half a line may be left");
    return not_stored(target, std::strerror(reason));
  }
  book->hosts.add_line(line, ++book->lines, 0);
  book->bytes += bytes.size();
  return ok();
}

}  // namespace kfab::ssh
