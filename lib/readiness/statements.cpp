#include "readiness/statements.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "readiness/words.hpp"

namespace kfab::readiness {
namespace {

// A value as it is shown, and as a number where it is one.
struct Shown {
  std::string text;
  std::optional<double> number{};
  std::string unit{};
};

Shown shown(std::int64_t value) { return {with_thousands(value), static_cast<double>(value)}; }
Shown shown(int value) { return shown(std::int64_t{value}); }
Shown shown(const Date& value) { return {to_string(value)}; }
Shown shown_power(double kw) { return {power_text(kw), kw, "kw"}; }
Shown shown_percent(double pct) { return {percent_text(pct), pct, "pct"}; }
Shown shown_bandwidth(double mbps) { return {format_number(mbps) + " Mbit/s", mbps, "mbps"}; }
Shown shown_fact(double value, const std::string& unit) {
  const std::string number = unit == "year" ? fmt::format("{:.0f}", value) : format_number(value, 4);
  return {unit.empty() ? number : number + " " + unit, value, unit};
}

class Reader {
 public:
  Reader(const manifest::Metadata& metadata, std::string prefix, Readiness& out)
      : metadata_(metadata), prefix_(std::move(prefix)), out_(out) {}

  // `as_shown` makes words of the value; `consequence` is told when the document says that it is unknown.
  template <class T, class AsShown>
  void stated(const std::string& subject, const std::string& what, const manifest::Stated<T>& value, AsShown as_shown,
              const std::string& fallback_source, const std::string& consequence = {}) {
    if (value.known()) add(subject, what, as_shown(*value), value.source.empty() ? fallback_source : value.source, value.as_of);
    if (!value.unknown()) return;
    add(subject, what, {"unknown"}, value.source.empty() ? fallback_source : value.source, value.as_of);
    unknown(subject, what, consequence);
  }
  template <class T>
  void figure(const std::string& subject, const std::string& what, const manifest::Stated<T>& value,
              const std::string& fallback_source, const std::string& consequence = {}) {
    stated(subject, what, value, [](const T& v) { return shown(v); }, fallback_source, consequence);
  }

  void unknown(const std::string& subject, const std::string& what, const std::string& consequence) {
    out_.unknowns.push_back({prefix_ + subject, what, consequence});
  }

  void add(const std::string& subject, const std::string& text, const Shown& value, const std::string& source, const std::string& as_of) {
    const auto known = metadata_.sources.find(source);
    out_.facts.push_back({prefix_ + subject, text, value.text, value.number, value.unit, source, known == metadata_.sources.end() ? "" : known->second,
                          as_of.empty() ? metadata_.as_of : as_of});
  }

  void facts(const std::string& subject, const std::vector<manifest::Fact>& rows) {
    for (const auto& row : rows)
      add(subject.empty() ? row.id : subject + " " + row.id, row.text,
          row.value ? shown_fact(*row.value, row.unit) : Shown{}, row.source, row.as_of);
  }

  void power(const std::string& subject, const manifest::Power& p, const std::string& source) {
    stated(subject, p.cumulative ? "facility power, with the tranches before" : "facility power", p.facility_kw, shown_power, source, "no power check is possible");
    stated(subject, "IT power", p.it_kw, shown_power, source, "no power check is possible");
    stated(subject, "PUE", p.pue, [](double value) { return Shown{format_number(value, 3), value}; }, source, "only the necessary power check (PUE 1) is possible");
    stated(subject, "overhead of the IT load", p.overhead_fraction, [](double fraction) { return shown_percent(fraction * 100); }, source, "network and storage are not counted in the power check");
    stated(subject, "power cap of a rack", p.rack_cap_kw, shown_power, source, "rack caps are not checked");
    stated(subject, "power cap of a row", p.row_cap_kw, shown_power, source, "row caps are not checked");
    figure(subject, "power available from", p.available_from, source, "nobody can say when nodes may run");
  }

