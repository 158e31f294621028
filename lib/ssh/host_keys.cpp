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

#include "base/codes/ssh.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "ssh/codec.hpp"
#include "ssh/host_certificate.hpp"
#include "ssh/host_key_exchange.hpp"
#include "ssh/host_key_store.hpp"
#include "ssh/host_names.hpp"

namespace kfab::ssh {
namespace {

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

std::string certified_key(const Target& target) { return target.site_store + "\n" + target.node + "\n" + address_name(target); }

std::uint64_t seconds_now() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(since).count());
}

Diagnostic not_stored(const Target& target, std::string_view why) {
  return error(code::host_key_not_stored,
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
    if (!text) return error(code::known_hosts_unreadable, text.error().message);
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
    const auto read = [&](const std::string& path) { return authorities_.contains(path); };
    if (have.users != nullptr && (have.store != nullptr || target.site_store.empty()) &&
        std::all_of(target.host_ca_files.begin(), target.host_ca_files.end(), read)) {
      return ok();
    }
  }
  const std::unique_lock lock(mutex_);
  for (const std::string& path : target.host_ca_files) read_authority_file(path, authorities_[path]);
  if (auto users = book_of(files_of(target)); !users) return std::move(users).error();
  if (target.site_store.empty()) return ok();
  if (auto store = book_of({target.site_store}); !store) return std::move(store).error();
  return ok();
}

