#!/bin/bash
# That agent_floor can fail: programs that ask for too much of a node must be refused. agent_floor_proof.sh CC
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cc=$1
command -v objdump >/dev/null || { echo "skipped: objdump is not installed"; exit 125; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
missed=0 proofs=0

# refused NAME PATTERN PROGRAM_TEXT [FLAGS...]: agent_floor must fail on it and say why.
refused() {
  local name=$1 pattern=$2 text=$3
  shift 3
  printf '%s\n' "$text" >"$work/program.c"
  if ! "$cc" -o "$work/program" "$work/program.c" "$@" 2>/dev/null; then
    echo "skipped in part: this system cannot build: $name"
    return
  fi
  proofs=$((proofs + 1))
  if "$here/agent_floor" "$work/program" >"$work/log" 2>&1 || ! grep -q "$pattern" "$work/log"; then
    echo "agent_floor cannot fail: it accepted $name"
    missed=$((missed + 1))
  fi
}

printf 'int main(void) { return 0; }\n' >"$work/good.c"
"$cc" -o "$work/good" "$work/good.c"
"$here/agent_floor" "$work/good" >/dev/null || { echo "agent_floor refuses a program that needs nothing"; exit 1; }
refused "a symbol newer than glibc 2.34" 'it asks for GLIBC_2.36' \
  $'#include <stdlib.h>\nint main(void) { return arc4random() == 0; }'
refused "another library" 'needs further libraries: libz' 'int main(void) { return 0; }' -Wl,--no-as-needed -lz
refused "more than 6 MiB" 'more than 6 MiB' 'char big[7 << 20] = {1}; int main(void) { return 0; }'
refused "a program that does not start" 'does not start' 'int main(void) { return 3; }'
echo "agent_floor: $proofs bad programs, $missed of them accepted"
[ "$missed" -eq 0 ] && [ "$proofs" -gt 0 ]