  void tranche(const manifest::Tranche& t) {
    const std::string subject = "tranche " + t.name;
    figure(subject, "due", t.due, t.source, "cannot forecast against a date");
    if (t.due.state == manifest::Stated<Date>::State::absent) unknown(subject, "due", "no date is stated: cannot forecast against one");
    power(subject, t.power, t.source);
    if (t.targets.empty()) unknown(subject, "target", "no target is stated: cannot forecast");
    for (const auto& target : t.targets) {
      const std::string chip = target.profile.empty() ? "" : " of " + target.profile;
      const std::string source = target.source.empty() ? t.source : target.source;
      figure(subject, "accelerators" + chip + (target.cumulative ? ", with the tranches before" : ""), target.accelerators, source, "cannot forecast: no target");
      figure(subject, "nodes" + chip, target.nodes, source, "cannot forecast: no target");
      stated(subject, "spares" + chip, target.spares_pct, shown_percent, source, "spares are not checked");
      if (target.profile.empty()) unknown(subject, "chip", "no profile: neither power nor criteria can be checked");
      if (!target.assumption.empty()) add(subject, "assumed profile " + target.profile, {target.assumption}, "", "");
    }
    for (const auto& delivery : t.deliveries) {
      const std::string item = subject + " delivery " + delivery.id;
      figure(item, "expected", delivery.expected, delivery.source, "when it comes, nobody has said");
      figure(item, "arrived", delivery.arrived, delivery.source, "whether it is there, nobody has said");
      figure(item, "accelerators", delivery.accelerators, delivery.source, "its size is not known");
      figure(item, "nodes", delivery.nodes, delivery.source, "its size is not known");
    }
  }

  void allocation(const manifest::Allocation& a) {
    const std::string subject = "allocation " + a.tenant + (a.tranche.empty() ? "" : " of " + a.tranche);
    figure(subject, "accelerators" + (a.use.empty() ? "" : " for " + a.use + " use"), a.accelerators, a.source, "its share is not counted");
    stated(subject, "share", a.percent, shown_percent, a.source, "its share is not counted");
    figure(subject, "from", a.from, a.source, "when it is handed over, nobody has said");
  }

  void profile(const manifest::Profile& p) {
    const std::string subject = "profile " + p.name;
    figure(subject, "accelerators per node", p.per_node, "", "accelerators cannot be counted");
    stated(subject, "nameplate power of a node", p.nameplate_kw, shown_power, "", "no power check is possible");
    stated(subject, "memory of an accelerator", p.memory_gib, [](double value) { return Shown{format_number(value) + " GiB", value, "gib"}; }, "", "memory is not held against anything");
    for (const auto& [key, value] : p.nominal) {
      const auto source = p.nominal_sources.find(key);
      add(subject, key, Shown{format_number(value, 3), value}, source == p.nominal_sources.end() ? "" : source->second, "");
    }
    facts(subject, p.facts);
  }

 private:
  const manifest::Metadata& metadata_;
  std::string prefix_;
  Readiness& out_;
};

template <class Rows, class Read>
void each(const Rows& rows, Read read) {
  for (const auto& row : rows) read(row);
}

}  // namespace

void read_statements(const manifest::Site& site, const std::string& prefix, Readiness& out) {
  Reader reader(site.metadata, prefix, out);
  reader.facts({}, site.facts);
  reader.power("site", site.power, "");
  reader.stated("connectivity", "bandwidth", site.connectivity.bandwidth_mbps, shown_bandwidth, site.connectivity.source, "how long sending takes cannot be told");
  each(site.tranches, [&](const auto& row) { reader.tranche(row); });
  each(site.allocations, [&](const auto& row) { reader.allocation(row); });
  each(site.profiles, [&](const auto& row) { reader.profile(row.second); });
}

void read_statements(const manifest::Program& program, Readiness& out) {
  Reader reader(program.metadata, {}, out);
  reader.facts({}, program.facts);
  reader.figure("programme", "accelerators", program.accelerators, "", "allocations cannot be held against a total");
  reader.power("programme", program.power, "");
  each(program.tranches, [&](const auto& row) { reader.tranche(row); });
  each(program.allocations, [&](const auto& row) { reader.allocation(row); });
  each(program.profiles, [&](const auto& row) { reader.profile(row.second); });
  for (const auto& link : program.links)
    reader.stated("link " + join(link.between, " - "), "bandwidth", link.bandwidth_mbps, shown_bandwidth, link.source, "balance across it cannot be told");
}

}  // namespace kfab::readiness