HostKeys::Known HostKeys::known(const Target& target, std::string_view key_blob, Tries tries) const {
  const auto [users, store] = books(target);
  const auto look = [&](const Book* book, const std::string& name, bool vague) -> std::optional<Known> {
    if (const KnownHost* line = book->hosts.find_key(name, key_blob)) return Known{{line}, book, vague, true};
    if (vague) return std::nullopt;   // it cannot contradict, so hashed lines need not be tried
    auto lines = tries == Tries::all ? book->hosts.find(name) : book->hosts.find_readable(name);
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

// Called with mutex_ held alone, once for each file.
void HostKeys::read_authority_file(const std::string& path, std::unique_ptr<AuthorityFile>& file) {
  if (file) return;
  file = std::make_unique<AuthorityFile>();
  auto text = read_file(path, std::size_t{1} << 20);
  if (!text) {   // it could only have added trust
    file->trouble = text.error().message;
    return;
  }
  std::size_t number = 0;
  for (const std::string_view line : split_lines(*text)) {
    const std::string_view words = trim(line);
    ++number;
    // A file of public keys, or lines as known_hosts has them.
    if (words.starts_with('@')) file->hosts.add_line(words, number, 0);
    else if (!words.empty() && words.front() != '#') file->hosts.add_line("@cert-authority * " + std::string(words), number, 0);
  }
  if (file->hosts.size() == 0) file->trouble = fmt::format("{} holds no public key", one_line(path));
}

bool HostKeys::covered(const Target& target) const {
  const auto [users, store] = books(target);
  for (const std::string& name : all_names_of(target)) {
    for (const Book* book : {users, store}) {
      if (book != nullptr && !book->hosts.find_marked(name, KnownHost::Marker::cert_authority).empty()) return true;
    }
    for (const std::string& path : target.host_ca_files) {
      if (!authorities_.at(path)->hosts.find_marked(name, KnownHost::Marker::cert_authority).empty()) return true;
    }
  }
  return false;
}

bool HostKeys::authority(const Target& target, std::string_view authority_blob) const {
  const auto [users, store] = books(target);
  for (const std::string& name : all_names_of(target)) {
    for (const Book* book : {users, store}) {
      if (book != nullptr && book->hosts.find_key(name, authority_blob, KnownHost::Marker::cert_authority) != nullptr) return true;
    }
    for (const std::string& path : target.host_ca_files) {
      if (authorities_.at(path)->hosts.find_key(name, authority_blob, KnownHost::Marker::cert_authority) != nullptr) return true;
    }
  }
  return false;
}

std::vector<std::string> HostKeys::certified(const Target& target) const {
  std::vector<std::string> blobs;
  if (certified_.empty()) return blobs;
  if (const auto found = certified_.find(certified_key(target)); found != certified_.end()) {
    for (const Certified& key : found->second) {
      if (key.valid_before > seconds_now()) blobs.push_back(key.blob);
    }
  }
  return blobs;
}

std::vector<std::string> HostKeys::certificate_types(const std::vector<std::string>& checkable) {
  std::vector<std::string> types;
  const auto add = [&](const std::string& plain) {
    const std::string type = certificate_type(plain);
    if (!type.empty() && !contains(types, type)) types.push_back(type);
  };
  for (const std::string& plain : checkable) add(plain);
  for (const std::string& plain : scannable_types()) add(plain);   // to say at least what there is
  return types;
}

void HostKeys::no_certificate(HostKeyInquiry& inquiry, std::string why) {
  inquiry.certificate_wanted = false;
  inquiry.certificate_tried = true;
  inquiry.certificate_trouble = std::move(why);
}

Status HostKeys::certify(const Target& target, HostKeyInquiry& inquiry, std::string_view blob, const std::vector<std::string>& checkable, std::uint64_t now) {
  KFAB_TRY_VOID(read_books(target));
  inquiry.certificate_wanted = false;
  inquiry.certificate_tried = true;
  const auto certificate = read_certificate(blob);
  if (!certificate) {
    inquiry.certificate_refused = true;
    inquiry.certificate_trouble = "it is damaged";
    return ok();
  }
  const std::unique_lock lock(mutex_);
  for (const std::string& key : {certificate->plain_blob, certificate->authority_blob}) {
    if (revoked(target, key) == nullptr) continue;
    return error(code::host_key_revoked, fmt::format("{} shows a host certificate {} a revoked key, {}: {}", shown(target),
                                                     key == certificate->plain_blob ? "for" : "signed by", fingerprint(key), describe(*certificate)));
  }
  const std::string plain(key_type(certificate->plain_blob));
  if (!authority(target, certificate->authority_blob)) {
    inquiry.certificate_trouble = fmt::format("its certificate is signed by {}, which no @cert-authority line and no security.ssh_ca trusts for it",
                                              fingerprint(certificate->authority_blob));
  } else if (const auto why = objection(*certificate, certified_names_of(target), now)) {
    inquiry.certificate_refused = true;
    inquiry.certificate_trouble = fmt::format("{} ({})", *why, describe(*certificate));
  } else if (!contains(checkable, plain)) {
    inquiry.certificate_trouble = fmt::format("its certificate is for a key of type {}, which this libssh2 cannot check: set `transport: openssh` in the "
                                              "manifest's ssh settings, or certify an Ed25519 or ECDSA host key as well", plain);
  } else {
    auto& vouched_for = certified_[certified_key(target)];
    std::erase_if(vouched_for, [&](const Certified& key) { return key_type(key.blob) == plain; });
    vouched_for.push_back({certificate->plain_blob, certificate->valid_before});
    inquiry.types = {plain};
  }
  return ok();
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
  for (const std::string& key : certified(target)) add(std::string(key_type(key)));
  if (!inquiry.types.empty()) return inquiry;
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
  inquiry.certificate_wanted = !inquiry.guessed && covered(target);
  return inquiry;
}

Result<HostKeyAnswer> HostKeys::judge(const Target& target, HostKeyInquiry& inquiry, std::string_view key_blob,
                                      const std::vector<std::string>& checkable) {
  KFAB_TRY_VOID(read_books(target));
  {
    const std::shared_lock lock(mutex_);
    if (revoked(target, key_blob) != nullptr) {
      return error(code::host_key_revoked, fmt::format("{} offers the revoked host key {} {}", shown(target), one_line(key_type(key_blob)), fingerprint(key_blob)));
    }
    const Known known = this->known(target, key_blob, Tries::all);
    const auto vouched_for = certified(target);
    if (known.trusted || contains(vouched_for, key_blob)) return HostKeyAnswer::trusted;
    if (!inquiry.certificate_tried && covered(target)) {
      inquiry.certificate_wanted = true;
      return HostKeyAnswer::ask_again;
    }
    if (!vouched_for.empty() || inquiry.certificate_refused) return judge_known(target, inquiry, key_blob, known, checkable);
    // A machine known only by types that cannot be asked for is not new either: it is for a person to say.
    if (target.host_keys != HostKeyPolicy::trust_on_first_use || !known.lines.empty()) return judge_known(target, inquiry, key_blob, known, checkable);
  }
  const std::unique_lock lock(mutex_);
  KFAB_TRY_VOID(store(target, key_blob));
  // Somebody may have stored another key for it meanwhile: then it is a changed one.
  const Known known = this->known(target, key_blob, Tries::all);
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
  const auto ask_for = [&](std::vector<std::string> types) {
    inquiry.types = std::move(types);
    inquiry.asked_again = true;
    return HostKeyAnswer::ask_again;
  };
  if (const auto vouched_for = certified(target); !vouched_for.empty()) {
    std::vector<std::string> types;
    for (const std::string& key : vouched_for) types.emplace_back(key_type(key));
    if (!inquiry.asked_again && !contains(types, type)) return ask_for(std::move(types));
    return error(code::host_certificate_refused, fmt::format("{} shows a certificate for the host key {}, but offers {} {}", shown(target),
                                                             fingerprint(vouched_for.front()), one_line(type), fingerprint(key_blob)));
  }
  if (comparable.empty()) return unknown(target, inquiry, key_blob, known);
  if (inquiry.guessed && !inquiry.asked_again && !contains(comparable, type)) return ask_for(std::move(comparable));
  Diagnostic changed = error(code::host_key_changed, fmt::format("THE HOST KEY OF {} HAS CHANGED: it offers {} {}", shown(target), one_line(type),
                                                                 fingerprint(key_blob)));
  changed.help.push_back("known until now: " + where(known.lines, known.book->files));
  if (!inquiry.certificate_trouble.empty()) changed.message += "; no certificate vouches for it: " + inquiry.certificate_trouble;
  return changed;
}

Diagnostic HostKeys::unknown(const Target& target, const HostKeyInquiry& inquiry, std::string_view key_blob, const Known& known) const {
  const std::string type = one_line(key_type(key_blob));
  const std::string key = fmt::format("{} {}", type, fingerprint(key_blob));
  Diagnostic unknown =
      inquiry.certificate_refused ? error(code::host_certificate_refused, fmt::format("the host certificate of {} does not vouch for it: {}", shown(target),
                                                                                      inquiry.certificate_trouble))
      : !inquiry.certificate_trouble.empty()
          ? error(code::host_certificate_missing, fmt::format("no certificate vouches for {}, and its host key is not known: {}: {}", shown(target), key,
                                                              inquiry.certificate_trouble))
          : error(code::host_key_unknown, fmt::format("the host key of {} is not known: {}", shown(target), key));
  if (inquiry.certificate_refused) unknown.help.push_back("its host key is " + key);
  if (!known.lines.empty()) {
    unknown.help.push_back("known by keys that this libssh2 cannot check: " + where(known.lines, known.book->files));
    unknown.help.push_back("`transport: openssh` in the manifest's ssh settings can check them");
  }
  const std::string file = target.site_store.empty() ? files_of(target).front() : target.site_store;
  unknown.help.push_back("compare with the node's console: ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub");
  unknown.help.push_back(fmt::format("to trust it, add this line to {}: {} {} {}", one_line(file), one_line(address_name(target)), type,
                                     base64_encode(key_blob)));
  unknown.help.push_back("to review and trust the keys of all nodes at once: kfab hostkeys trust MANIFEST");
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
  if (const Known now = known(target, key_blob, Tries::all); now.trusted || !now.lines.empty()) return ok();   // the caller looks

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
