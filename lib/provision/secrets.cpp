#include "provision/secrets.hpp"

#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "base/codes/plan.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "provision/template.hpp"

namespace kfab::provision {
namespace {

constexpr char mark_end = '\x01';
constexpr std::size_t id_size = 16;

std::string id_of(const json::Value& declaration) { return sha256_hex(json::dump(declaration)).substr(0, id_size); }

std::optional<SecretSource> read_source(const json::Value& declaration) {
  const auto* body = declaration["secret"].as_object();
  if (body == nullptr || body->members().size() != 1) return std::nullopt;
  const auto& [key, value] = body->members().front();
  SecretSource source;
  if (const auto* text = value.as_string(); text != nullptr && !text->empty() && (key == "env" || key == "file")) {
    source.kind = key == "env" ? SecretSource::Kind::environment : SecretSource::Kind::file;
    source.words = {*text};
    return source;
  }
  const auto* words = value.as_array();
  if (key != "command" || words == nullptr || words->empty()) return std::nullopt;
  source.kind = SecretSource::Kind::command;
  for (const auto& word : *words) {
    if (word.as_string() == nullptr) return std::nullopt;
    source.words.push_back(*word.as_string());
  }
  return source;
}

void collect(const std::string& name, const json::Value& value, SecretSources& found) {
  if (declares_secret(value)) {
    if (auto source = read_source(value)) {
      source->name = name;
      found.emplace(id_of(value), std::move(*source));
    }
  } else if (const auto* items = value.as_array()) {
    for (const auto& item : *items) collect(name, item, found);
  } else if (const auto* object = value.as_object()) {
    for (const auto& [key, member] : object->members()) collect(name + "." + key, member, found);
  }
}

// Every string of a value, changed.
json::Value changed(const json::Value& value, const std::function<std::string(const std::string&)>& change) {
  if (const auto* text = value.as_string()) return text->find(secret_mark) == std::string::npos ? value : json::Value(change(*text));
  if (const auto* items = value.as_array()) {
    json::Array out;
    for (const auto& item : *items) out.push_back(changed(item, change));
    return out;
  }
  if (const auto* object = value.as_object()) {
    json::Object out;
    for (const auto& [key, member] : object->members()) out.set(key, changed(member, change));
    return out;
  }
  return value;
}

// The text with `put(id)` in the place of each mark.
std::string each_mark(const std::string& text, const std::function<std::string(const std::string& id)>& put) {
  std::string out;
  std::size_t at = 0;
  for (;;) {
    const auto mark = text.find(secret_mark, at);
    const auto end = mark == std::string::npos ? mark : mark + secret_mark.size() + id_size;
    if (mark == std::string::npos || end >= text.size() || text[end] != mark_end) return out + text.substr(at);
    out += text.substr(at, mark - at) + put(text.substr(mark + secret_mark.size(), id_size));
    at = end + 1;
  }
}

}  // namespace

bool declares_secret(const json::Value& value) {
  const auto* object = value.as_object();
  return object != nullptr && object->members().size() == 1 && object->members().front().first == "secret";
}

json::Value with_marks(const json::Value& value, Diagnostics& problems) {
  if (declares_secret(value)) {
    if (read_source(value)) return std::string(secret_mark) + id_of(value) + mark_end;
    problems.push_back(error(code::secret_invalid, "a secret is {env: NAME}, {file: PATH} or {command: [PROGRAM, ...]}"));
    return value;
  }
  if (const auto* items = value.as_array()) {
    json::Array out;
    for (const auto& item : *items) out.push_back(with_marks(item, problems));
    return out;
  }
  if (const auto* object = value.as_object()) {
    json::Object out;
    for (const auto& [key, member] : object->members()) out.set(key, with_marks(member, problems));
    return out;
  }
  return value;
}

SecretSources declared_secrets(const manifest::Site& site) {
  SecretSources found;
  const auto all = [&](const std::map<std::string, json::Value>& variables) {
    for (const auto& [name, value] : variables) collect(name, value, found);
  };
  for (const auto& [name, role] : site.roles) all(role.vars);
  for (const auto& [name, profile] : site.profiles) all(profile.vars);
  for (const auto& node : site.nodes) all(node.vars);
  return found;
}

std::set<std::string> secrets_in(const json::Value& value) {
  std::set<std::string> found;
  (void)changed(value, [&](const std::string& text) {
    return each_mark(text, [&](const std::string& id) { return found.insert(id), std::string(); });
  });
  return found;
}

json::Value filled(const json::Value& value, const SecretValues& values) {
  if (values.empty()) return value;
  return changed(value, [&](const std::string& text) {
    return each_mark(text, [&](const std::string& id) {
      const auto known = values.find(id);
      return known == values.end() ? std::string() : known->second;
    });
  });
}

json::Value with_digests(const json::Value& value, const SecretValues& values) {
  return changed(value, [&](const std::string& text) {
    return each_mark(text, [&](const std::string& id) {
      const auto known = values.find(id);
      return fmt::format("(secret {} {})", id, known == values.end() ? "" : sha256_hex(known->second));
    });
  });
}

std::string secret_digest(std::string_view salt, std::string_view value) { return sha256_hex(std::string(salt) + '\n' + std::string(value)); }

}  // namespace kfab::provision
