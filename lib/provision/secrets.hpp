#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/diagnostic.hpp"
#include "base/result.hpp"
#include "json/value.hpp"
#include "manifest/model.hpp"

// Secrets by reference. A variable that is {secret: {env: NAME}}, {secret: {file: PATH}} or {secret: {command: [...]}} stands
// for a value that is in no manifest and no plan. While templates are expanded and plans are kept a mark stands in its
// place (secret_mark, template.hpp); the value is put in only as the request goes to the node. Pure: who reads them is commands/.
namespace kfab::provision {

struct SecretSource {
  enum class Kind { environment, file, command };
  Kind kind = Kind::environment;
  std::vector<std::string> words;   // the variable, the path, or the program and its arguments
  std::string name;                 // of the variable of the manifest
};

// By id, which is the same for the same declaration wherever it stands.
using SecretSources = std::map<std::string, SecretSource, std::less<>>;
using SecretValues = std::map<std::string, std::string, std::less<>>;

bool declares_secret(const json::Value&);   // an object whose only key is "secret"

// The value with a mark in the place of every declaration in it. A declaration that cannot be read is told (secret_invalid)
// and left as it is.
json::Value with_marks(const json::Value&, Diagnostics& problems);

// All secrets that the site's variables declare.
SecretSources declared_secrets(const manifest::Site&);

// The ids of the marks in a value.
std::set<std::string> secrets_in(const json::Value&);

// The value with every mark replaced: by the secret, or, for a digest, by the secret's own.
json::Value filled(const json::Value&, const SecretValues&);
json::Value with_digests(const json::Value&, const SecretValues&);

// What stands for a secret's value in a plan file: a digest with salt, by which a changed one is told.
std::string secret_digest(std::string_view salt, std::string_view value);

}  // namespace kfab::provision
