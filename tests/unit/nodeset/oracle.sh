#!/bin/bash
# Compares kfab's node sets with ClusterShell's over generated expressions: the folded text must be the same, and so
# must the names, in order where a name has one number (over several, ClusterShell lists them in folded order).
# oracle.sh PROBE [COUNT]; exits 77, which ctest counts as skipped, where ClusterShell is missing.
set -euo pipefail
probe=$1
count=${2:-400}
if ! command -v nodeset >/dev/null || ! /usr/bin/python3 -c 'import ClusterShell.NodeSet' 2>/dev/null; then
  echo "SKIPPED: nodeset (package clustershell) is not installed, so node sets were not compared with ClusterShell" >&2
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$probe" generate "$count" 7 >"$work/expressions"
"$probe" evaluate <"$work/expressions" >"$work/ours"
# The distribution's interpreter, for it has the module. One for all expressions: starting `nodeset` for each would take minutes.
/usr/bin/python3 -c '
import sys
from ClusterShell.NodeSet import NodeSet
for line in sys.stdin:
    nodes = NodeSet(line.rstrip("\n"))
    print(str(nodes) + "\t" + " ".join(nodes))
' <"$work/expressions" >"$work/theirs"

# The command itself must say the same as the library it is made of.
expression=$(head -n 1 "$work/expressions")
[ "$(nodeset -f "$expression")" = "$(head -n 1 "$work/theirs" | cut -f 1)" ]

awk -F '\t' -v expressions="$work/expressions" -v theirs="$work/theirs" '
  function sorted(text,    parts, n, i, j, t, out) {
    n = split(text, parts, " ")
    for (i = 2; i <= n; i++) { t = parts[i]; for (j = i - 1; j > 0 && parts[j] > t; j--) parts[j + 1] = parts[j]; parts[j + 1] = t }
    out = ""; for (i = 1; i <= n; i++) out = out " " parts[i]
    return out
  }
  {
    getline expression < expressions
    getline their_line < theirs
    split(their_line, their, "\t")
    seen++
    same = $1 == their[1] && ($2 == their[2] || sorted($2) == sorted(their[2]))
    if (!same) { differing++; print "expression " expression "\n  kfab         " $0 "\n  clustershell " their_line }
  }
  END {
    printf "%d expressions compared, %d differ\n", seen, differing
    exit differing > 0 || seen == 0
  }' "$work/ours"
