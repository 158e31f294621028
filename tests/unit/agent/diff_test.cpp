#include "agent/diff.hpp"

#include <doctest/doctest.h>

#include <string>

using kfab::agent::unified_diff;

TEST_CASE("diff: equal texts have none") { CHECK(unified_diff("a\nb\n", "a\nb\n", "/x").empty()); }

TEST_CASE("diff: a changed line is shown with its neighbours") {
  const std::string before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n", after = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n";
  CHECK(unified_diff(before, after, "/x") ==
        "--- /x (on the node)\n+++ /x (declared)\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
}

TEST_CASE("diff: far apart changes are two hunks, near ones one") {
  std::string before, after, near;
  for (int i = 1; i <= 40; ++i) {
    before += std::to_string(i) + "\n";
    after += (i == 3 || i == 35 ? "x" : std::to_string(i)) + "\n";
    near += (i == 10 || i == 14 ? "x" : std::to_string(i)) + "\n";
  }
  const auto two = unified_diff(before, after, "/x");
  CHECK(two.find("@@ -1,6 +1,6 @@") != std::string::npos);
  CHECK(two.find("@@ -32,7 +32,7 @@") != std::string::npos);
  const auto one = unified_diff(before, near, "/x");
  CHECK(one.find("@@ -7,11 +7,11 @@") != std::string::npos);
  CHECK(one.find("@@", one.find("@@ -7") + 17) == std::string::npos);
}

TEST_CASE("diff: new, emptied, and without a last newline") {
  CHECK(unified_diff("", "a\nb\n", "/x").find("@@ -0,0 +1,2 @@\n+a\n+b\n") != std::string::npos);
  CHECK(unified_diff("a\n", "", "/x").find("@@ -1 +0,0 @@\n-a\n") != std::string::npos);
  CHECK(unified_diff("a\n", "a", "/x").find("-a\n+a\n\\ No newline at end of file\n") != std::string::npos);
}

TEST_CASE("diff: what is not text is said, not shown") {
  const std::string binary("a\0b", 3);
  CHECK(unified_diff(binary, "text\n", "/x") == "binary content of /x differs (3 bytes before, 5 after)\n");
  CHECK(unified_diff("\xff\xfe", "text\n", "/x").starts_with("binary content"));
}

TEST_CASE("diff: a huge difference is cut and says so, and does not take the time of a table") {
  std::string before, after;
  for (int i = 0; i < 200'000; ++i) {
    before += "before " + std::to_string(i) + "\n";
    after += "after " + std::to_string(i) + "\n";
  }
  const auto text = unified_diff(before, after, "/x", 1000);
  CHECK(text.size() < 1100);
  CHECK(text.ends_with("... (cut at 1000 bytes)\n"));
}
