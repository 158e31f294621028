#pragma once

#include <string_view>

namespace kfab::report {

// The style sheet of the HTML page: light and dark by what the reader's system asks for, light on paper.
extern const std::string_view page_style;

}  // namespace kfab::report
