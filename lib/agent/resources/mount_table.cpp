#include "agent/resources/mount_table.hpp"

#include <cstdlib>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "base/file.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr std::size_t max_table_bytes = std::size_t{16} << 20;

// Blanks, tabs, newlines and backslashes are written as three octal digits in all of these tables.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto octal = [&](std::size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\\') out += fmt::format("\\{:03o}", static_cast<unsigned char>(c));
    else out += c;
  }
  return out;
}

std::vector<std::string> fields_of(std::string_view line) {
  std::vector<std::string> fields;
  std::size_t at = 0;
  while (at < line.size()) {
    const auto begin = line.find_first_not_of(" \t", at);
    if (begin == std::string_view::npos) break;
    const auto end = std::min(line.find_first_of(" \t", begin), line.size());
    fields.emplace_back(line.substr(begin, end - begin));
    at = end;
  }
  return fields;
}

}  // namespace

bool parse_fstab_line(const std::string& line, FstabEntry& entry) {
  const auto fields = fields_of(line);
  if (fields.size() < 4 || fields[0].starts_with('#')) return false;
  entry = {unescaped(fields[0]), unescaped(fields[1]), fields[2], fields[3], fields.size() > 4 ? fields[4] : "0",
           fields.size() > 5 ? fields[5] : "0"};
  return true;
}

std::string fstab_line(const FstabEntry& entry) {
  return fmt::format("{} {} {} {} {} {}", escaped(entry.device), escaped(entry.path), entry.type, entry.options, entry.dump,
                     entry.pass);
}

// 36 35 98:0 / /mnt1 rw,noatime shared:1 - ext3 /dev/root rw,errors=continue
Result<std::vector<Mounted>> mounts_of(const NodeEnvironment& node) {
  KFAB_TRY(text, read_file(node.at("/proc/self/mountinfo"), max_table_bytes));
  std::vector<Mounted> mounts;
  for (const auto line : split_lines(text)) {
    const auto fields = fields_of(line);
    std::size_t dash = 6;
    while (dash < fields.size() && fields[dash] != "-") ++dash;
    if (dash + 3 >= fields.size()) continue;
    mounts.push_back({unescaped(fields[dash + 2]), unescaped(fields[4]), fields[dash + 1], fields[5] + "," + fields[dash + 3]});
  }
  return mounts;
}

Result<std::vector<std::string>> swaps_of(const NodeEnvironment& node) {
  KFAB_TRY(text, read_file(node.at("/proc/swaps"), max_table_bytes));
  std::vector<std::string> swaps;
  for (const auto line : split_lines(text)) {
    const auto fields = fields_of(line);
    if (!fields.empty() && fields[0].starts_with('/')) swaps.push_back(unescaped(fields[0]));
  }
  return swaps;
}

std::string real_device(const std::string& device, const NodeEnvironment& node) {
  static constexpr std::pair<std::string_view, std::string_view> tags[] = {
      {"UUID=", "by-uuid"}, {"LABEL=", "by-label"}, {"PARTUUID=", "by-partuuid"}, {"PARTLABEL=", "by-partlabel"}};
  std::string path = device;
  for (const auto& [tag, folder] : tags)
    if (device.starts_with(tag)) path = fmt::format("/dev/disk/{}/{}", folder, device.substr(tag.size()));
  if (!path.starts_with("/dev/")) return device;
  std::error_code problem;
  const auto real = std::filesystem::canonical(node.at(path), problem);
  if (problem) return path;
  std::string text = real.string();
  // Below a test's own root the links lead there.
  const auto root = node.root.empty() ? std::string() : std::filesystem::weakly_canonical(node.root, problem).string();
  if (!root.empty() && text.starts_with(root)) text = text.substr(root.size());
  return text;
}

}  // namespace kfab::agent
