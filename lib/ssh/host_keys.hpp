#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.hpp"
#include "ssh/known_hosts.hpp"
#include "ssh/target.hpp"

namespace kfab::ssh {

// What is asked of one machine while it is met, kept by whoever meets it from HostKeys::prepare() to the last judge().
struct HostKeyInquiry {
  std::vector<std::string> types{};   // ask for these first: the machine is, or may be, known by them
  bool guessed = false;               // they come of lines that hide their names
  bool asked_again = false;           // judge() has said ask_again once
  bool certificate_wanted = false;    // an authority covers the machine: get its certificate before the next try
  // What came of that, once certify() or no_certificate() was called: why there is none that vouches, in words.
  bool certificate_tried = false;
  bool certificate_refused = false;   // it showed one that does not vouch for it, which is worse than none
  std::string certificate_trouble{};
};

enum class HostKeyAnswer {
  trusted,
  // It is known, but by another type than it showed; or an authority covers it and its certificate was not looked at
  // yet. Connect again, and do as the inquiry now says.
  ask_again,
};

// Decides whether a machine is the one it should be. Two sources: known_hosts files of the user (asked for the
// address, as ssh asks them, and for the node's name where they say nothing about the address) and the site's own
// store (asked for the node's name first, so that an address given to another machine is noticed). The site's store
// decides where it knows the node. A key that no line has is trusted as well when a certificate of an authority says
// whose it is: one of a @cert-authority line, or of the target's host_ca_files. Files are read once and kept; only the
// store is ever written. May be used by several threads at once: those that only look do not wait for each other.
class HostKeys {
 public:
  // `home` and the system's own file are used for targets that name no known_hosts files.
  explicit HostKeys(std::string home) : home_(std::move(home)) {}
  ~HostKeys();

  // What this machine is to be asked for. Where no line that can be read names it, these are the types of the hashed
  // lines, the most frequent first, and nothing is tried. Errors: known_hosts_unreadable.
  Result<HostKeyInquiry> prepare(const Target&);
  // Whether the machine that showed this key is trusted; stores the key when it is the first and the target's policy
  // says so. `checkable` are the types that this libssh2 can ask for: a machine known only by others is unknown, not
  // changed. Errors: host_key_unknown, host_key_changed, host_key_revoked, host_key_not_stored, known_hosts_unreadable,
  // host_certificate_missing, host_certificate_refused.
  Result<HostKeyAnswer> judge(const Target&, HostKeyInquiry&, std::string_view key_blob, const std::vector<std::string>& checkable);

  // The types of certificates to ask for where one is wanted, best first.
  static std::vector<std::string> certificate_types(const std::vector<std::string>& checkable);
  // The machine showed this certificate, at this time in seconds since 1970. The key in it is remembered when an
  // authority vouches for it; that the machine holds that key is for judge() to see. Error: host_key_revoked.
  Status certify(const Target&, HostKeyInquiry&, std::string_view certificate, const std::vector<std::string>& checkable, std::uint64_t now);
  // It has none to show.
  static void no_certificate(HostKeyInquiry&, std::string why);

  // How a key stands that a machine showed, without storing anything.
  struct Standing {
    enum class State { known, certified, revoked, changed, unknown };
    State state = State::unknown;
    std::string where{};                 // of the line that says so: "known_hosts:3"; empty when none does
    // Changed: by which keys of its type the machine is known; unknown: by which keys at all: "ssh-ed25519 SHA256:...
    // (known_hosts:3)". Hashed lines are tried only where that can tell changed from unknown.
    std::vector<std::string> known_by{};
  };
  // Of each of these keys of one machine, in order. A key is changed where a line of its type says otherwise; one of a type
  // by which the machine is not known is unknown even if it is known by others.
  Result<std::vector<Standing>> standings(const Target&, const std::vector<std::string>& key_blobs);

  // The lines that apply to a machine, as judge() would use them; all hashed lines are tried.
  struct Line {
    std::string type, blob;
    std::string file;
    std::size_t line = 0;
    KnownHost::Marker marker = KnownHost::Marker::none;
    bool in_store = false;
    std::string names{};   // as they stand there
  };
  Result<std::vector<Line>> lines_of(const Target& target) { return lines_of(target, true); }
  // The same; hashed lines of which it is not known yet whose they are count only with `try_hashed`.
  Result<std::vector<Line>> lines_of(const Target&, bool try_hashed);
  // Before lines_of() for many machines, because to try each hashed line for each of them takes minutes for thousands:
  // finds most of them at once where they stand in about the order of the targets. What is left, in tries.
  Result<std::uint64_t> sweep(const std::vector<Target>&);
  // The lines of the site's store with this key, whomever they name.
  Result<std::vector<Line>> store_lines_of_key(const Target&, std::string_view key_blob);
  // Why a file of host_ca_files is of no use; empty when each is.
  std::vector<std::string> authority_trouble(const Target&);

 private:
  struct Book {
    std::vector<std::string> files;
    KnownHosts hosts;
    std::uintmax_t bytes = 0;   // of all files when they were read, with what was appended since
    std::size_t lines = 0;
  };
  struct Known {   // what applies to one target, and whose lines they are
    KnownHosts::Lines lines{};
    const Book* book = nullptr;
    bool vague = false;   // found under another of its names in the user's own files: may confirm, cannot contradict
    bool trusted = false;   // the key in question is among them
  };
  struct Books { const Book* users = nullptr; const Book* store = nullptr; };   // store: null when there is none
  struct AuthorityFile { KnownHosts hosts; std::string trouble{}; };
  struct Certified { std::string blob; std::uint64_t valid_before = 0; };

  Result<Book*> book_of(const std::vector<std::string>& files);
  Status read_books(const Target&);
  Books books(const Target&) const;
  enum class Tries { readable, all };   // whether hashed lines are tried that show nothing by themselves
  Known known(const Target&, std::string_view key_blob, Tries) const;
  const KnownHost* revoked(const Target&, std::string_view key_blob) const;
  bool covered(const Target&) const;
  bool authority(const Target&, std::string_view authority_blob) const;
  std::vector<std::string> certified(const Target&) const;   // the keys that certificates vouch for, at this time
  static std::string at(const Book&, const KnownHost&);
  static void read_authority_file(const std::string& path, std::unique_ptr<AuthorityFile>&);
  Line line(const Book&, const KnownHost&, bool in_store) const;
  Result<HostKeyAnswer> judge_known(const Target&, HostKeyInquiry&, std::string_view key_blob, const Known&,
                                    const std::vector<std::string>& checkable) const;
  Diagnostic unknown(const Target&, const HostKeyInquiry&, std::string_view key_blob, const Known&) const;
  Status store(const Target&, std::string_view key_blob);
  std::vector<std::string> files_of(const Target&) const;

  std::string home_;
  mutable std::shared_mutex mutex_;   // books_: held alone while one is read or added to
  std::map<std::vector<std::string>, std::unique_ptr<Book>> books_;
  std::map<std::string, std::unique_ptr<AuthorityFile>> authorities_;
  std::unordered_map<std::string, std::vector<Certified>> certified_;   // by certified_key(), one for each type
  std::map<std::string, std::chrono::steady_clock::time_point> synced_;   // stores written to: when they were last put on disk
};

}  // namespace kfab::ssh
