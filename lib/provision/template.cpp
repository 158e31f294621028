#include "provision/template.hpp"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/codes/plan.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"
#include "provision/template_syntax.hpp"

namespace kfab::provision {
namespace {

using syntax::Block;
using syntax::Blocks;
using syntax::Expression;
using syntax::problem_at;

constexpr std::size_t longest_output = std::size_t{1} << 20;
constexpr std::size_t most_steps = 200'000;   // blocks that are gone through, in all loops together

std::vector<std::string> names_of(const Variables& variables) {
  std::vector<std::string> names;
  for (const auto& [name, value] : variables)
    if (!value.is_object()) names.push_back(name);
  return names;
}

// A value inside a text: a list is its items with `between` between them, a mapping has no text.
std::optional<std::string> text_of(const json::Value& value, std::string_view between = " ") {
  if (const auto* text = value.as_string()) return *text;
  if (value.is_null() || value.is_object()) return std::nullopt;
  if (const auto* items = value.as_array()) {
    std::vector<std::string> parts;
    for (const auto& item : *items) {
      if (item.is_array()) return std::nullopt;
      auto part = text_of(item);
      if (!part) return std::nullopt;
      parts.push_back(std::move(*part));
    }
    return join(parts, between);
  }
  return json::dump(value);
}

bool is_true(const json::Value& value) {
  if (const auto flag = value.as_bool()) return *flag;
  if (value.is_number()) return value.as_double() != 0.0;
  if (const auto* text = value.as_string()) return !text->empty();
  if (const auto* items = value.as_array()) return !items->empty();
  if (const auto* object = value.as_object()) return !object->empty();
  return false;
}

bool is_secret(const json::Value& value) {
  if (const auto* text = value.as_string()) return text->find(secret_mark) != std::string::npos;
  if (const auto* items = value.as_array()) return std::any_of(items->begin(), items->end(), is_secret);
  if (const auto* object = value.as_object())
    return std::any_of(object->members().begin(), object->members().end(), [](const auto& member) { return is_secret(member.second); });
  return false;
}

bool equal(const json::Value& a, const json::Value& b) {
  if (a.is_number() && b.is_number()) return a.as_double() == b.as_double();
  return json::dump(a) == json::dump(b);
}

std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

// Goes through a template once. What is wrong is told once per place, however often a loop comes by.
class Expander {
 public:
  Expander(std::string_view text, const Variables& variables, Diagnostics& problems) : text_(text), variables_(variables), problems_(problems) {
    scopes_.emplace_back();
  }

  std::optional<std::string> run(const Blocks& blocks) {
    all(blocks);
    if (!good_) return std::nullopt;
    return std::move(out_);
  }

  std::optional<json::Value> value(const Expression& expression) {
    switch (expression.kind) {
      case Expression::Kind::literal: return expression.value;
      case Expression::Kind::list: return list(expression);
      case Expression::Kind::name:
      case Expression::Kind::index: return looked_up(expression);
      case Expression::Kind::filter: return filtered(expression);
      case Expression::Kind::negate: return unless_absent(condition(*expression.parts[0]), [](bool yes) { return !yes; });
      case Expression::Kind::both:
      case Expression::Kind::either: return joined(expression);
      case Expression::Kind::compare: return compared(expression);
      case Expression::Kind::in: return unless_absent(contained(expression), [](bool yes) { return yes; });
      case Expression::Kind::not_in: return unless_absent(contained(expression), [](bool yes) { return !yes; });
      case Expression::Kind::defined: return find(*expression.parts[0]).has_value();
      case Expression::Kind::undefined: return !find(*expression.parts[0]).has_value();
    }
    return std::nullopt;
  }

 private:
  template <class F>
  static std::optional<json::Value> unless_absent(std::optional<bool> yes, F then) {
    if (!yes) return std::nullopt;
    return json::Value(then(*yes));
  }

