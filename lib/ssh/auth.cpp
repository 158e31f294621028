#include "ssh/auth.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/codes/ssh.hpp"
#include "base/text.hpp"
#include "ssh/codec.hpp"
#include "ssh/transport.hpp"

namespace kfab::ssh {
namespace {

constexpr int authentication_failed = -18, publickey_unverified = -19;   // libssh2.h

// Certificates and security keys need more than the inner signature, so they are not offered.
bool can_offer(std::string_view type) {
  return type == "ssh-ed25519" || type == "ssh-rsa" ||
         (type.starts_with("ecdsa-sha2-nistp") && type.find("-cert-") == std::string_view::npos);
}

}  // namespace

const Result<PrivateKey>* KeyRing::find(const std::string& path) {
  const std::lock_guard lock(mutex_);
  auto& slot = keys_[path];
  if (!slot) {
    std::error_code failed;
    if (!std::filesystem::exists(path, failed) && !failed) return nullptr;
    slot = std::make_unique<Result<PrivateKey>>(load_private_key(path));
  }
  return slot.get();
}

void KeyRing::give_up_agent(const std::string& socket) {
  const std::lock_guard lock(mutex_);
  agent_trouble_.insert(socket);
}

bool KeyRing::agent_is_trouble(const std::string& socket) const {
  const std::lock_guard lock(mutex_);
  return agent_trouble_.contains(socket);
}

std::vector<std::string> KeyRing::default_paths() const {
  if (home_.empty()) return {};
  return {home_ + "/.ssh/id_ed25519", home_ + "/.ssh/id_ecdsa", home_ + "/.ssh/id_rsa"};
}

std::string Authenticator::Candidate::shown() const {
  if (file != nullptr) return one_line(file->path) + (file->type.empty() ? "" : " (" + one_line(file->type) + ")");
  return fmt::format("ssh-agent's {} {} ({})", key_type(agent.blob), fingerprint(agent.blob), one_line(agent.comment, 60));
}

Authenticator::Authenticator(Session& session, const Target& target, std::string user, KeyRing& ring)
    : session_(session), target_(target), user_(std::move(user)), ring_(ring) {}

bool Authenticator::may_ask_agent() const {
  return target_.use_agent && !agent_socket().empty() && !ring_.agent_is_trouble(agent_socket());
}

void Authenticator::begin() {
  const bool named = !target_.identity_files.empty();
  for (const std::string& path : named ? target_.identity_files : ring_.default_paths()) {
    const auto* key = ring_.find(path);
    if (key == nullptr) {
      if (named) trouble_.push_back(error(code::ssh_key_unreadable, "there is no private key " + one_line(path)));
    } else if (!*key) {
      trouble_.push_back(key->error());
    } else {
      files_.push_back(&key->value());
    }
  }
  const bool encrypted = std::any_of(files_.begin(), files_.end(), [](const PrivateKey* key) { return key->encrypted; });
  // Named keys that open without it need no agent: one process that every node would have to wait for.
  if (may_ask_agent() && (!named || encrypted)) {
    state_ = State::asking_agent;
    return;
  }
  add_files();
  state_ = State::trying;
}

void Authenticator::offer(Candidate candidate) {
  // What this libssh2 signs by SHA-1 goes last: only servers of long ago take it.
  if (candidate.rsa && !libssh2_signs_rsa_sha2()) {
    candidates_.push_back(std::move(candidate));
    return;
  }
  const auto first_rsa = std::find_if(candidates_.begin() + static_cast<std::ptrdiff_t>(next_), candidates_.end(),
                                      [](const Candidate& other) { return other.rsa && !libssh2_signs_rsa_sha2(); });
  candidates_.insert(first_rsa, std::move(candidate));
}

void Authenticator::add_files() {
  for (const PrivateKey* key : files_) {
    if (!key->encrypted) {
      offer({key, {}, is_rsa(key->type)});
      continue;
    }
    const auto held = std::find_if(agent_keys_.begin(), agent_keys_.end(),
                                   [&](const AgentKey& agent) { return !key->public_blob.empty() && agent.blob == key->public_blob; });
    if (held != agent_keys_.end() && can_offer(key_type(held->blob))) offer({nullptr, *held, is_rsa(key_type(held->blob))});
    else trouble_.push_back(error(code::ssh_key_encrypted, "the private key " + one_line(key->path) + " is encrypted and not in ssh-agent"));
  }
}

void Authenticator::add_agent_keys() {
  for (const AgentKey& key : agent_keys_) {
    const auto is_it = [&](const PrivateKey* file) { return file->public_blob == key.blob; };
    if (target_.identities_only && std::none_of(files_.begin(), files_.end(), is_it)) continue;
    const bool there = std::any_of(candidates_.begin(), candidates_.end(), [&](const Candidate& other) {
      return other.file != nullptr ? other.file->public_blob == key.blob : other.agent.blob == key.blob;
    });
    if (!there && can_offer(key_type(key.blob))) offer({nullptr, key, is_rsa(key_type(key.blob))});
  }
}

bool Authenticator::agent_overdue(Time now) {
  if (!agent_since_) agent_since_ = now;
  return now - *agent_since_ > agent_patience;
}

void Authenticator::agent_failed(const std::string& why) {
  trouble_.push_back(error(code::ssh_agent_unusable, "ssh-agent at " + one_line(agent_socket()) + ": " + why));
}

Step Authenticator::ask_agent(Time now) {
  if (!agent_) agent_ = std::make_unique<AgentClient>(agent_socket());
  Step answered = agent_->list(agent_keys_);
  const bool overdue = answered == Step::again && agent_overdue(now);
  waiting_for_agent_ = answered == Step::again && !overdue;
  if (waiting_for_agent_) return Step::again;
  agent_since_.reset();
  agent_asked_ = true;
  if (answered != Step::done) {
    const std::string trouble = overdue ? "it does not answer" : agent_->why();
    ring_.give_up_agent(agent_socket());
    agent_failed(trouble);
    agent_keys_.clear();
  }
  if (target_.identity_files.empty()) {
    add_agent_keys();
    add_files();
  } else {
    if (candidates_.empty()) add_files();
    add_agent_keys();
  }
  state_ = State::trying;
  return Step::done;
}

Step Authenticator::try_one(const Candidate& candidate, Time now) {
  waiting_for_agent_ = false;
  if (candidate.file != nullptr && candidate.file->signing) {
    return session_.authenticate(user_, candidate.file->public_blob, [&](std::string_view data, std::string& signature) {
      return candidate.file->signing->sign(data, signature) ? Step::done : Step::failed;
    });
  }
  if (candidate.file != nullptr) return session_.authenticate(user_, candidate.file->text);
  return session_.authenticate(user_, candidate.agent.blob, [&](std::string_view data, std::string& signature) {
    if (!agent_) return Step::failed;
    const Step signed_it = agent_->sign(candidate.agent.blob, data, signature);
    if (signed_it == Step::again && !agent_overdue(now)) {
      waiting_for_agent_ = true;
      return Step::again;
    }
    agent_since_.reset();
    if (signed_it == Step::done) return Step::done;
    if (signed_it == Step::again) agent_.reset();   // the late answer would be taken for that of the next request
    agent_failed(agent_ ? agent_->why() : "it does not answer");
    if (!agent_) ring_.give_up_agent(agent_socket());
    return Step::failed;
  });
}

Step Authenticator::try_next(Time now) {
  while (next_ < candidates_.size() && refused_.size() < max_attempts) {
    const Candidate& candidate = candidates_[next_];
    const Step tried = try_one(candidate, now);
    if (tried == Step::again) return Step::again;
    waiting_for_agent_ = false;
    if (tried == Step::done && session_.authenticated()) return Step::done;
    if (tried == Step::failed && session_.connection_broken()) {   // nobody refused this key
      broken_ = session_.error_text();
      return Step::failed;
    }
    const int number = session_.error_number();
    if (tried == Step::done || number == authentication_failed || number == publickey_unverified) {
      refused_.push_back(candidate.shown());
      only_rsa_ = only_rsa_ && candidate.rsa;
    } else {
      trouble_.push_back(error(code::ssh_key_unreadable, candidate.shown() + ": " + session_.error_text()));
    }
    ++next_;
  }
  if (!agent_asked_ && may_ask_agent() && refused_.size() < max_attempts) {
    state_ = State::asking_agent;
    return Step::done;
  }
  if (refused_.empty()) return Step::failed;
  state_ = State::asking_methods;
  return Step::done;
}

Step Authenticator::step(Time now) {
  for (;;) {
    if (state_ == State::start) {
      begin();
    } else if (state_ == State::asking_agent) {
      if (ask_agent(now) == Step::again) return Step::again;
    } else if (state_ == State::trying) {
      const Step tried = try_next(now);
      if (tried != Step::done || session_.authenticated()) return tried;
    } else {
      const Step asked = session_.list_methods(user_, methods_);
      if (asked == Step::again) return Step::again;
      return Step::failed;
    }
  }
}

Diagnostic Authenticator::why() const {
  const std::string who = one_line(target_.node);
  if (refused_.empty()) {
    const auto worst = std::find_if(trouble_.begin(), trouble_.end(), [](const Diagnostic& one) { return one.code == code::ssh_key_encrypted; });
    const auto first = worst != trouble_.end() ? worst : trouble_.begin();
    Diagnostic why = first != trouble_.end() ? error(first->code, who + ": " + first->message)
                                             : error(code::ssh_no_identity, who + ": no key to log in with as " + one_line(user_));
    for (const Diagnostic& one : trouble_) why.help.push_back(one.message);
    return why;
  }
  const bool rsa = only_rsa_ && !libssh2_signs_rsa_sha2();
  Diagnostic why = rsa ? error(code::ssh_rsa_unsupported,
                               fmt::format("{}: only RSA keys could be offered, and libssh2 {} cannot use them with this sshd", who, libssh2_version_text()))
                       : error(code::ssh_auth_refused, fmt::format("{}: sshd accepted no key for user {}", who, one_line(user_)));
  for (const std::string& key : refused_) why.help.push_back("offered: " + key);
  if (!methods_.empty()) why.help.push_back("the server would take: " + one_line(methods_));
  if (!broken_.empty()) why.help.push_back("then the server hung up: " + broken_);
  for (const Diagnostic& one : trouble_) why.help.push_back("not offered: " + one.message);
  return why;
}

}  // namespace kfab::ssh
