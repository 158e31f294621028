#include "agent/facts.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "agent/facts_sections.hpp"
#include "agent/nvml.hpp"
#include "agent/process.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr std::size_t max_fact_file_bytes = std::size_t{4} << 20;

struct Section {
  std::string_view name;
  SectionFacts (*read)(const FactTree&, const FactsOptions&);
};

constexpr std::array sections{
    Section{"identity", identity_facts}, Section{"cpu", cpu_facts},         Section{"memory", memory_facts},
    Section{"disks", disk_facts},        Section{"network", network_facts}, Section{"os", os_facts},
    Section{"accelerators", accelerator_facts},
};

// A section's answer, from a process of its own.
SectionFacts bounded(std::string_view name, double timeout_s, const std::function<SectionFacts()>& read) {
  SectionFacts facts;
  const auto answer = run_bounded(timeout_s, [&] {
    SectionFacts found = read();
    return json::dump(json::Object{{"value", std::move(found.value)}, {"problems", std::move(found.problems)}});
  });
  if (!answer) {
    facts.problem(name, answer.error().message);
    return facts;
  }
  const auto document = json::parse(*answer);
  if (!document) {
    facts.problem(name, "the answer could not be read");
    return facts;
  }
  facts.value = (*document)["value"];
  facts.problems = document->array_at("problems");
  return facts;
}

bool is_real_file_system(const Mount& mount) {
  static constexpr std::array network{"nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "beegfs", "gpfs", "wekafs",
                                      "fuse.sshfs", "9p"};
  return mount.source.starts_with("/dev/") || mount.fs_type == "zfs" || mount.fs_type == "overlay" ||
         std::find(network.begin(), network.end(), mount.fs_type) != network.end();
}

// "total free", in bytes, or the reason.
std::string ask_file_system(const std::string& path) {
  struct statvfs answer {};
  if (::statvfs(path.c_str(), &answer) != 0) return fmt::format("! {}", std::strerror(errno));
  return fmt::format("{} {}", static_cast<unsigned long long>(answer.f_blocks) * answer.f_frsize,
                     static_cast<unsigned long long>(answer.f_bavail) * answer.f_frsize);
}

std::optional<std::uint64_t> to_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

void SectionFacts::problem(std::string_view fact, std::string_view reason) {
  problems.emplace_back(json::Object{{"fact", fact}, {"reason", one_line(reason)}});
}