  void tell(Code code, std::string message, std::size_t offset, std::size_t size, std::vector<std::string> suggestions = {}) {
    good_ = false;
    if (!told_.insert(offset).second) return;
    Diagnostic problem = problem_at(code, std::move(message), text_, offset, std::max<std::size_t>(size, 1));
    problem.suggestions = std::move(suggestions);
    problems_.push_back(std::move(problem));
  }
  std::nullopt_t wrong(const Expression& expression, std::string message, Code code = code::template_value) {
    tell(code, std::move(message), expression.offset, expression.size);
    return std::nullopt;
  }

  bool may_go_on(const Block& block) {
    if (stopped_) return false;
    if (++steps_ <= most_steps && out_.size() <= longest_output) return true;
    stopped_ = true;
    tell(code::template_endless, steps_ > most_steps ? fmt::format("more than {} steps", with_thousands(most_steps)) : "its output is larger than 1 MiB",
         block.offset, block.size);
    return false;
  }

  void all(const Blocks& blocks) {
    for (const Block& block : blocks) {
      if (!may_go_on(block)) return;
      switch (block.kind) {
        case Block::Kind::text: out_ += block.text; break;
        case Block::Kind::output: output(block); break;
        case Block::Kind::repeat: repeat(block); break;
        case Block::Kind::choose: choose(block); break;
        case Block::Kind::set:
          if (auto given = value(*block.expression)) scopes_.back()[block.names[0]] = std::move(*given);
          break;
      }
    }
  }

  void output(const Block& block) {
    const auto found = value(*block.expression);
    if (!found) return;
    if (auto text = text_of(*found)) out_ += *text;
    else tell(code::template_undefined, fmt::format("'{}' has no value that can stand in a text", block.expression->word), block.expression->offset, block.expression->size);
  }

  void choose(const Block& block) {
    for (const auto& branch : block.branches) {
      const auto yes = branch.condition ? condition(*branch.condition) : std::optional(true);
      if (!yes) return;
      if (*yes) return all(branch.body);
    }
  }

  void repeat(const Block& block) {
    const auto through = value(*block.expression);
    if (!through) return;
    std::vector<std::pair<json::Value, json::Value>> items;   // the second only of mappings
    if (const auto* list = through->as_array()) {
      for (const auto& item : *list) items.emplace_back(item, json::Value());
    } else if (const auto* object = through->as_object()) {
      for (const auto& [key, member] : object->members()) items.emplace_back(key, member);
    } else {
      return tell(code::template_value, "a loop goes through a list or a mapping, and this is neither", block.expression->offset, block.expression->size);
    }
    if (block.names.size() == 2 && !through->is_object())
      return tell(code::template_value, "two names stand for the keys and values of a mapping, and this is a list", block.expression->offset, block.expression->size);
    for (std::size_t i = 0; i < items.size() && may_go_on(block); ++i) {
      auto& scope = scopes_.emplace_back();
      scope[block.names[0]] = std::move(items[i].first);
      if (block.names.size() == 2) scope[block.names[1]] = std::move(items[i].second);
      scope["loop"] = json::Object{{"index", i + 1}, {"index0", i}, {"first", i == 0}, {"last", i + 1 == items.size()}, {"length", items.size()}};
      all(block.body);
      scopes_.pop_back();
    }
  }

  // The value that a name or an index stands for, if there is one; says nothing where there is none.
  std::optional<json::Value> find(const Expression& expression) {
    if (expression.kind == Expression::Kind::index) {
      const auto whole = find(*expression.parts[0]);
      const auto key = whole ? value(*expression.parts[1]) : std::nullopt;
      if (!key) return std::nullopt;
      if (const auto* list = whole->as_array()) {
        const auto place = key->as_int();
        if (!place || *place < 0 || static_cast<std::size_t>(*place) >= list->size()) return std::nullopt;
        return (*list)[static_cast<std::size_t>(*place)];
      }
      const auto* object = whole->as_object();
      const auto* member = object && key->as_string() ? object->find(*key->as_string()) : nullptr;
      return member != nullptr && !member->is_null() ? std::optional(*member) : std::nullopt;
    }
    if (expression.kind != Expression::Kind::name) return value(expression);
    const std::string& name = expression.word;
    const auto dot = name.find('.');
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const auto own = scope->find(name.substr(0, dot));
      if (own == scope->end()) continue;
      json::Value here = own->second;
      for (const auto& part : dot == std::string::npos ? std::vector<std::string>{} : split(name.substr(dot + 1), '.')) {
        json::Value next = here[part];
        here = std::move(next);
      }
      return here.is_null() ? std::nullopt : std::optional(std::move(here));
    }
    const auto global = variables_.find(name);
    return global == variables_.end() || global->second.is_null() ? std::nullopt : std::optional(global->second);
  }

