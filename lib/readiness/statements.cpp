#include "readiness/statements.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "readiness/words.hpp"

namespace kfab::readiness {
namespace {

std::string value_text(std::int64_t value) { return with_thousands(value); }
std::string value_text(int value) { return with_thousands(value); }
std::string value_text(const Date& value) { return to_string(value); }

class Reader {
 public:
  Reader(const manifest::Metadata& metadata, std::string prefix, Readiness& out)
      : metadata_(metadata), prefix_(std::move(prefix)), out_(out) {}

  // `as_text` makes words of the value; `consequence` is told when the document says that it is unknown.
  template <class T, class Text>
  void stated(const std::string& subject, const std::string& what, const manifest::Stated<T>& value, Text as_text,
              const std::string& fallback_source, const std::string& consequence = {}) {
    if (value.known()) add(subject, what, as_text(*value), value.source.empty() ? fallback_source : value.source, value.as_of);
    if (!value.unknown()) return;
    add(subject, what, "unknown", value.source.empty() ? fallback_source : value.source, value.as_of);
    unknown(subject, what, consequence);
  }
  template <class T>
  void figure(const std::string& subject, const std::string& what, const manifest::Stated<T>& value,
              const std::string& fallback_source, const std::string& consequence = {}) {
    stated(subject, what, value, [](const T& v) { return value_text(v); }, fallback_source, consequence);
  }

  void unknown(const std::string& subject, const std::string& what, const std::string& consequence) {
    out_.unknowns.push_back({prefix_ + subject, what, consequence});
  }

  void add(const std::string& subject, const std::string& text, const std::string& value, const std::string& source, const std::string& as_of) {
    const auto known = metadata_.sources.find(source);
    out_.facts.push_back({prefix_ + subject, text, value, source, known == metadata_.sources.end() ? "" : known->second,
                          as_of.empty() ? metadata_.as_of : as_of});
  }

  void facts(const std::string& subject, const std::vector<manifest::Fact>& rows) {
    for (const auto& row : rows)
      add(subject.empty() ? row.id : subject + " " + row.id, row.text,
          row.value ? format_number(*row.value, 4) + (row.unit.empty() ? "" : " " + row.unit) : "", row.source, row.as_of);
  }

  void power(const std::string& subject, const manifest::Power& p, const std::string& source) {
    const auto kw = [](double value) { return power_text(value); };
    stated(subject, p.cumulative ? "facility power, with the tranches before" : "facility power", p.facility_kw, kw, source, "no power check is possible");
    stated(subject, "IT power", p.it_kw, kw, source, "no power check is possible");
    stated(subject, "PUE", p.pue, [](double value) { return format_number(value, 3); }, source, "only the necessary power check (PUE 1) is possible");
    stated(subject, "overhead of the IT load", p.overhead_fraction, [](double value) { return percent_text(value * 100); }, source, "network and storage are not counted in the power check");
    stated(subject, "power cap of a rack", p.rack_cap_kw, kw, source, "rack caps are not checked");
    stated(subject, "power cap of a row", p.row_cap_kw, kw, source, "row caps are not checked");
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
      stated(subject, "spares" + chip, target.spares_pct, [](double value) { return percent_text(value); }, source, "spares are not checked");
      if (target.profile.empty()) unknown(subject, "chip", "no profile: neither power nor criteria can be checked");
      if (!target.assumption.empty()) add(subject, "assumed profile " + target.profile, target.assumption, "", "");
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
    stated(subject, "share", a.percent, [](double value) { return percent_text(value); }, a.source, "its share is not counted");
    figure(subject, "from", a.from, a.source, "when it is handed over, nobody has said");
  }

  void profile(const manifest::Profile& p) {
    const std::string subject = "profile " + p.name;
    figure(subject, "accelerators per node", p.per_node, "", "accelerators cannot be counted");
    stated(subject, "nameplate power of a node", p.nameplate_kw, [](double kw) { return power_text(kw); }, "", "no power check is possible");
    stated(subject, "memory of an accelerator", p.memory_gib, [](double value) { return format_number(value) + " GiB"; }, "", "memory is not held against anything");
    for (const auto& [key, value] : p.nominal) {
      const auto source = p.nominal_sources.find(key);
      add(subject, key, format_number(value, 3), source == p.nominal_sources.end() ? "" : source->second, "");
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
  reader.stated("connectivity", "bandwidth", site.connectivity.bandwidth_mbps, [](double value) { return format_number(value) + " Mbit/s"; }, site.connectivity.source, "how long sending takes cannot be told");
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
    reader.stated("link " + join(link.between, " - "), "bandwidth", link.bandwidth_mbps, [](double value) { return format_number(value) + " Mbit/s"; }, link.source, "balance across it cannot be told");
}

}  // namespace kfab::readiness
