#!/bin/bash
# A soak that is left to Debian nodes that really boot (booted.sh): it is a unit of systemd's on each node, ends with the node
# when its power goes, and is told then as what it is; one that comes to its end is fetched and recorded once. Needs root,
# systemd-nspawn and debootstrap; else it is skipped.
# Usage: booted_soak.sh KFAB TREE     TREE is made once and kept
set -u
# shellcheck source=tests/fleet/booted_site.sh
. "$(dirname "$0")/booted_site.sh"

manifest "$work/site.yaml" "" 'apiVersion: kfab/v1
kind: Criteria
metadata: {name: c, version: "1", title: nothing but sound bits}
spec:
  criteria:
    - {id: no-memory-error, metric: memory.errors, device: cpu, unit: count, direction: equal, limit: 0, source: "memory that works"}'
sed -i 's/^  nameplate: 0.5 kW$/  nameplate: 0.5 kW\n  criteria: c/' "$work/site.yaml"
soak() { run validate "$work/site.yaml" --level soak --duration "$1" --threads 1 --memory-cap 16 --yes; }
newest() { booted_run "$work/site" "$kfab" runs --state "$work/state" --limit 1 -o json | sed -nE 's/.*"id": "(.*)",/\1/p' | sed -n 2p; }
units() { in_node "$1" systemctl list-units --plain --no-legend --state=active "'kfab-*'" | awk '{print $1}'; }

# 1. It begins, and goes on as a unit without kfab and without a connection.
soak 60s
expect "a soak is left to the nodes" 3 'still being tested'
first=$(newest)
for node in n1 n4; do check "on $node it is a unit of its own" "$(units "$node")" "kfab-$first-$node.service"; done
check "that no session holds" "$(in_node n1 systemctl show -P ControlGroup "kfab-$first-n1.service")" "/system.slice/kfab-$first-n1.service"
run resume "$first"
expect "resume tells how far it is" 3 'still being tested, for'

# 2. One loses its power and boots again, one is killed, one goes on.
booted_power_off "$work/site" n1
run resume "$first"
expect "a node without power is not reached, the others go on" 3 'how far the tests are is not known' 'still being tested'
booted_power_on "$work/site" n1
booted_wait "$work/site" n1 || failures=$((failures + 1))
in_node n2 systemctl kill -s KILL "kfab-$first-n2.service"
run resume "$first" -o json
expect "a node that was started again meanwhile has failed, a killed test has no verdict" 3 KF2115 KF2114 '"state": "restarted"' '"state": "lost"' '"state": "running"'
check "neither is a pass" "$(python3 -c 'import json, sys
print(" ".join(sorted(n["node"] + ":" + n["verdict"] for n in json.load(open(sys.argv[1]))["data"]["nodes"] if n["node"] in ("n1", "n2"))))' "$work/out")" "n1:fail n2:not_judged"
check "no unit is left where it ended" "$(units n1)$(units n2)" ""

# 3. The others come to their end, which is fetched and recorded once.
run resume "$first" --follow -o json
expect "followed to the end" 0 '"state": "done"' '"verdict": "pass"' '!"verdict": "fail"'
run resume "$first"
expect "the answer stands: one failed, one has no verdict, so it is not complete" 3 'Nothing is left' 'of which 1 failed and 1 has no verdict' 'tests it again'
run runs "$first" -o json
expect "the run has its results, of which one is cut" 0 '"nodes": 4' '"done": 3' '"cut": 1' '"left": 0'
records() { python3 - "$work/state/kfab.db" "$first" "$1" << 'PYTHON'
import sqlite3, sys
db = sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True)
print(db.execute("SELECT count(*) FROM node_records n JOIN runs r ON r.seq = n.run WHERE r.id = ? AND n.step = 'validate' AND n.node = ?", sys.argv[2:4]).fetchone()[0])
PYTHON
}
for node in n3 n4; do check "$node is recorded once" "$(records "$node")" 1; done
check "no node still has a unit" "$(for node in "${nodes[@]}"; do units "$node"; done)" ""

verdict "a soak on booted nodes"
