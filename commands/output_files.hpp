#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fleet/run_command.hpp"
#include "json/value.hpp"

namespace kfab::commands {

// A node's name as the name of a file: what is not a letter, a digit or one of "._-" is written as %XX, so that two
// names never meet and none leaves the folder. Names that would be too long end in a hash of the whole.
std::string file_name_of(const std::string& node);

// Writes what every node prints into a folder while it is printed: NODE.out, NODE.err, and NODE.json when it has ended.
// No descriptor stays open between two pieces, so that thousands of nodes may print at once.
class OutputFiles final : public fleet::OutputTaker {
 public:
  // Makes the folder where it is missing. Errors: output_dir_unusable (it cannot be made or has something in it).
  static Result<std::unique_ptr<OutputFiles>> open(const std::string& directory, const std::vector<ssh::Target>&);
  ~OutputFiles() override;
  OutputFiles(const OutputFiles&) = delete;
  OutputFiles& operator=(const OutputFiles&) = delete;

  void on_output(std::size_t target_index, bool is_stderr, std::string_view bytes) override;
  void on_result(std::size_t target_index, const fleet::CommandResult&) override;
  // What could not be written, if anything: then the files are not whole.
  const std::optional<Diagnostic>& failed() const { return failed_; }

 private:
  struct Files {
    std::string name;
    std::uint64_t out_bytes = 0, err_bytes = 0;
  };
  OutputFiles(int folder, std::string path, const std::vector<ssh::Target>& targets);
  void append(const std::string& name, std::string_view bytes);

  int folder_;
  std::string path_;
  std::vector<Files> files_;   // by target
  std::optional<Diagnostic> failed_;
};

}  // namespace kfab::commands
