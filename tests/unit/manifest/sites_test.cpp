#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "base/file.hpp"
#include "support.hpp"

using namespace kfab;
using namespace kfab::manifest;
using namespace kfab::manifest::test;

namespace {

Site site_of(const std::string& name) {
  const auto loaded = load_file(manifests / "sites" / (name + ".yaml"));
  CAPTURE(list(loaded));
  REQUIRE(loaded.site());
  return *loaded.site();
}

std::set<double> figures(const std::vector<Fact>& facts) {
  std::set<double> out;
  for (const Fact& one : facts)
    if (one.value) out.insert(*one.value);
  return out;
}

}  // namespace

TEST_CASE("Ulsan: 41 MW by November 2027, 103 MW and 60,000 GPUs by February 2029, in all") {
  const Site site = site_of("ulsan");
  const Tranche& p1 = *site.find_tranche("p1");
  const Tranche& p2 = *site.find_tranche("p2");
  CHECK(to_string(*p1.due) == "2027-11-30");
  CHECK(*p1.power.facility_kw == doctest::Approx(41000));
  CHECK(to_string(*p2.due) == "2029-02-28");
  CHECK(*p2.power.facility_kw == doctest::Approx(103000));
  CHECK(p2.power.cumulative);
  CHECK(p2.targets[0].cumulative);
  CHECK(*p2.targets[0].accelerators == 60000);
  CHECK(!p2.targets[0].assumption.empty());
  CHECK(p1.targets[0].accelerators.unknown());
  const Profile& b200 = site.profiles.at("dgx-b200");
  CHECK(static_cast<double>(*p2.targets[0].accelerators / *b200.per_node) * *b200.nameplate_kw == doctest::Approx(107250));
  const auto numbers = figures(site.facts);
  for (const double one : {60000., 41., 103., 1000., 4e9, 3.4e12, 2.5e9, 2028., 7500., 107.25}) CHECK(numbers.count(one) == 1);
}

TEST_CASE("the national programme adds up: 260,000 in all, 13,136 in the first tranche") {
  const auto loaded = load_file(manifests / "sites/national-programme.yaml");
  REQUIRE(loaded.program());
  const Program& program = *loaded.program();
  CHECK(*program.accelerators == 260000);
  std::int64_t whole = 0, first = 0, government = 0;
  for (const Allocation& one : program.allocations) {
    if (one.tranche.empty()) whole += *one.accelerators;
    else first += *one.accelerators;
    if (one.tranche == "first" && one.use == "government") government += *one.accelerators;
  }
  CHECK(whole == 260000);
  CHECK(first == 13136);
  CHECK(government == 10456);
  const Tranche& tranche = program.tranches[0];
  CHECK(*tranche.targets[0].accelerators == 10080);
  CHECK(*tranche.targets[1].accelerators == 3056);
  CHECK(tranche.ready_when.contiguous == std::vector{510, 255, 255, 255, 32});
  CHECK(*tranche.deliveries[0].accelerators == 13000);
  const auto numbers = figures(program.facts);
  for (const double one : {10.4e9, 13000., 1.4e12, 952.7e6, 50000., 60000., 32500.}) CHECK(numbers.count(one) == 1);
}

TEST_CASE("the other sites say what their reports give, and unknown where they give nothing") {
  CHECK(*site_of("naver-gak-sejong").tranches[0].power.facility_kw == doctest::Approx(55000));
  const Site dsx = site_of("skt-gigawatt-dsx");
  CHECK(dsx.blueprint == "dsx");
  CHECK(to_string(*dsx.tranches[0].due) == "2027-12-31");
  CHECK(*dsx.tranches[1].power.facility_kw == doctest::Approx(1e6));
  const Site shinsegae = site_of("shinsegae-reflection");
  CHECK(*shinsegae.tranches[0].power.facility_kw == doctest::Approx(250000));
  CHECK(shinsegae.tranches[0].due.unknown());
  CHECK(figures(shinsegae.facts).count(1e13) == 1);
  CHECK(figures(shinsegae.facts).count(6.8e9) == 1);
  const Site gyeonggi = site_of("gyeonggi");
  CHECK(gyeonggi.tranches[0].power.facility_kw.unknown());
  CHECK(figures(gyeonggi.facts).count(35e9) == 1);
  for (const char* city : {"micro-daegu", "micro-gwangju"}) {
    const Site micro = site_of(city);
    CHECK(micro.kind == "container");
    CHECK(micro.metadata.federation == "micro-programme");
    CHECK(micro.profiles.count("furiosa-nxt-rngd") == 1);
    CHECK(micro.profiles.count("rebellions-atom") == 1);
    CHECK(micro.subsystems.size() == 5);
  }
  const auto programme = load_file(manifests / "sites/micro-programme.yaml");
  REQUIRE(programme.program());
  const auto numbers = figures(programme.program()->facts);
  for (const double one : {27.3e9, 19.9e6, 2025., 2029., 90.}) CHECK(numbers.count(one) == 1);
}

TEST_CASE("every fact of the sites names a source that the document explains") {
  for (const auto& entry : std::filesystem::directory_iterator(manifests / "sites")) {
    const auto loaded = load_file(entry.path());
    const std::vector<Fact>& facts = loaded.site() ? loaded.site()->facts : loaded.program()->facts;
    const auto& sources = loaded.site() ? loaded.site()->metadata.sources : loaded.program()->metadata.sources;
    CAPTURE(entry.path().string());
    CHECK(!facts.empty());
    for (const Fact& one : facts) CHECK(sources.count(one.source) == 1);
  }
}

TEST_CASE("the manual names every profile that kfab brings") {
  const auto manual = read_file(KFAB_SOURCE_DIR "/man/kfab-site.5.scd");
  REQUIRE(manual);
  std::size_t profiles = 0;
  for (const auto& one : built_ins()) {
    if (one.kind != "Profile") continue;
    ++profiles;
    CHECK_MESSAGE(manual->find("_" + std::string(one.name) + "_") != std::string::npos, std::string(one.name));
  }
  CHECK(profiles >= 8);
}
