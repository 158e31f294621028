#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "base/cancel.hpp"
#include "base/clock.hpp"
#include "base/codes.hpp"
#include "base/codes/internal.hpp"
#include "base/codes/store.hpp"
#include "base/diagnostic.hpp"
#include "base/file.hpp"
#include "base/ids.hpp"
#include "base/random.hpp"
#include "base/result.hpp"
#include "base/sha256.hpp"
#include "base/words.hpp"

using namespace kfab;

TEST_CASE("times") {
  const auto parsed = parse_rfc3339("2026-11-21T16:41:58Z");
  REQUIRE(parsed);
  CHECK(to_rfc3339(*parsed) == "2026-11-21T16:41:58Z");
  CHECK(to_rfc3339(*parsed + std::chrono::milliseconds{7}) == "2026-11-21T16:41:58.007Z");
  CHECK(parse_rfc3339("2026-11-21T16:41:58.0071234Z") == *parsed + std::chrono::milliseconds{7});
  CHECK(parse_rfc3339("2026-11-21T16:41:58.5Z") == *parsed + std::chrono::milliseconds{500});
  CHECK(to_rfc3339(Timestamp{std::chrono::milliseconds{-1}}) == "1969-12-31T23:59:59.999Z");
  for (const char* bad : {"", "2026-11-21", "2026-11-21T16:41:58", "2026-13-21T16:41:58Z", "2026-02-30T00:00:00Z", "2026-11-21T24:00:00Z",
                          "2026-11-21T16:61:58Z", "2026-11-21T16:41:58.Z", "2026-11-21T16:41:58.xZ", "2026-11-21T16:41:58+09:00", "2026-11-21 16:41:58Z",
                          "2026-11-21T16:41:58ZZ"}) {
    INFO(bad);
    CHECK_FALSE(parse_rfc3339(bad));
  }
}

TEST_CASE("days, and months as contracts mean them") {
  CHECK(to_string(*parse_date("2027-11")) == "2027-11-30");
  CHECK(parse_date("2027-11")->month_only);
  CHECK(to_string(*parse_date("2028-02")) == "2028-02-29");
  CHECK(to_string(*parse_date("2027-11-05")) == "2027-11-05");
  CHECK(days_between(*parse_date("2026-11-21"), *parse_date("2027-11-21")) == 365);
  CHECK(days_between(*parse_date("2026-11-21"), *parse_date("2026-11-20")) == -1);
  CHECK(*parse_date("2026-11") == *parse_date("2026-11-30"));
  CHECK(*parse_date("2026-11-01") < *parse_date("2026-11"));
  CHECK(to_string(date_of(*parse_rfc3339("2026-11-21T23:59:59.999Z"))) == "2026-11-21");
  for (const char* bad : {"", "2027", "2027-1", "2027-00", "2027-13", "2027-02-29", "2027-11-31", "2027/11/01", "20271101", "2027-11-1x", "-027-11", "abc"}) {
    INFO(bad);
    CHECK_FALSE(parse_date(bad));
  }
}

TEST_CASE("codes: every number and name once, ascending, with words for people") {
  std::set<std::string_view> names;
  int last = 0;
  for (const CodeInfo& row : all_codes()) {
    INFO(row.name);
    CHECK(static_cast<int>(row.code) > last);   // equal would be a number used twice
    last = static_cast<int>(row.code);
    CHECK(last >= 1000);
    CHECK(last <= 9999);
    CHECK(names.insert(row.name).second);
    CHECK(row.cause.size() > 10);
    CHECK(row.next_step.size() > 5);
    CHECK_FALSE(row.cause.ends_with('.'));
    CHECK(&info(row.code) == &row);
    CHECK(parse_code(to_string(row.code)) == row.code);
  }
  CHECK(parse_code("kf9001") == code::internal);
  CHECK(parse_code("9001") == code::internal);
  for (const char* bad : {"", "KF", "KF1", "KF99999", "90x1", "-9001"}) CHECK_FALSE(parse_code(bad));
  CHECK(make_diagnostic(code::internal, "m").severity == Severity::error);
  CHECK_FALSE(has_errors({}));
  CHECK(has_errors({make_diagnostic(code::internal, "m")}));
}

TEST_CASE("words and exit codes") {
  for (const Verdict v : {Verdict::pass, Verdict::degraded, Verdict::fail, Verdict::not_judged}) CHECK(parse_verdict(to_string(v)) == v);
  CHECK_FALSE(parse_verdict("Pass"));
  CHECK_FALSE(parse_verdict(""));
  CHECK(worse(Verdict::pass, Verdict::degraded) == Verdict::degraded);
  CHECK(worse(Verdict::not_judged, Verdict::degraded) == Verdict::not_judged);
  CHECK(worse(Verdict::not_judged, Verdict::fail) == Verdict::fail);
  CHECK(worse(Verdict::pass, Verdict::not_judged) == Verdict::not_judged);
  CHECK(parse_node_state("in_rma") == NodeState::in_rma);
  CHECK_FALSE(parse_node_state("gone"));
  CHECK(exit_code(Outcome::yes) == 0);
  CHECK(exit_code(Outcome::no) == 1);
  CHECK(exit_code(Outcome::invalid) == 2);
  CHECK(exit_code(Outcome::incomplete) == 3);
  CHECK(exit_code(Outcome::bug) == 4);
  CHECK(exit_code(Outcome::cancelled) == 130);
  CHECK(exit_code(Outcome::cancelled, 15) == 143);
  CHECK(exit_code_table().size() == 7);
  for (const auto outcome : all_node_outcomes) CHECK_FALSE(to_string(outcome).empty());
}

