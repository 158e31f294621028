#include "ssh/ssh_config_reader.hpp"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/codes/ssh.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

namespace kfab::ssh {
namespace {

constexpr std::size_t max_file_bytes = std::size_t{1} << 20;
constexpr std::size_t max_files = 500, max_lines = 200'000, max_words = 4096;
constexpr int max_depth = 16;   // ssh's own

constexpr std::string_view blanks = " \t\r\n\f";

// These take the rest of the line as it is: it is for a shell.
bool takes_rest(std::string_view keyword) {
  constexpr std::array<std::string_view, 4> rest{"proxycommand", "localcommand", "remotecommand", "knownhostscommand"};
  return std::find(rest.begin(), rest.end(), keyword) != rest.end();
}

std::string_view without_blanks_in_front(std::string_view text) {
  const std::size_t from = text.find_first_not_of(blanks);
  return from == std::string_view::npos ? std::string_view{} : text.substr(from);
}

// Files that a pattern of Include names, sorted as glob(3) does.
std::vector<std::string> glob_files(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> paths;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    for (std::size_t i = 0; i < found.gl_pathc && i < max_files; ++i) paths.emplace_back(found.gl_pathv[i]);
  }
  ::globfree(&found);
  return paths;
}

}  // namespace

Diagnostic config_error(const std::string& file, std::size_t line, const std::string& what) {
  return error(code::ssh_config_malformed, fmt::format("{}:{}: {}", one_line(file), line, what));
}

std::string expand_tilde(const std::string& path, const std::string& home) {
  if (path == "~") return home;
  if (path.starts_with("~/")) return home + path.substr(1);
  return path;
}

bool split_config_words(std::string_view rest, std::vector<std::string>& words) {
  words.clear();
  std::string word;
  bool inside = false;   // of a word, which may be empty: ""
  char quote = 0;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    const char c = rest[i];
    const bool blank = c == ' ' || c == '\t';
    if (!inside && blank) continue;
    if (!inside && c == '#') break;
    inside = true;
    const char next = i + 1 < rest.size() ? rest[i + 1] : '\0';
    if (c == '\\' && (next == '\'' || next == '"' || next == '\\' || (quote == 0 && next == ' '))) {
      word += next;
      ++i;
    } else if (quote == 0 && blank) {
      words.push_back(std::move(word));
      word.clear();
      inside = false;
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    } else if (quote != 0 && c == quote) {
      quote = 0;
    } else {
      word += c;
    }
  }
  if (inside) words.push_back(std::move(word));
  return quote == 0;
}

Result<std::shared_ptr<const SshConfig::Block>> SshConfigReader::file(const std::string& path, int depth) {
  auto known = texts_.find(path);
  if (known == texts_.end()) {
    auto read = read_file(path, max_file_bytes);
    if (!read) return error(code::ssh_config_unreadable, read.error().message);
    known = texts_.emplace(path, std::move(*read)).first;
  }
  return text(known->second, path, depth);
}

Result<std::shared_ptr<const SshConfig::Block>> SshConfigReader::text(std::string_view text, const std::string& file, int depth) {
  if (++files_ > max_files) return error(code::ssh_config_malformed, fmt::format("{}: more than {} files are included", one_line(file), max_files));
  if (text.find('\0') != std::string_view::npos) return config_error(file, 1, "it holds a zero byte: it is no text");
  auto block = std::make_shared<SshConfig::Block>();
  block->file = file;
  std::size_t number = 0;
  for (std::string_view line : split_lines(text)) {
    ++number;
    line = line.substr(0, line.find_last_not_of(blanks) + 1);
    line = without_blanks_in_front(line);
    if (line.empty() || line.front() == '#') continue;
    if (++lines_ > max_lines) return config_error(file, number, "the configuration has too many lines");
    SshConfig::Block::Line parsed;
    parsed.number = number;
    const std::size_t end = std::min(line.find_first_of(" \t\r\f=\""), line.size());
    parsed.keyword = to_lower(line.substr(0, end));
    // Between keyword and value: blanks, and one = among them.
    std::string_view rest = without_blanks_in_front(line.substr(end));
    if (rest.starts_with('=')) rest = without_blanks_in_front(rest.substr(1));
    if (takes_rest(parsed.keyword)) {
      parsed.words.emplace_back(rest);
    } else if (!split_config_words(rest, parsed.words)) {
      return config_error(file, number, "a quote is not closed");
    }
    if (parsed.words.empty() || parsed.words.front().empty()) return config_error(file, number, one_line(parsed.keyword, 40) + " has no value");
    if (parsed.words.size() > max_words) return config_error(file, number, "too many words");
    if (parsed.keyword == "include") KFAB_TRY_VOID(include(parsed, file, depth));
    block->lines.push_back(std::move(parsed));
  }
  return std::shared_ptr<const SshConfig::Block>(std::move(block));
}

Status SshConfigReader::include(SshConfig::Block::Line& line, const std::string& file, int depth) {
  if (depth + 1 > max_depth) return config_error(file, line.number, fmt::format("files are included more than {} deep; is it a circle?", max_depth));
  for (const std::string& word : line.words) {
    std::string pattern = expand_tilde(word, local_.home);
    if (!pattern.starts_with('/')) pattern = local_.home + "/.ssh/" + pattern;
    for (const std::string& path : glob_files(pattern)) {
      std::error_code ignored;
      if (std::filesystem::is_directory(path, ignored)) continue;
      KFAB_TRY(included, this->file(path, depth + 1));
      line.included.push_back(std::move(included));
    }
  }
  return ok();
}

}  // namespace kfab::ssh
