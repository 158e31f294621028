#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace kfab::agent {

// The fingerprints of the keys in OpenPGP data, 40 upper case hexadecimal digits each: of primary keys only, since a
// signature by a subkey counts for its primary. Read are bytes, and ASCII armour (RFC 9580) with any text around it.
// Keys are of version 4, the only one that apt and dnf take; anything else, no key at all, and what ends too early is
// openpgp_bad, so that nothing is trusted that was not understood.
Result<std::vector<std::string>> openpgp_fingerprints(std::string_view data);

// A fingerprint as people write it, without blanks and in upper case.
std::string plain_fingerprint(std::string_view text);

}  // namespace kfab::agent
