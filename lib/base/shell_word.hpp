#pragma once

#include <string>
#include <string_view>

namespace kfab {

// A word as one would type it in a POSIX shell: as it is, or in single quotes where the shell would make something of it.
std::string shell_word(std::string_view word);

}  // namespace kfab
