#include "fleet/copy.hpp"

#include <doctest/doctest.h>

#include <filesystem>

#include "base/codes/commands.hpp"
#include "base/codes/ssh.hpp"
#include "base/file.hpp"
#include "base/ids.hpp"
#include "unit/fleet/fake_agent.hpp"

using namespace kfab;
using namespace kfab::fleet;
using namespace kfab::fleet::test;
namespace fs = std::filesystem;

namespace {

struct Folder {
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  fs::path path = fs::temp_directory_path() / ("kfab-copy-" + random_hex(6));
};

std::string some_bytes(std::size_t count) {
  std::string bytes(count, 'x');
  for (std::size_t i = 0; i < count; i += 61) bytes[i] = static_cast<char>(i);
  return bytes;
}

CopyResult copy_locally(const LocalFile& file, const std::string& to) {
  auto transport = ssh::make_transport({});
  auto clock = make_system_clock();
  Sink sink;
  CancelToken cancel;
  const CopyTask task{.file = &file, .path = to, .name = "file"};
  return copy_to(*transport, local_targets(1), task, {}, *clock, sink, cancel).at(0);
}

}  // namespace

TEST_CASE("a file larger than what is in memory of it at a time arrives whole") {
  const Folder folder;
  const std::string from = folder.path / "from", to = folder.path / "to", bytes = some_bytes(3'500'001);
  REQUIRE(write_file_atomically(from, bytes));
  const auto file = LocalFile::open(from);
  REQUIRE(file);
  CHECK(file->size() == bytes.size());
  const CopyResult result = copy_locally(*file, to);
  CHECK_MESSAGE(result.outcome == NodeOutcome::ok, (result.why ? result.why->message : ""));
  CHECK(result.bytes_sent == bytes.size());
  CHECK(*read_file(to) == bytes);
}

TEST_CASE("a file that becomes shorter while it is sent is said to, and nothing half done takes its place") {
  const Folder folder;
  const std::string from = folder.path / "from", to = folder.path / "to";
  REQUIRE(write_file_atomically(from, some_bytes(3'000'000)));
  const auto file = LocalFile::open(from);
  REQUIRE(file);
  fs::resize_file(from, 1'000'000);
  const CopyResult result = copy_locally(*file, to);
  CHECK(result.outcome == NodeOutcome::failed);
  REQUIRE(result.why);
  CHECK(result.why->code == code::copy_source_changed);
  CHECK_FALSE(fs::exists(to));
}

TEST_CASE("what is no regular file is not sent") {
  const Folder folder;
  for (const std::string& path : {folder.path.string(), std::string("/dev/null"), (folder.path / "none").string()}) {
    const auto file = LocalFile::open(path);
    REQUIRE_FALSE(file);
    CHECK(file.error().code == code::copy_source_unusable);
  }
}