TEST_CASE("a stop is asked for in levels") {
  CancelToken token;
  CHECK_FALSE(token.requested());
  token.raise(2);
  CHECK(token.level() == 1);
  CHECK(token.signal() == 2);
  token.raise(15);
  CHECK(token.level() == 2);
}

TEST_CASE("SHA-256 by the processor's instructions is what the portable way says") {
  std::string bytes;
  for (unsigned i = 0; i < 64 * 50; ++i) bytes += static_cast<char>(i * 2654435761u >> 13);
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  for (std::size_t count = 0; count <= 50; count += 7) {
    std::array<std::uint32_t, 8> one{1, 0x80000000, 3, 0xffffffff, 5, 6, 7, 8}, other = one;
    sha256_blocks::portable(one, data, count);
    if (!sha256_blocks::by_instructions(other, data, count)) {
      MESSAGE("not tested: this processor has no SHA extensions");
      return;
    }
    CHECK(one == other);
  }
}

TEST_CASE("SHA-256 of the standard's examples") {
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256_hex(std::string(1'000'000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  // In pieces of every size around the block.
  const std::string text(300, 'k');
  for (std::size_t piece = 1; piece < 130; ++piece) {
    Sha256 hash;
    for (std::size_t at = 0; at < text.size(); at += piece) hash.update(std::string_view(text).substr(at, piece));
    REQUIRE(hash.hex() == sha256_hex(text));
  }
}

TEST_CASE("ids sort by time and do not repeat") {
  const auto time = *parse_rfc3339("2026-11-21T16:41:58.999Z");
  const std::string id = make_run_id(time);
  CHECK(id.starts_with("20261121T164158Z-"));
  CHECK(id.size() == 23);
  CHECK(make_run_id(time + std::chrono::seconds{1}) > id);
  std::set<std::string> seen;
  for (int i = 0; i < 200; ++i) CHECK(seen.insert(random_hex(8)).second);
  CHECK(random_hex(0).empty());
  CHECK(random_hex(300).size() == 600);
}

TEST_CASE("files are read whole and replaced whole") {
  std::string pattern = (std::filesystem::temp_directory_path() / "kfab-base-XXXXXX").string();
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  const std::filesystem::path dir = pattern;
  const auto file = dir / "f";
  REQUIRE(write_file_atomically(file, "one", 0600));
  REQUIRE(write_file_atomically(file, std::string(200'000, 'x'), 0600));
  CHECK(read_file(file)->size() == 200'000);
  struct stat facts {};
  REQUIRE(::stat(file.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0600);
  CHECK(read_file(file, 1000).error().code == code::file_too_large);
  CHECK(read_file(dir / "missing").error().code == code::file_unreadable);
  CHECK(read_file(dir).error().code == code::file_unreadable);
  CHECK(write_file_atomically(dir / "no" / "where", "x").error().code == code::file_unwritable);
  REQUIRE(std::filesystem::create_directory(dir / "taken"));
  CHECK(write_file_atomically(dir / "taken", "x").error().code == code::file_unwritable);
  std::size_t left = 0;   // nothing half-written stays behind, also after a failure
  for (const auto& entry : std::filesystem::directory_iterator(dir)) left += entry.path().filename() != "f" && entry.path().filename() != "taken";
  CHECK(left == 0);
  std::filesystem::remove_all(dir);
}

TEST_CASE("results hold a value or the reason why there is none") {
  const auto half = [](int n) -> Result<int> {
    if (n % 2 != 0) return error(code::internal, "odd");
    return n / 2;
  };
  const auto quarter = [&](int n) -> Result<int> {
    KFAB_TRY(once, half(n));
    KFAB_TRY(twice, half(once));
    return twice;
  };
  CHECK(*quarter(8) == 2);
  CHECK(quarter(6).error().message == "odd");
  const auto check = [&](int n) -> Status {
    KFAB_TRY_VOID(half(n));
    return ok();
  };
  CHECK(check(2));
  CHECK_FALSE(check(3));
}

TEST_CASE("numbers follow from their seed, and are those of SplitMix64") {
  // The first three of seed 1234567, as Vigna's splitmix64.c gives them.
  SeededRandom random(1234567);
  CHECK(random() == 6457827717110365317U);
  CHECK(random() == 3203168211198807973U);
  CHECK(random() == 9817491932198370423U);
  SeededRandom again(7), other(8);
  bool differ = false;
  for (int i = 0; i < 1000; ++i) {
    const auto n = again.below(10);
    CHECK(n < 10);
    differ = differ || n != other.below(10);
  }
  CHECK(differ);
}
