#include "commands/private_keys.hpp"

#include <algorithm>
#include <filesystem>
#include <map>
#include <ostream>

#include "base/codes/ssh.hpp"
#include "base/text.hpp"
#include "ssh/agent_client.hpp"
#include "ssh/private_key.hpp"

namespace kfab::commands {
namespace {

constexpr int agent_patience_ms = 2000;
constexpr std::size_t most_keys = 16;   // that anybody would type a passphrase for

bool is_locked(const std::string& path, const std::vector<ssh::AgentKey>& held) {
  const auto key = ssh::load_private_key(path);
  if (!key || !key->encrypted) return false;   // what is wrong with it the run itself will say
  return std::none_of(held.begin(), held.end(), [&](const ssh::AgentKey& one) { return one.blob == key->public_blob; });
}

bool names_one(const ssh::Target& target, const std::vector<std::string>& keys) {
  return std::any_of(target.identity_files.begin(), target.identity_files.end(),
                     [&](const std::string& file) { return std::find(keys.begin(), keys.end(), file) != keys.end(); });
}

}  // namespace

Status check_keys(const std::vector<std::string>& files, const std::vector<ssh::Target>& targets) {
  const bool own = std::any_of(targets.begin(), targets.end(), [](const ssh::Target& target) { return target.transport == ssh::TransportKind::libssh2; });
  for (const std::string& file : files) {
    std::error_code failed;
    if (!std::filesystem::exists(file, failed)) return error(code::ssh_key_unreadable, "there is no private key " + one_line(file));
    if (!own) continue;
    if (auto key = ssh::load_private_key(file); !key) return std::move(key).error();
  }
  return ok();
}

std::vector<std::string> locked_keys(const std::vector<ssh::Target>& targets, const std::string& agent_socket) {
  std::vector<ssh::AgentKey> held;
  if (!agent_socket.empty())
    if (auto keys = ssh::keys_of_agent(agent_socket, agent_patience_ms)) held = std::move(*keys);
  std::map<std::string, bool> looked_at;
  std::vector<std::string> locked;
  const auto look = [&](const ssh::Target& target) {
    if (target.transport == ssh::TransportKind::local) return;
    for (const std::string& file : target.identity_files) {
      if (!looked_at.emplace(file, true).second || locked.size() == most_keys) continue;
      if (is_locked(file, held)) locked.push_back(file);
    }
  };
  for (const ssh::Target& target : targets) {
    look(target);
    for (const auto& jump : target.via) look(*jump);
  }
  return locked;
}

Result<std::shared_ptr<ssh::PrivateAgent>> unlock_keys(std::vector<ssh::Target>& targets, const Env& env) {
  if (!env.interactive) return std::shared_ptr<ssh::PrivateAgent>();
  const std::vector<std::string> locked = locked_keys(targets, env.getenv("SSH_AUTH_SOCK").value_or(""));
  if (locked.empty()) return std::shared_ptr<ssh::PrivateAgent>();
  KFAB_TRY(agent, ssh::PrivateAgent::start());
  for (const std::string& file : locked) {
    if (env.cancel.requested()) return error(code::private_agent_failed, "stopped before the keys were loaded");
    KFAB_TRY_VOID(agent->add(file));
  }
  std::map<std::shared_ptr<const ssh::Target>, std::shared_ptr<const ssh::Target>> replaced;   // jump hosts stay shared
  for (ssh::Target& target : targets) {
    if (names_one(target, locked)) {
      target.agent_socket = agent->socket();
      target.use_agent = true;
    }
    for (auto& jump : target.via) {
      if (!names_one(*jump, locked)) continue;
      auto& with_agent = replaced[jump];
      if (!with_agent) {
        ssh::Target copy = *jump;
        copy.agent_socket = agent->socket();
        copy.use_agent = true;
        with_agent = std::make_shared<const ssh::Target>(std::move(copy));
      }
      jump = with_agent;
    }
  }
  return std::shared_ptr<ssh::PrivateAgent>(std::move(agent));
}

}  // namespace kfab::commands
