#!/usr/bin/env bash
# A burn-in in pulses that begins on all nodes at the same instant: over the local agent, and beside a node whose clock is wrong.
#   load.sh KFAB BUILD_DIR
set -u
here=$(cd "$(dirname "$0")" && pwd)
kfab=$(realpath "$1") build=$2
# shellcheck source=tests/fleet/sshd.sh
. "$here/sshd.sh"
sshd_binary > /dev/null || { echo "skipped: no sshd"; exit 77; }
work=$(mktemp -d) || exit 1
trap 'sshd_stop "$work/sshd"; rm -rf "$work"' EXIT
export KFAB_STATE_DIR=$work/state HOME=$work/home
mkdir -p "$HOME"
port=$(sshd_start "$work/sshd" "SetEnv LD_PRELOAD=$build/libkfab_fake_clock.so KFAB_FAKE_CLOCK_S=3") || exit 1
cat > "$work/site.yaml" <<YAML
apiVersion: kfab/v1
kind: Site
metadata: {name: here, title: This machine as three nodes, country: KR, as_of: 2026-11-22}
spec:
  kind: edge
  ssh: {user: $(id -un), port: $port, identity_files: [$work/sshd/id_ed25519], known_hosts: [$work/sshd/known_hosts]}
  tranches:
    - {name: first, due: 2027-03-31, targets: [{profile: p, nodes: 3, accelerators: 3}], ready_when: {level: quick}}
  nodes:
    - {group: near, tranche: first, profile: p, list: [{name: near1, address: localhost}, {name: near2, address: localhost}], identity: name, ssh: {transport: local}}
    - {group: ahead, tranche: first, profile: p, list: [{name: ahead, address: 127.0.0.1}], identity: name}
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: p, version: "1", title: a node without accelerators}
spec: {vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW, criteria: c}
---
apiVersion: kfab/v1
kind: Criteria
metadata: {name: c, version: "1", title: "sound bits, and a speed that nothing reaches"}
spec:
  criteria:
    - {id: exact, metric: burnin.gemm_int8.mismatches, device: cpu, unit: count, direction: equal, limit: 0, source: "one wrong bit is a defect"}
    - {id: speed, metric: burnin.gemm_int8.tops, device: cpu, unit: tops, direction: min, limit: 1000000, source: "out of reach, to show that it is not asked for"}
YAML
failures=0
run() { timeout 120 "$kfab" "$@" > "$work/out" 2> "$work/err" < /dev/null; status=$?; }
# check NAME WANTED-EXIT JQ-LIKE PYTHON EXPRESSION over the document d
check() {
  if [ "$status" = "$2" ] && python3 - "$3" "$work/out" <<'PY'
import json, sys
d = json.load(open(sys.argv[2]))["data"]
nodes = {n["node"]: n for n in d["nodes"]}
figure = lambda node, metric: next((m["value"] for m in nodes[node]["measurements"] if m["metric"] == metric), None)
sys.exit(0 if eval(sys.argv[1]) else 1)
PY
  then echo "ok   $1"; else echo "FAIL $1: exit $status instead of $2, or not: $3"; head -c 3000 "$work/out"; cat "$work/err"; failures=$((failures + 1)); fi
}

run burnin "$work/site.yaml" -w near1,near2 --duration 6s --threads 1 --load pulsed --load-period 2s --start-together -o json
check "two nodes begin together and pulse" 0 "d['load']['kind'] == 'pulsed' and d['load']['period_s'] == 2 and d['load']['duty_pct'] == 50 and len(d['load']['start']['clocks']) == 2"
check "each began when it was told to" 0 "all(0 <= figure(n, 'burnin.load.start_late_s') < d['load']['start']['tolerance_s'] for n in nodes)"
check "and worked about half of the time" 0 "all(figure(n, 'burnin.load.asked_pct') == 50 and figure(n, 'burnin.load.off_pct') <= 15 for n in nodes)"
check "its level is no whole one" 0 "all(n['level'] == 'quick (pulsed)' or n['level'] == 'quick (pulsed, shortened)' for n in nodes.values())"
check "what is meant for a steady load is shown and not judged" 0 "all(c['verdict'] == 'not_judged' and not c['counts'] and 'meant for a steady load' in c['reason'] for n in nodes.values() for c in n['criteria_verdicts'] if c['criterion'] == 'speed')"

run burnin "$work/site.yaml" -w near1 --duration 2s --threads 1 -o json
check "under a steady load it is judged" 1 "d['load']['kind'] == 'steady' and d['load']['start'] is None and any(c['criterion'] == 'speed' and c['verdict'] == 'fail' for c in nodes['near1']['criteria_verdicts'])"

run burnin "$work/site.yaml" --duration 6s --threads 1 --load pulsed --load-period 2s --load-duty 60 --start-together -o json
check "a node whose clock is wrong is left out, and says so" 3 "nodes['ahead']['verdict'] == 'not_judged' and nodes['ahead']['code'] == 'KF4070' and 'ahead of' in nodes['ahead']['reasons'][0] and not nodes['ahead']['measurements']"
check "the others are loaded all the same" 3 "nodes['near1']['verdict'] == 'pass' and nodes['near2']['verdict'] == 'pass' and figure('near1', 'burnin.load.asked_pct') == 60"
check "how far it is off is told" 3 "any(c['node'] == 'ahead' and 2.5 < c['offset_s'] < 3.5 for c in d['load']['start']['clocks'])"

usage() {
  local name=$1 want=$2
  shift 2
  run "$@"
  if [ "$status" = 2 ] && grep -q -- "$want" "$work/err"; then echo "ok   $name"; else echo "FAIL $name: exit $status"; cat "$work/err"; failures=$((failures + 1)); fi
}
usage "a load that the time does not hold is not started" KF4072 burnin "$work/site.yaml" -w near1 --duration 3s --load pulsed --load-period 20s
usage "nor nodes that cannot run at the same time" KF4073 burnin "$work/site.yaml" -w near1,near2 --window 1 --start-together
usage "nor in batches" KF4073 burnin "$work/site.yaml" -w near1,near2 --canary 1 --start-together
usage "a pulse's part of a steady load is none" "load-duty" burnin "$work/site.yaml" -w near1 --load-duty 30
[ "$failures" = 0 ]
