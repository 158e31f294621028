#include "commands/version.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "commands/agent_image.hpp"
#include "ssh/transport.hpp"

namespace kfab::commands {
namespace {

DeviceFact cuda_device(const BuildFacts& build) {
  if (!build.cuda) return {"cuda", false, "not built in (no nvcc at build time)"};
  return {"cuda", true, "built in for " + join(build.cuda_archs, " ") + ", with nvcc " + build.cuda_toolkit + ", for drivers of " + build.cuda_least_driver + " and later"};
}

json::Array to_json(const std::vector<std::string>& words) {
  json::Array out;
  for (const std::string& word : words) out.emplace_back(word);
  return out;
}

void render(const VersionResult& result, term::Writer& out) {
  out.text(term::Style::strong, "kfab " + result.build.version).line(fmt::format("  {}, {}", result.build.build_type, result.build.compiler));
  for (const DeviceFact& device : result.devices) out.line(fmt::format("device   {:<5} {}", device.name, device.detail));
  for (const AgentFact& agent : result.agents)
    out.line(fmt::format("agent    {}: sha256 {}, {} bytes", agent.machine, agent.sha256, with_thousands(static_cast<long long>(agent.size_bytes))));
  for (const LibraryVersion& library : result.build.libraries) out.line(fmt::format("library  {} {}", library.name, library.version));
  for (const std::string& limit : result.limits) out.line("note     " + limit);
}

}  // namespace

VersionResult run_version(BuildFacts build) {
  VersionResult result;
  result.devices.push_back({"cpu", true, "built in"});
  result.devices.push_back(cuda_device(build));
  for (const EmbeddedAgent& agent : embedded_agents()) result.agents.push_back({std::string(agent.machine), std::string(agent.sha256), agent.size_bytes});
  if (result.agents.size() == 1)
    result.limits.push_back(fmt::format("there is no agent for nodes with other processors than {}: where kfab is built with g++-aarch64-linux-gnu at hand it has one for Arm",
                                        result.agents.front().machine));
  build.libraries.push_back({"libssh2", ssh::libssh2_version_text()});
  if (!ssh::libssh2_signs_rsa_sha2())
    result.limits.emplace_back("this libssh2 signs RSA keys with SHA-1 only, which today's sshd refuses: use an ed25519 key "
                               "(libssh2 1.11 and later can use RSA keys)");
  result.build = std::move(build);
  return result;
}

CommandOutput to_output(const VersionResult& result) {
  CommandOutput out;
  out.schema = "kfab.version/1.1";
  json::Array devices, agents, libraries;
  for (const DeviceFact& device : result.devices)
    devices.emplace_back(json::Object{{"name", device.name}, {"built_in", device.built_in}, {"detail", device.detail}});
  for (const LibraryVersion& library : result.build.libraries)
    libraries.emplace_back(json::Object{{"name", library.name}, {"version", library.version}});
  for (const AgentFact& agent : result.agents)
    agents.emplace_back(json::Object{{"machine", agent.machine}, {"sha256", agent.sha256}, {"size_bytes", agent.size_bytes}});
  const AgentFact& own = result.agents.front();
  const json::Value toolkit = result.build.cuda ? json::Value(result.build.cuda_toolkit) : json::Value();
  out.data = json::Object{{"version", result.build.version},
                          {"build_type", result.build.build_type},
                          {"compiler", result.build.compiler},
                          {"devices", std::move(devices)},
                          {"cuda", json::Object{{"toolkit", toolkit}, {"archs", to_json(result.build.cuda_archs)}}},
                          {"agent", json::Object{{"sha256", own.sha256}, {"size_bytes", own.size_bytes}}},
                          {"agents", std::move(agents)},
                          {"libraries", std::move(libraries)},
                          {"limits", to_json(result.limits)}};
  out.render = [result](term::Writer& writer) { render(result, writer); };
  return out;
}

}  // namespace kfab::commands
