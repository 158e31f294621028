#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>

#include "agent/resources/disk_file.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

// Large pages set aside: now, and early in the next boot by systemd-tmpfiles, which needs no kernel argument for any
// size. The kernel gives what it finds in one piece, which after some days of work may be less than asked for.
class HugepagesResource final : public Resource {
 public:
  HugepagesResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context),
        size_kib_(attributes.int_or("size_kib", 2048)),
        count_(attributes.int_or("count", -1)),
        below_(fmt::format("/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages", size_kib_)),
        file_(context.node.at(fmt::format("/etc/tmpfiles.d/kfab-hugepages-{}kB.conf", size_kib_)), "at boot") {
    if (count_ == 0) file_.want_absent();
    else file_.want(fmt::format("{}\nw {} - - - - {}\n", written_by_kfab, below_, count_));
  }

  Result<Difference> check() override {
    if (count_ < 0) return error(code::agent_bad_request, "hugepages without a count");
    KFAB_TRY(now, pages());
    Difference difference;
    if (now != fmt::format("{}", count_))
      difference.changes.push_back({"live", fmt::format("{} of {} KiB", now, size_kib_), fmt::format("{} of {} KiB", count_, size_kib_)});
    KFAB_TRY_VOID(file_.check(difference));
    return difference;
  }

  Status apply(const Difference& found) override {
    if (file_.differs()) KFAB_TRY_VOID(file_.apply(context_));   // first: what is short now may be had at boot
    if (found.changes.front().what != "live") return ok();
    return set_pages();
  }

  std::vector<Place> places() const override { return {{.path = file_.path()}}; }
  Result<json::Value> snapshot() override {
    KFAB_TRY(now, pages());
    return json::Value(json::Object{{"pages", std::move(now)}});
  }
  Status restore(const json::Value& before) override {
    count_ = std::strtoll(before.string_or("pages").c_str(), nullptr, 10);
    return set_pages();
  }

 private:
  Status set_pages() const {
    const auto path = context_.node.at(below_);
    const auto text = fmt::format("{}\n", count_);
    const Descriptor fd(::open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
    if (fd.get() < 0) return system_failure(errno, "set", path);
    if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      return system_failure(errno, "set", path);
    KFAB_TRY(now, pages());
    if (now == fmt::format("{}", count_)) return ok();
    return error(code::hugepages_short, fmt::format("the kernel found room for {} of {} pages of {} KiB", now, count_, size_kib_));
  }

  Result<std::string> pages() const {
    const auto text = read_file(context_.node.at(below_), 4096);
    if (text) return std::string(trim(*text));
    return error(code::hugepages_unknown, fmt::format("the node's kernel has no pages of {} KiB", size_kib_));
  }

  ResourceContext context_;
  std::int64_t size_kib_, count_;
  std::string below_;
  OwnFile file_;
};

}  // namespace

std::unique_ptr<Resource> make_hugepages(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<HugepagesResource>(attributes, context);
}

}  // namespace kfab::agent
