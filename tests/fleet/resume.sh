#!/bin/bash
# kfab killed with -9 in the middle of provisioning, again and again: the lock names the dead process, resume goes on with
# what is left, done nodes are not touched again, and no file is half written. Usage: resume.sh KFAB [KILLS]
set -u
# shellcheck source=tests/fleet/expect.sh
. "$(dirname "$0")/expect.sh"
kfab=$(realpath "$1")
kills=${2:-8}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export KFAB_STATE_DIR=$work/state HOME=$work/home USER=ana
mkdir -p "$HOME" "$work/nodes"
names=(n1 n2 n3 n4 n5 n6)
for name in "${names[@]}"; do mkdir "$work/nodes/$name"; done
list=$(printf '{name: %s, address: localhost}, ' "${names[@]}")

cat > "$work/site.yaml" <<YAML
apiVersion: kfab/v1
kind: Site
metadata: {name: here, title: This machine as six nodes, country: KR, as_of: 2026-11-21}
spec:
  kind: edge
  ssh: {transport: local}
  tranches:
    - {name: first, due: 2027-03-31, targets: [{profile: p, nodes: 6, accelerators: 6}], ready_when: {level: quick}}
  nodes:
    - {group: g, tranche: first, profile: p, list: [${list%, }], identity: name}
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: p, version: "1", title: a node without accelerators}
spec: {vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW, roles: [r]}
---
apiVersion: kfab/v1
kind: Role
metadata: {name: r, version: "1"}
spec:
  resources:
    - {type: file, id: one, path: "$work/nodes/{{ node.name }}/one", content: "{% for i in ['a','b','c','d'] %}{{ i }} of {{ node.name }}\n{% endfor %}", mode: "0644"}
    - {type: command, id: slow, run: [sh, -c, "sleep 0.3; echo ran >> $work/nodes/{{ node.name }}/runs; touch $work/nodes/{{ node.name }}/slow"], unless: "test -e $work/nodes/{{ node.name }}/slow", after: [one]}
    - {type: file, id: two, path: "$work/nodes/{{ node.name }}/two", content: "end\n", mode: "0600", after: [slow]}
YAML

run() { capture "$kfab" "$@"; }
# Starts kfab and kills it after a time; `killed` is its pid.
run_and_kill() {
  local after=$1
  shift
  "$kfab" "$@" > "$work/out" 2> "$work/err" < /dev/null &
  killed=$!
  sleep "$after"
  kill -9 "$killed" 2>/dev/null
  wait "$killed" 2>/dev/null
}
whole() { grep -lx end "$work"/nodes/*/two 2>/dev/null | wc -l; }

cd "$work" || exit 1
run resume
expect "nothing to resume yet" 2 KF3180
run_and_kill 2 provision site.yaml --yes --window 1
run provision "$work/site.yaml" --yes
expect "the lock of a dead process is in the way, and names it" 2 KF3171 "process $killed of ana@" 'kfab resume 20' '--break REASON'
run lock site.yaml --list
expect "it is listed" 0 'that process is dead'
run runs
expect "the run is listed as killed" 0 'killed .*provision site.yaml'
done_before=$(whole)
run resume
expect "resume asks, and nobody is there" 2 KF1206
# From another folder: what was typed is read in the one where it was typed.
cd / || exit 1
for ((i = 0; i < kills; i++)); do
  [ "$(whole)" = ${#names[@]} ] && break
  run_and_kill "0.$((RANDOM % 9))$((RANDOM % 10))" resume --yes
done
run resume --yes
expect "resume after kills" 0
check "every node is as declared" "$(whole)" "${#names[@]}"
check "nodes that were done before were not asked again" "$(for ((i = 1; i <= done_before; i++)); do cat "$work/nodes/n$i/runs"; done | sort | uniq -c | awk '{print $1}')" "$([ "$done_before" = 0 ] || echo "$done_before")"
check "no half-written file is left" "$(find "$work/nodes" -name '.*' -type f | wc -l)" 0
for name in "${names[@]}"; do
  [ "$(cat "$work/nodes/$name/one")" = "$(printf '%s of '"$name"'\n' a b c d)" ] || failed "$name has half a file"
done
run resume
expect "nothing is left then" 0 'Nothing is left of 20.*: [0-9]+ nodes? done'
run plan "$work/site.yaml" --exit-code
expect "nothing differs" 0 'Plan: 0 changes'
run lock "$work/site.yaml" --list
expect "no lock is left" 0 'Nothing is locked'

# A plan goes on as the plan that was reviewed, also when its file is gone.
rm -rf "$work"/nodes/*/*
run plan "$work/site.yaml" --out "$work/p.plan"
run_and_kill 2 provision "$work/p.plan" --yes --window 1
rm "$work/p.plan"
last=$(find "$work/nodes" -maxdepth 1 -name 'n6')
echo other > "$last/one"
run resume --yes
expect "a node that drifted meanwhile is refused, the others go on" 1 'has drifted since the plan: r/one'
check "all but that one" "$(whole)" 5
rm "$last/one"
run resume --yes
expect "as it was again, it goes on" 0
check "all of them" "$(whole)" 6

# Deliberate locks.
run lock "$work/site.yaml" -t first --reason 'RMA of rack 7' --for 1h
expect "a person locks a tranche" 0 'tranche first: locked; held by ana@'
run provision "$work/site.yaml" --yes
expect "who holds it may provision" 0
export USER=bo
run provision "$work/site.yaml" --yes
expect "another may not, and is told who, since when, and why" 2 KF3170 'tranche first is locked, held by ana@.* since 20.*: RMA of rack 7, until'
run lock "$work/site.yaml" -t first --release
expect "nor give it back" 2 KF3170
run lock "$work/site.yaml" --break '  '
expect "breaking needs a reason" 2 KF1205
run lock "$work/site.yaml" -t first --break 'ana is on leave'
expect "but break it, with a reason" 0 'tranche first: broken'
run runs "$("$kfab" runs -o json | sed -nE 's/.*"id": "(.*)",/\1/p' | sed -n 2p)"
expect "which is recorded" 0 'broken by bo@.*: ana is on leave'
run provision "$work/site.yaml" --yes
expect "then it is free" 0
run lock "$work/site.yaml" -t nowhere --reason x
expect "an unknown tranche" 2 KF1251

verdict resume
