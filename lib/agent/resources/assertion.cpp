#include <algorithm>
#include <cstdlib>
#include <optional>

#include <fmt/format.h>

#include "agent/facts.hpp"
#include "agent/resources/resource.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

// Something that must hold on the node before what comes after it: a command that succeeds, what it prints, or a fact.
// Nothing is changed. What it says is for whoever has to put it right.
class AssertionResource final : public Resource {
 public:
  AssertionResource(const json::Value& attributes, const ResourceContext& context)
      : attributes_(attributes),
        context_(context),
        message_(attributes.string_or("message")),
        fact_(attributes.string_or("fact")),
        one_of_(string_list(attributes["one_of"])),
        timeout_s_(attributes.double_or("timeout_s", 60)) {
    if (!attributes["equal"].is_null()) one_of_ = {scalar_text(attributes["equal"])};
  }

  Result<Difference> check() override {
    KFAB_TRY(found, fact_.empty() ? printed() : fact());
    if (!found) return failed("");
    if (one_of_.empty() && attributes_["at_least"].is_null()) return Difference{};   // that it succeeds is enough
    if (attributes_["at_least"].is_null()) {
      if (std::find(one_of_.begin(), one_of_.end(), *found) != one_of_.end()) return Difference{};
      return failed(fmt::format("found {}, expected {}", found->empty() ? "nothing" : *found, join(one_of_, " or ")));
    }
    const auto least = attributes_["at_least"].as_int().value_or(0);
    char* end = nullptr;
    const double number = std::strtod(found->c_str(), &end);
    if (!found->empty() && *end == '\0' && number >= static_cast<double>(least)) return Difference{};
    return failed(fmt::format("found {}, expected at least {}", found->empty() ? "nothing" : *found, least));
  }

  Status apply(const Difference&) override { return ok(); }   // never called: a check either holds or fails

 private:
  Diagnostic failed(const std::string& details) const {
    return error(code::assertion_failed, one_line(message_, 300) + (details.empty() ? "" : " (" + one_line(details, 200) + ")"));
  }

  // What the command printed; nothing where it failed.
  Result<std::optional<std::string>> printed() const {
    std::vector<std::string> argv = string_list(attributes_["run"]);
    if (const auto* line = attributes_["shell"].as_string()) argv = {"/bin/sh", "-c", *line};
    if (argv.empty()) return error(code::agent_bad_request, "an assertion without run, shell and fact");
    const auto result = context_.run(argv, timeout_s_, "/");
    if (result.end != ProcessResult::End::exited) return process_failure(code::command_guard_failed, "the assertion", result);
    if (result.exit_status != 0) {
      const auto words = result.last_words(160);
      if (!words.empty()) return failed(words);
      return std::optional<std::string>();
    }
    return std::optional(one_line(trim(result.out), 4096));
  }

  Result<std::optional<std::string>> fact() const {
    FactsOptions options;
    options.root = context_.node.root;
    options.live = options.root.empty();
    if (!options.live) options.nvml_library.clear();
    const json::Value facts = read_facts(options);
    const json::Value* value = &facts;
    for (const auto& name : split(fact_, '.')) value = &(*value)[name];
    return std::optional(value->is_null() ? std::string() : scalar_text(*value));
  }

  json::Value attributes_;
  ResourceContext context_;
  std::string message_, fact_;
  std::vector<std::string> one_of_;
  double timeout_s_;
};

}  // namespace

std::unique_ptr<Resource> make_assertion(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<AssertionResource>(attributes, context);
}

}  // namespace kfab::agent
