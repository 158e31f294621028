#pragma once

#include "base/codes.hpp"

namespace kfab::code {

#define KF_CODE(number, severity, name, cause, next_step) inline constexpr Code name{number};
#include "base/codes/undo.inc"
#undef KF_CODE

}  // namespace kfab::code
