#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/share.hpp"
#include "cli/option_table.hpp"

namespace kfab::cli {

// The words of one command line, checked against the tables: every value is of its kind, choices are among the choices,
// required ones are there. Asking for a name that the command does not declare is a bug and ends in exit 4.
class Args {
 public:
  explicit Args(const CommandSpec* command) : command_(command) {}

  bool given(std::string_view name) const;             // on the command line or by its variable, not by default
  bool flag(std::string_view name) const;
  int count(std::string_view flag_name) const;         // -vv is 2
  std::string text(std::string_view name) const;       // the value, else the default, else empty
  std::vector<std::string> list(std::string_view name) const;
  std::optional<std::int64_t> integer(std::string_view name) const;   // nothing when neither given nor a default
  std::optional<double> duration_s(std::string_view name) const;
  std::optional<double> percent(std::string_view name) const;
  std::optional<Share> share(std::string_view name) const;

  std::string positional(std::string_view name) const;   // empty when it was left out
  std::vector<std::string> positionals(std::string_view name) const;
  const std::vector<std::string>& rest() const { return rest_; }   // the words after `--`

  const CommandSpec* command() const { return command_; }

  // For the parser and for tests.
  void set(std::string_view option, std::vector<std::string> values) { options_[std::string(option)] = std::move(values); }
  void set_positional(std::string_view name, std::vector<std::string> values) { positionals_[std::string(name)] = std::move(values); }
  void set_rest(std::vector<std::string> words) { rest_ = std::move(words); }

 private:
  const OptionSpec& spec(std::string_view name) const;
  const CommandSpec* command_;
  std::map<std::string, std::vector<std::string>, std::less<>> options_;
  std::map<std::string, std::vector<std::string>, std::less<>> positionals_;
  std::vector<std::string> rest_;
};

// "30s", "5m", "1h30m", "500ms", "2d", and 0 without a unit; at most ten years. Nothing when it is none of these.
std::optional<double> parse_duration_s(std::string_view);
inline constexpr double most_duration_s = 10.0 * 365 * 86400;
bool is_too_long(std::string_view duration);   // a duration, but for that
std::optional<double> parse_percent(std::string_view);

}  // namespace kfab::cli
