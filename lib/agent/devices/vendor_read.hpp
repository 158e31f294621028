#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "agent/devices/vendor_tools.hpp"

// What the readers of makers' tools share: how a hostile value becomes a figure, or a gap with a reason. For those readers alone.
namespace kfab::agent::devices::vendor::reading {

inline constexpr std::size_t most_accelerators = 256, most_lines = 20'000;

// A text or a whole number as one line of at most so many characters; anything else is empty.
std::string text_of(const json::Value&, std::size_t chars = 100);
// Words that tools print where they know nothing: "N/A", "unknown", "-", "".
bool says_nothing(std::string_view text);

void add(VendorAccelerator&, std::string_view metric, std::optional<double> value, std::string_view unit, std::string detail = {});
// A quantity that must come in `unit`, or bare; anything else is told and not taken. Told in `shown`, times `scale`.
void add(VendorAccelerator&, std::string_view metric, const json::Value& raw, std::string_view unit, double scale = 1, std::string_view shown = {});

// Identity: the serial, which stays when the device's number changes between boots; else the UUID, else the place.
void identify(VendorAccelerator&, std::string_view vendor, const std::string& serial, const std::string& uuid);
// "0", 0, "npu0"; never beyond 0 to 1,000,000.
int index_of(const json::Value&, int fallback);

// The list of a document that is one, or has one under any of these names.
const json::Array* list_of(const json::Value& document, std::initializer_list<std::string_view> names);
// What is no JSON becomes null and a problem; nothing at all becomes null.
json::Value parsed(std::string_view text, std::string_view what, ToolAnswer&);

// The generation of a PCIe link of so many GT/s (MT/s as well), where there is one of exactly that.
std::optional<double> pcie_generation(const std::optional<Quantity>& speed);

// One entry for each device: one that the tool lists twice counts once, and where devices that lie at different places tell one
// serial, as do the parts of a GPU that is split, each goes by its place.
void settle_identities(ToolAnswer&);

}  // namespace kfab::agent::devices::vendor::reading
