#include "validation/packed.hpp"

#include <bit>
#include <cstring>
#include <map>
#include <stdexcept>
#include <type_traits>
#include <vector>

// Both directions go through the same list of a struct's members. It takes the struct apart, so that a member which is new there and
// missing here does not compile.
namespace kfab::validation {
namespace {

// Words are written once and then by number: a report says the same few hundred thousands of times.
class Packer {
 public:
  template <class T> using Of = const T;
  std::string bytes;

  template <class... T> void operator()(const T&... members) { (put(members), ...); }

 private:
  void put(std::uint64_t number) {
    for (; number >= 0x80; number >>= 7) bytes += static_cast<char>(number | 0x80);
    bytes += static_cast<char>(number);
  }
  void put(int number) { put(static_cast<std::uint64_t>(static_cast<std::uint32_t>(number))); }
  void put(bool flag) { put(static_cast<std::uint64_t>(flag)); }
  void put(double number) {
    const auto bits = std::bit_cast<std::uint64_t>(number);
    bytes.append(reinterpret_cast<const char*>(&bits), sizeof bits);
  }
  template <class E> requires std::is_enum_v<E> void put(E value) { put(static_cast<std::uint64_t>(value)); }
  void put(const std::string& word) {
    const auto [known, is_new] = words_.try_emplace(word, words_.size() + 1);
    if (!is_new) return put(std::uint64_t{known->second});
    put(std::uint64_t{0});
    put(std::uint64_t{word.size()});
    bytes += word;
  }
  void put(const std::optional<double>& number) {
    put(number.has_value());
    if (number) put(*number);
  }
  template <class T> void put(const std::vector<T>& items);

  std::map<std::string, std::size_t, std::less<>> words_;
};

class Unpacker {
 public:
  template <class T> using Of = T;
  explicit Unpacker(std::string_view bytes) : left_(bytes) {}

  template <class... T> void operator()(T&... members) { (get(members), ...); }

 private:
  const char* take(std::size_t size) {
    if (size > left_.size()) throw std::runtime_error("a packed report is shorter than it says");
    const char* from = left_.data();
    left_.remove_prefix(size);
    return from;
  }
  void get(std::uint64_t& number) {
    number = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(*take(1));
      number |= std::uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return;
    }
  }
  std::uint64_t number() {
    std::uint64_t out = 0;
    get(out);
    return out;
  }
  void get(int& value) { value = static_cast<int>(static_cast<std::uint32_t>(number())); }
  void get(bool& flag) { flag = number() != 0; }
  void get(double& value) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, take(sizeof bits), sizeof bits);
    value = std::bit_cast<double>(bits);
  }
  template <class E> requires std::is_enum_v<E> void get(E& value) { value = static_cast<E>(number()); }
  void get(std::string& word) {
    if (const std::uint64_t known = number(); known > 0) {
      word = words_.at(known - 1);
      return;
    }
    const std::uint64_t size = number();
    word.assign(take(size), size);
    words_.push_back(word);
  }
  void get(std::optional<double>& value) {
    bool there = false;
    get(there);
    value.reset();
    if (there) get(value.emplace());
  }
  template <class T> void get(std::vector<T>& items);

  std::string_view left_;
  std::vector<std::string> words_;
};

template <class P> void members(P& pack, typename P::template Of<Measurement>& of) {
  auto& [accelerator, device, test, metric, unit, value, samples, link, detail] = of;
  pack(accelerator, device, test, metric, unit, value, samples, link, detail);
}
template <class P> void members(P& pack, typename P::template Of<TestStatus>& of) {
  auto& [accelerator, device, test, state, reason, code, duration_s] = of;
  pack(accelerator, device, test, state, reason, code, duration_s);
}
template <class P> void members(P& pack, typename P::template Of<Mismatch>& of) {
  auto& [accelerator, device, test, where, index, stride, count, expected, got, mask, second_read] = of;
  pack(accelerator, device, test, where, index, stride, count, expected, got, mask, second_read);
}
template <class P> void members(P& pack, typename P::template Of<CriterionVerdict>& of) {
  auto& [criterion, metric, unit, test, accelerator, device, link, value, limit, direction, verdict, beside_peers, counts, reason] = of;
  pack(criterion, metric, unit, test, accelerator, device, link, value, limit, direction, verdict, beside_peers, counts, reason);
}
template <class P> void members(P& pack, typename P::template Of<AcceleratorVerdict>& of) {
  auto& [id, device, model, index, verdict, reasons] = of;
  pack(id, device, model, index, verdict, reasons);
}
template <class P> void members(P& pack, typename P::template Of<NodeJudgement>& of) {
  auto& [verdict, reasons, of_node, of_node_verdict, accelerators, criteria] = of;
  pack(verdict, reasons, of_node, of_node_verdict, accelerators, criteria);
}
template <class P> void members(P& pack, typename P::template Of<TestReport>& of) {
  // Accelerators, what was refused, and whether it is whole are few and stay where they are.
  [[maybe_unused]] auto& [accelerators, measurements, statuses, mismatches, refused, truncated] = of;
  pack(measurements, statuses, mismatches);
}

template <class T> void Packer::put(const std::vector<T>& items) {
  put(std::uint64_t{items.size()});
  for (const auto& item : items) {
    if constexpr (std::is_same_v<T, double> || std::is_same_v<T, std::string>) put(item);
    else members(*this, item);
  }
}

template <class T> void Unpacker::get(std::vector<T>& items) {
  const std::uint64_t size = number();
  if (size > left_.size()) throw std::runtime_error("a packed report holds fewer things than it says");   // each takes a byte at least
  items.clear();
  items.resize(size);
  for (auto& item : items) {
    if constexpr (std::is_same_v<T, double> || std::is_same_v<T, std::string>) get(item);
    else members(*this, item);
  }
}

template <class T> std::string packed_members(const T& of) {
  Packer packer;
  members(packer, of);
  packer.bytes.shrink_to_fit();
  return std::move(packer.bytes);
}
template <class T> void unpack_members(std::string_view bytes, T& into) {
  Unpacker unpacker(bytes);
  members(unpacker, into);
}

}  // namespace

std::string packed(const TestReport& report) { return packed_members(report); }
void unpack(std::string_view bytes, TestReport& report) { unpack_members(bytes, report); }
std::string packed(const NodeJudgement& judgement) { return packed_members(judgement); }
void unpack(std::string_view bytes, NodeJudgement& judgement) { unpack_members(bytes, judgement); }

}  // namespace kfab::validation
