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

# The list must hold every header there is, and a header that lacks an include must be refused.
source_dir=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$build/CMakeCache.txt")
there=$(cd "$source_dir" && find lib commands cli -name '*.hpp' | wc -l)
checked=$(find "$build/tests/headers" -name '*.cpp' | wc -l)
if [ "$checked" -lt "$there" ]; then
  echo "headers: $there headers, but only $checked are compiled"
  exit 1
fi
echo 'inline std::string name() { return {}; }' >"$work/bad.hpp"
echo '#include "bad.hpp"' >"$work/bad.cpp"
if "$cxx" -std=c++20 -fsyntax-only -I"$work" "$work/bad.cpp" 2>/dev/null; then
  echo "headers: this lint cannot fail: a header without its include was accepted"
  exit 1
fi
echo "headers: $there compile alone"
