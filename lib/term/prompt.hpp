#pragma once

#include <istream>
#include <ostream>
#include <string_view>

#include "base/result.hpp"
#include "base/secret.hpp"

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

// Asks "question" on the process's terminal, not on its standard streams, and reads one line there without showing it;
// the terminal is as it was before, also after an interrupt, which is the error become_cannot_ask like the absence of
// a terminal.
Result<Secret> ask_secret(std::string_view question);

}  // namespace kfab::term
