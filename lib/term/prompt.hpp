#pragma once

#include <istream>
#include <ostream>
#include <string_view>

#include "base/result.hpp"

namespace kfab::term {

// How yes/no questions are answered: by --yes, by a person (only when stdin and stderr are terminals and --no-input
// was not given), or not at all.
struct PromptRules {
  bool assume_yes = false;
  bool may_ask = false;
};

// Asks "question [y/N] " on `err` and reads one line from `in`. Anything but y or yes is no. Error:
// confirmation_missing, naming --yes, when nobody may be asked.
Result<bool> confirm(std::string_view question, const PromptRules&, std::istream& in, std::ostream& err);

}  // namespace kfab::term
