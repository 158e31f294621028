#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace kfab {

// Takes secrets out of whatever kfab says, by their value: the one place for it. Everything that leaves the process (results,
// findings, events, the store, plan files) goes through one of these. It knows each secret as it is, line by line where it has
// several, as JSON escapes it, and in base64 at any of its three alignments; other forms (a digest, another encoding) it
// does not. Lines and forms shorter than `shortest_form` are not looked for, because they would be found in everything.
class Redactor {
 public:
  static constexpr std::size_t shortest_secret = 6;   // bytes: what is shorter is refused as a secret
  static constexpr std::size_t shortest_form = 6;

  // `name` stands in its place: "(secret db_password)".
  void add(std::string_view name, std::string_view value);
  bool empty() const { return forms_.empty(); }
  std::string text(std::string text) const;

 private:
  struct Form { std::string bytes, instead; };
  void add_form(std::string bytes, const std::string& instead);
  std::vector<Form> forms_;   // the longest first
};

}  // namespace kfab