  std::optional<json::Value> looked_up(const Expression& expression) {
    if (auto found = find(expression)) return found;
    if (expression.kind == Expression::Kind::index) return wrong(expression, "there is nothing at this place of the list or mapping", code::template_undefined);
    std::vector<std::string> known = names_of(variables_);
    for (const auto& scope : scopes_)
      for (const auto& [name, unused] : scope) known.push_back(name);
    tell(code::template_undefined, fmt::format("nothing defines '{}'", one_line(expression.word, 80)), expression.offset, expression.size, nearest(expression.word, known));
    return std::nullopt;
  }

  std::optional<json::Value> list(const Expression& expression) {
    json::Array out;
    for (const auto& part : expression.parts) {
      auto item = value(*part);
      if (!item) return std::nullopt;
      out.push_back(std::move(*item));
    }
    return out;
  }

  std::optional<json::Value> filtered(const Expression& expression) {
    const std::string& filter = expression.word;
    if (filter == "default") {
      if (auto found = find(*expression.parts[0])) return found;
      return value(*expression.parts[1]);
    }
    const auto inner = value(*expression.parts[0]);
    if (!inner) return std::nullopt;
    if (filter == "join") {
      const auto between = expression.parts.size() > 1 ? value(*expression.parts[1]) : std::optional<json::Value>("");
      if (!between) return std::nullopt;
      auto text = inner->is_array() ? text_of(*inner, text_of(*between).value_or("")) : std::nullopt;
      if (!text) return wrong(expression, "join takes a list of texts and numbers");
      return json::Value(std::move(*text));
    }
    if (is_secret(*inner)) return wrong(expression, fmt::format("a secret cannot be given to {}: it would be told by its other form", filter), code::secret_not_allowed);
    if (filter == "length") {
      if (const auto* text = inner->as_string()) return json::Value(code_points(*text));
      if (const auto* items = inner->as_array()) return json::Value(items->size());
      if (const auto* object = inner->as_object()) return json::Value(object->members().size());
      return wrong(expression, "this has no length");
    }
    auto text = text_of(*inner);
    if (!text) return wrong(expression, fmt::format("{} takes a text", filter));
    return json::Value(filter == "upper" ? upper(std::move(*text)) : to_lower(*text));
  }

  std::optional<bool> condition(const Expression& expression) {
    const auto found = value(expression);
    if (!found) return std::nullopt;
    return is_true(*found);
  }

  std::optional<json::Value> joined(const Expression& expression) {
    const auto left = condition(*expression.parts[0]);
    if (!left) return std::nullopt;
    const bool decided = expression.kind == Expression::Kind::both ? !*left : *left;
    if (decided) return json::Value(*left);
    return unless_absent(condition(*expression.parts[1]), [](bool yes) { return yes; });
  }

  // Both sides, none of which may be a secret: what is decided by it would tell it.
  std::optional<std::pair<json::Value, json::Value>> sides(const Expression& expression) {
    auto left = value(*expression.parts[0]), right = value(*expression.parts[1]);
    if (!left || !right) return std::nullopt;
    if (is_secret(*left) || is_secret(*right)) return wrong(*expression.parts[0], "a secret cannot be compared", code::secret_not_allowed);
    return std::pair(std::move(*left), std::move(*right));
  }