std::optional<std::string> FactTree::read(std::string_view path) const {
  const int fd = ::open(at(path).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return std::nullopt;
  std::string bytes;
  std::array<char, 65536> chunk;
  bool whole = true;
  for (;;) {
    const auto n = ::read(fd, chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    whole = n == 0;
    if (n <= 0 || bytes.size() > max_fact_file_bytes) break;
    bytes.append(chunk.data(), static_cast<std::size_t>(n));
  }
  ::close(fd);
  if (!whole && bytes.empty()) return std::nullopt;
  return replace_invalid_utf8(trim(bytes));
}

std::optional<long long> FactTree::read_int(std::string_view path) const {
  const auto text = read(path);
  if (!text) return std::nullopt;
  long long value = 0;
  const int base = text->starts_with("0x") ? 16 : 10;
  const std::string_view digits = base == 16 ? std::string_view(*text).substr(2) : std::string_view(*text);
  const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (fault != std::errc{} || end == digits.data()) return std::nullopt;
  return value;
}

std::vector<std::string> FactTree::list(std::string_view directory) const {
  std::vector<std::string> names;
  std::error_code fault;
  for (std::filesystem::directory_iterator entry(at(directory), fault), end; !fault && entry != end;
       entry.increment(fault))
    names.push_back(entry->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

bool FactTree::exists(std::string_view path) const { return ::access(at(path).c_str(), F_OK) == 0; }

std::optional<std::string> FactTree::link_name(std::string_view path) const {
  std::error_code fault;
  const auto target = std::filesystem::read_symlink(at(path), fault);
  if (fault) return std::nullopt;
  return target.filename().string();
}

std::string FactTree::why_not(std::string_view path) const {
  const int fd = ::open(at(path).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return errno == EACCES ? fmt::format("{} can be read by root only", path)
                           : fmt::format("{}: {}", path, std::strerror(errno));
  char byte = 0;
  const auto n = ::read(fd, &byte, 1);
  const int fault = errno;
  ::close(fd);
  return n < 0 ? fmt::format("{}: {}", path, std::strerror(fault)) : fmt::format("{} is empty", path);
}

std::vector<Mount> read_mounts(const FactTree& tree) {
  std::vector<Mount> mounts;
  const auto text = tree.read("/proc/self/mountinfo");
  if (!text) return mounts;
  for (const auto line : split_lines(*text)) {
    const auto words = split(line, ' ');
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 6 || words.end() - dash < 4) continue;
    Mount mount{words[2], words[4], dash[1], dash[2], words[5]};
    for (auto* field : {&mount.path, &mount.source})   // the kernel writes blanks as \040
      for (auto at = field->find("\\040"); at != std::string::npos; at = field->find("\\040"))
        field->replace(at, 4, " ");
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

SectionFacts mount_facts(const FactTree& tree, const FactsOptions& options) {
  SectionFacts facts;
  json::Array list;
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::string> seen;
  for (const auto& mount : read_mounts(tree)) {
    if (!is_real_file_system(mount) || std::find(seen.begin(), seen.end(), mount.path) != seen.end()) continue;
    seen.push_back(mount.path);
    json::Value total, available;
    const double spent = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (options.live && spent >= options.all_mounts_timeout_s) {
      facts.problem("mounts." + mount.path, "not asked: other file systems took too long to answer");
    } else if (options.live) {
      const auto answer = run_bounded(options.mount_timeout_s, [&] { return ask_file_system(mount.path); });
      if (!answer) {
        facts.problem("mounts." + mount.path, answer.error().message);
      } else if (answer->starts_with("! ")) {
        facts.problem("mounts." + mount.path, answer->substr(2));
      } else {
        const auto words = split(*answer, ' ');
        total = json::Value(to_number(words.at(0)));
        available = json::Value(to_number(words.at(1)));
      }
    }
    list.emplace_back(json::Object{{"path", mount.path}, {"device", mount.source}, {"fs_type", mount.fs_type},
                                   {"options", mount.options}, {"total_bytes", total}, {"free_bytes", available}});
  }
  facts.value = std::move(list);
  return facts;
}

json::Value read_facts(const FactsOptions& options) {
  const FactTree tree(options.root);
  json::Object facts;
  json::Array problems;
  const auto take = [&](SectionFacts found) {
    problems.insert(problems.end(), found.problems.begin(), found.problems.end());
    return std::move(found.value);
  };
  for (const auto& section : sections)
    facts.set(std::string(section.name),
              take(bounded(section.name, options.section_timeout_s, [&] { return section.read(tree, options); })));
  facts.set("mounts", take(mount_facts(tree, options)));

  json::Value nvml;
  if (!options.nvml_library.empty())
    nvml = take(bounded("gpus", options.nvml_timeout_s, [&] { return nvml_facts(options.nvml_library); }));
  facts.set("gpu_driver", nvml["driver"]);
  facts.set("gpus", nvml["gpus"]);

  // A card that the bus shows and the driver does not is the most common way for a GPU to be missing.
  const json::Value* accelerators = facts.find("accelerators");
  std::size_t on_bus = 0;
  if (accelerators != nullptr && accelerators->as_array() != nullptr)
    for (const auto& device : *accelerators->as_array()) on_bus += device.string_or("vendor") == "nvidia" ? 1 : 0;
  const std::size_t by_driver = nvml.array_at("gpus").size();
  if (!options.nvml_library.empty() && on_bus > by_driver) {
    SectionFacts missing;
    missing.problem("gpus", fmt::format("the PCI bus shows {}, the driver {}",
                                        plural(static_cast<long long>(on_bus), "NVIDIA GPU"), by_driver));
    problems.push_back(missing.problems.front());
  }
  facts.set("problems", std::move(problems));
  return facts;
}

}  // namespace kfab::agent
