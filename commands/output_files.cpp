#include "commands/output_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "base/codes/commands.hpp"
#include "base/result.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"

namespace kfab::commands {
namespace {

constexpr std::size_t longest_name = 200;   // of the 255 bytes that file systems take, with room for what follows

bool kept(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

Diagnostic unusable(const std::string& path, std::string_view why) {
  return error(code::output_dir_unusable, fmt::format("{}: {}", one_line(path), why));
}

}  // namespace

std::string file_name_of(const std::string& node) {
  std::string name;
  for (const char c : node) {
    if (kept(c) && !(c == '.' && name.empty())) name += c;
    else name += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  if (name.size() > longest_name) name = name.substr(0, longest_name - 17) + "%" + sha256_hex(node).substr(0, 16);
  return name;
}

Result<std::unique_ptr<OutputFiles>> OutputFiles::open(const std::string& directory, const std::vector<ssh::Target>& targets) {
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed) return unusable(directory, failed.message());
  if (!std::filesystem::is_empty(directory, failed) || failed) return unusable(directory, failed ? failed.message() : "is not empty");
  const int folder = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return unusable(directory, std::strerror(errno));
  return std::unique_ptr<OutputFiles>(new OutputFiles(folder, directory, targets));
}

OutputFiles::OutputFiles(int folder, std::string path, const std::vector<ssh::Target>& targets) : folder_(folder), path_(std::move(path)) {
  for (const ssh::Target& target : targets) files_.push_back({file_name_of(target.node)});
}

OutputFiles::~OutputFiles() { ::close(folder_); }

void OutputFiles::append(const std::string& name, std::string_view bytes) {
  if (failed_) return;   // half a file would look like a whole one: nothing more is written
  const int fd = ::openat(folder_, name.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
  bool good = fd >= 0;
  while (good && !bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    good = written > 0;
    if (good) bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  if (!good) failed_ = unusable(path_ + "/" + name, std::strerror(errno));
  if (fd >= 0) ::close(fd);
}

void OutputFiles::on_output(std::size_t target_index, bool is_stderr, std::string_view bytes) {
  Files& files = files_.at(target_index);
  (is_stderr ? files.err_bytes : files.out_bytes) += bytes.size();
  append(files.name + (is_stderr ? ".err" : ".out"), bytes);
}

void OutputFiles::on_result(std::size_t target_index, const fleet::CommandResult& result) {
  const Files& files = files_.at(target_index);
  append(files.name + ".out", "");   // also of a node that printed nothing
  append(files.name + ".err", "");
  json::Object status{{"node", result.node}, {"outcome", to_string(result.outcome)}, {"phase", ssh::to_string(result.phase)}};
  status.set("exit_status", result.exit_status).set("signal", result.signal.empty() ? json::Value() : json::Value(result.signal));
  status.set("stdout_bytes", files.out_bytes).set("stderr_bytes", files.err_bytes).set("duration_s", result.duration_s);
  status.set("reason", result.why ? json::Value(result.why->message) : json::Value());
  status.set("code", result.why ? json::Value(to_string(result.why->code)) : json::Value());
  append(files.name + ".json", json::dump_pretty(json::Value(std::move(status))) + "\n");
}

}  // namespace kfab::commands