  std::optional<json::Value> compared(const Expression& expression) {
    const auto both = sides(expression);
    if (!both) return std::nullopt;
    const auto& [left, right] = *both;
    const std::string& sign = expression.word;
    if (sign == "==") return json::Value(equal(left, right));
    if (sign == "!=") return json::Value(!equal(left, right));
    int order = 0;
    if (left.is_number() && right.is_number()) order = *left.as_double() < *right.as_double() ? -1 : *left.as_double() > *right.as_double() ? 1 : 0;
    else if (left.is_string() && right.is_string()) order = left.as_string()->compare(*right.as_string());
    else return wrong(*expression.parts[0], "two numbers or two texts can be put in order, and these are neither");
    return json::Value(sign == "<" ? order < 0 : sign == "<=" ? order <= 0 : sign == ">" ? order > 0 : order >= 0);
  }

  std::optional<bool> contained(const Expression& expression) {
    const auto both = sides(expression);
    if (!both) return std::nullopt;
    const auto& [what, where] = *both;
    if (const auto* items = where.as_array()) return std::any_of(items->begin(), items->end(), [&](const json::Value& item) { return equal(item, what); });
    if (where.is_string() && what.is_string()) return where.as_string()->find(*what.as_string()) != std::string::npos;
    if (where.is_object() && what.is_string()) return where.as_object()->find(*what.as_string()) != nullptr;
    wrong(*expression.parts[1], "a thing can be in a list, a mapping or a text");
    return std::nullopt;
  }

  std::string_view text_;
  const Variables& variables_;
  Diagnostics& problems_;
  std::vector<std::map<std::string, json::Value>> scopes_;
  std::string out_;
  std::set<std::size_t> told_;
  std::size_t steps_ = 0;
  bool good_ = true, stopped_ = false;
};

bool is_plain(std::string_view text) { return text.find("{{") == std::string_view::npos && text.find("{%") == std::string_view::npos; }

// What a text is a lone placeholder for; null when the text is anything else.
const Expression* lone(const Blocks& blocks) {
  const Expression* found = nullptr;
  for (const Block& block : blocks) {
    if (block.kind == Block::Kind::text && trim(block.text).empty()) continue;
    if (block.kind != Block::Kind::output || found != nullptr) return nullptr;
    found = block.expression.get();
  }
  return found;
}

}  // namespace

void add_variable(Variables& variables, const std::string& name, const json::Value& value) {
  variables[name] = value;
  if (const auto* object = value.as_object())
    for (const auto& [key, member] : object->members()) add_variable(variables, name + "." + key, member);
}

std::optional<std::string> expand_template(std::string_view text, const Variables& variables, Diagnostics& problems) {
  if (is_plain(text)) return std::string(text);
  const auto blocks = syntax::parse(text, problems);
  if (!blocks) return std::nullopt;
  return Expander(text, variables, problems).run(*blocks);
}

std::optional<json::Value> expand_value(const json::Value& value, const Variables& variables, Diagnostics& problems) {
  if (const auto* text = value.as_string()) {
    if (is_plain(*text)) return value;
    const auto blocks = syntax::parse(*text, problems);
    if (!blocks) return std::nullopt;
    Expander expander(*text, variables, problems);
    if (const Expression* whole = lone(*blocks)) return expander.value(*whole);
    auto expanded = expander.run(*blocks);
    return expanded ? std::optional<json::Value>(std::move(*expanded)) : std::nullopt;
  }
  bool good = true;
  if (const auto* items = value.as_array()) {
    json::Array out;
    for (const auto& item : *items) {
      auto expanded = expand_value(item, variables, problems);
      good = good && expanded;
      if (!expanded) continue;
      if (item.is_string() && expanded->is_array())
        out.insert(out.end(), expanded->as_array()->begin(), expanded->as_array()->end());
      else out.push_back(std::move(*expanded));
    }
    return good ? std::optional<json::Value>(std::move(out)) : std::nullopt;
  }
  if (const auto* object = value.as_object()) {
    json::Object out;
    for (const auto& [key, member] : object->members()) {
      auto expanded = expand_value(member, variables, problems);
      good = good && expanded;
      if (expanded) out.set(key, std::move(*expanded));
    }
    return good ? std::optional<json::Value>(std::move(out)) : std::nullopt;
  }
  return value;
}

}  // namespace kfab::provision
