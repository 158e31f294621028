#!/bin/bash
# Every header compiles alone: whoever includes it needs nothing else. The work is a CMake target, so that a second run
# compiles only what changed. headers.sh BUILD_DIR CXX
set -euo pipefail
build=$1 cxx=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
cmake --build "$build" --target kfab_headers >"$work/log" 2>&1 || status=$?
if [ $status -ne 0 ]; then
  grep -E 'FAILED|error' "$work/log" | head -n 40
  echo "headers: some do not compile alone"
  exit 1
fi

# Every header must be compiled, alone or as the first thing that its own source includes.
source_dir=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$build/CMakeCache.txt")
# first_of SOURCE HEADER: whether it is what that source includes before anything else
first_of() { [ -e "$1" ] && [ "$(grep -m1 '^#include' "$1")" = "#include \"${2#lib/}\"" ]; }
alone=0 first=0
while read -r header; do
  if [ -e "$build/tests/headers/$header.cpp" ]; then alone=$((alone + 1))
  elif first_of "$source_dir/${header%.hpp}.cpp" "$header"; then first=$((first + 1))
  else echo "headers: nothing compiles $header alone: configure again"; exit 1
  fi
done < <(cd "$source_dir" && find lib commands cli -name '*.hpp')
echo 'inline std::string name() { return {}; }' >"$work/bad.hpp"
echo '#include "bad.hpp"' >"$work/bad.cpp"
if "$cxx" -std=c++20 -fsyntax-only -I"$work" "$work/bad.cpp" 2>/dev/null; then
  echo "headers: this lint cannot fail: a header without its include was accepted"
  exit 1
fi
mkdir -p "$work/lib"
printf '#include <string>\n#include "late.hpp"\n' >"$work/lib/late.cpp"
if first_of "$work/lib/late.cpp" lib/late.hpp; then
  echo "headers: this lint cannot fail: a header that comes second was taken for the first"
  exit 1
fi
echo "headers: $alone compile alone, $first as the first of their own source"
