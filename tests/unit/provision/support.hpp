#pragma once

#include <string>
#include <vector>

#include "manifest/model.hpp"
#include "provision/desired_state.hpp"

namespace kfab::provision::test {

inline manifest::ResourceDecl resource(const std::string& type, const std::string& id, json::Object attributes,
                                       std::vector<std::string> after = {}, std::vector<std::string> restart_on = {}) {
  manifest::ResourceDecl declared;
  declared.type = type;
  declared.id = id;
  declared.attributes = std::move(attributes);
  declared.after = std::move(after);
  declared.restart_on = std::move(restart_on);
  return declared;
}

// A site of one node whose profile has these roles.
inline manifest::Site site_with(std::vector<manifest::Role> roles) {
  manifest::Site site;
  site.metadata.name = "ulsan";
  manifest::Profile profile;
  profile.name = "hgx";
  for (auto& role : roles) {
    profile.roles.push_back(role.name);
    site.roles[role.name] = std::move(role);
  }
  site.profiles["hgx"] = profile;
  manifest::Node node;
  node.name = "gpu001";
  node.address = "10.0.0.1";
  node.rack = "r1";
  node.slot = "u1";
  node.group = "g";
  node.profile = "hgx";
  node.tranche = "t1";
  site.nodes.push_back(node);
  return site;
}

inline std::string ids_of(const DesiredState& state) {
  std::string text;
  for (const auto& resource : state.resources) text += (text.empty() ? "" : " ") + resource.id;
  return text;
}

}  // namespace kfab::provision::test
