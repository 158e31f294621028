#include "cli/man_roles.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/scdoc.hpp"
#include "json/value.hpp"
#include "manifest/load.hpp"
#include "manifest/resource_types.hpp"
#include "manifest/resource_undo.hpp"

namespace kfab::cli {
namespace {

std::string attribute_text(const manifest::AttributeSpec& attribute) {
  std::string text(attribute.help);
  std::string type(manifest::to_string(attribute.type));
  if (!attribute.allowed.empty()) type = join(split(attribute.allowed, '|'), " or ");
  text += fmt::format(" ({}", type);
  if (attribute.required) text += "; required";
  else if (!attribute.fallback.empty()) text += fmt::format("; default: {}", attribute.fallback);
  return text + ")";
}

}  // namespace

std::string resource_list() {
  std::string out;
  for (const auto& type : manifest::resource_types()) {
    out += fmt::format("## {}\n\n{}.\n\n", escape(type.name), escape_line(type.help));
    for (const auto& attribute : type.attributes) out += definition(bold(attribute.name), attribute_text(attribute));
    if (const auto* undo = manifest::find_undo(type.name)) out += definition("_undo_", fmt::format("{}: {}", manifest::to_string(undo->kind), undo->words));
  }
  return out;
}

std::string role_list() {
  std::string out;
  for (const auto& built_in : manifest::built_ins()) {
    if (built_in.kind != "Role") continue;
    const auto loaded = manifest::load_text(built_in.text, std::string(built_in.name), "/");
    const auto* role = std::get_if<manifest::Role>(&loaded.document);
    if (role == nullptr) continue;   // a test loads each of them
    out += fmt::format("## {}\n\n{}\n", escape(role->name), leading_comment(built_in.text));
    for (const auto& [name, purpose] : role->needs) out += definition(bold(name) + ", required", purpose);
    for (const auto& [name, value] : role->vars) out += definition(bold(name), "default: " + one_line(json::dump(value), 400));
  }
  return out;
}

}  // namespace kfab::cli
