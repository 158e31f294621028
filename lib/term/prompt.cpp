#include "term/prompt.hpp"

#include <string>

#include "base/text.hpp"

namespace kfab::term {

Result<bool> confirm(std::string_view question, const PromptRules& rules, std::istream& in, std::ostream& err) {
  if (rules.assume_yes) return true;
  if (!rules.may_ask)
    return error(Code::confirmation_missing, "cannot ask \"" + one_line(question) + "\" here: give --yes to answer it with yes");
  err << printable(question) << " [y/N] " << std::flush;
  std::string answer;
  if (!std::getline(in, answer)) {
    err << '\n';
    return false;
  }
  const std::string word = to_lower(trim(answer));
  return word == "y" || word == "yes";
}

}  // namespace kfab::term
