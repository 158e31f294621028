#pragma once

#include <string>

#include "base/clock.hpp"

namespace kfab {

// `bytes` random bytes from the kernel, as lower-case hex.
std::string random_hex(int bytes);

// "20261121T164158Z-7f3a9c": sorts by time, unique among the runs of one second.
std::string make_run_id(Timestamp);

}  // namespace kfab
