#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ssh/ssh_config.hpp"

namespace kfab::ssh {

// A file of OpenSSH configuration, taken apart into lines that have not been judged yet.
struct SshConfig::Block {
  struct Line {
    std::string keyword;              // in lower case
    std::vector<std::string> words;   // without quotes; one for those that take the rest of the line
    std::size_t number = 0;
    std::vector<std::shared_ptr<const Block>> included{};   // of `include`
  };
  std::string file;
  std::vector<Line> lines;
};

// Reads files with all that they include, within the bounds that ssh_config.hpp states.
class SshConfigReader {
 public:
  explicit SshConfigReader(const LocalFacts& local) : local_(local) {}
  Result<std::shared_ptr<const SshConfig::Block>> file(const std::string& path, int depth = 0);
  Result<std::shared_ptr<const SshConfig::Block>> text(std::string_view text, const std::string& file, int depth = 0);

 private:
  Status include(SshConfig::Block::Line&, const std::string& file, int depth);
  const LocalFacts& local_;
  std::map<std::string, std::string> texts_;   // of files that were read
  std::size_t files_ = 0, lines_ = 0;
};

// The words of one line after its keyword: quotes " and ' taken off, \" \' \\ and "\ " resolved, a # at the start of a
// word ends them. False when a quote is not closed.
bool split_config_words(std::string_view rest, std::vector<std::string>& words);

Diagnostic config_error(const std::string& file, std::size_t line, const std::string& what);

// "~/x" and "~" in `home`; other paths as they are.
std::string expand_tilde(const std::string& path, const std::string& home);

}  // namespace kfab::ssh
