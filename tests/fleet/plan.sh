#!/bin/bash
# Plans on real nodes (this machine, through a pipe): planning writes nothing, exactly the saved plan is applied, a node
# that drifted is refused and its neighbours are not. Usage: plan.sh KFAB
set -u
kfab=$1
work=$(mktemp -d)
failures=0
trap 'rm -rf "$work"' EXIT
export KFAB_STATE_DIR=$work/state HOME=$work/home
mkdir -p "$HOME" "$work/nodes/a" "$work/nodes/b" "$work/nodes/c"

manifest() {
  cat <<YAML
apiVersion: kfab/v1
kind: Site
metadata: {name: here, title: This machine as three nodes, country: KR, as_of: 2026-11-21}
spec:
  kind: edge
  ssh: {transport: local}
  tranches:
    - {name: first, due: 2027-03-31, targets: [{profile: p, nodes: 3, accelerators: 3}], ready_when: {level: quick}}
  nodes:
    - {group: g, tranche: first, profile: p, list: [{name: a, address: localhost}, {name: b, address: localhost}, {name: c, address: localhost}], identity: name}
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
  vars: {greeting: $1}
  resources:
    - {type: file, id: motd, path: "$work/nodes/{{ node.name }}/motd", content: "{{ greeting }} from {{ node.name }}\n", mode: "0644"}
    - {type: directory, id: data, path: "$work/nodes/{{ node.name }}/data", mode: "0750"}
    - {type: file, id: conf, path: "$work/nodes/{{ node.name }}/data/conf", content: "x = 1\n", mode: "0600", after: [data]}
YAML
}
manifest hello > "$work/site.yaml"
echo old > "$work/nodes/b/motd"

# Names, kinds, rights, owners, inodes, times and contents of all that the nodes have.
snapshot() { find "$work/nodes" -printf '%p %y %m %U %G %i %T@ %C@ %s\n' | sort; find "$work/nodes" -type f -exec sha256sum {} + | sort; }

# expect NAME EXIT [PATTERN...]: the last run's exit code, and that each pattern stands in its output.
expect() {
  local name=$1 want=$2 pattern
  shift 2
  if [ "$status" != "$want" ]; then echo "FAIL $name: exit $status instead of $want"; cat "$work/out" "$work/err"; failures=$((failures + 1)); return; fi
  for pattern in "$@"; do
    if ! cat "$work/out" "$work/err" | grep -qE -- "$pattern"; then
      echo "FAIL $name: no line like: $pattern"; cat "$work/out" "$work/err"; failures=$((failures + 1)); return
    fi
  done
  echo "ok   $name"
}
check() { if [ "$2" = "$3" ]; then echo "ok   $1"; else echo "FAIL $1: '$2' is not '$3'"; failures=$((failures + 1)); fi; }
run() { "$kfab" "$@" > "$work/out" 2> "$work/err" < /dev/null; status=$?; }

before=$(snapshot)
run plan "$work/site.yaml"
expect "a plan" 0 'Plan: 9 changes on 3 nodes. Nothing was changed.'
check "a plan writes nothing on a node" "$(snapshot)" "$before"
run provision "$work/site.yaml" --check
expect "a check" 0 'Plan: 9 changes on 3 nodes. Nothing was changed.'
check "a check writes nothing on a node" "$(snapshot)" "$before"
run plan "$work/site.yaml" --exit-code
expect "drift is the answer no" 1

run plan "$work/site.yaml" --out "$work/p.plan"
expect "a plan is saved" 0 'Saved to .*p.plan' 'applies exactly this'
check "saving a plan writes nothing on a node" "$(snapshot)" "$before"
check "a plan is for its owner alone" "$(stat -c %a "$work/p.plan")" 600
run plan "$work/p.plan"
expect "a saved plan is shown" 0 'Plan of here made ' 'hello from b' 'Plan: 9 changes on 3 nodes'
run plan "$work/p.plan" -w a
expect "one node of it" 0 'Plan: 3 changes on 1 node'
run plan "$work/p.plan" -w z
expect "a node that it does not hold" 2 KF3156
run provision "$work/p.plan"
expect "applying asks, and nobody is there" 2 confirmation_missing\|KF1206
check "not asked, nothing done" "$(snapshot)" "$before"

echo "something else" > "$work/nodes/b/motd"
run provision "$work/p.plan" --yes -w b
expect "a node that drifted is refused" 1 'has drifted since the plan: r/motd; nothing was applied, plan again' 'KF3150'
check "the drifted node keeps what it has" "$(cat "$work/nodes/b/motd")$(ls "$work/nodes/b")" "something elsemotd"
run provision "$work/p.plan" --yes
expect "its neighbours are provisioned" 1 'a,c|\[a,c\]' 'has drifted since the plan'
check "as planned" "$(cat "$work/nodes/a/motd" "$work/nodes/c/data/conf")" "$(printf 'hello from a\nx = 1')"
run provision "$work/p.plan" --yes -x b
expect "what is already as planned is no drift" 0 'Done: 0 changes on 2 nodes'
echo old > "$work/nodes/b/motd"
run provision "$work/p.plan" --yes
expect "as it was again, it is provisioned" 0 'Done: 3 changes on 3 nodes'
run plan "$work/site.yaml" --exit-code
expect "then nothing differs" 0 'Plan: 0 changes'

sed 's/hello from a/howdy from a/' "$work/p.plan" > "$work/changed.plan"
run provision "$work/changed.plan" --yes
expect "a plan that was edited is refused" 2 KF3153
head -n 3 "$work/p.plan" > "$work/cut.plan"
run plan "$work/cut.plan"
expect "a plan that was cut is refused" 2 KF3153
cp "$work/site.yaml" "$work/moved.yaml"
manifest howdy > "$work/site.yaml"
run provision "$work/p.plan" --yes
expect "a plan of another manifest is refused" 2 KF3155
run provision "$work/p.plan" --yes --manifest "$work/moved.yaml"
expect "a manifest that has moved is named" 0 'Done: 0 changes on 3 nodes'
run plan "$work/moved.yaml" -w a --out "$work/a.plan"
expect "a plan of one node" 0
run provision "$work/a.plan" --yes -w a,b
expect "a node that the plan does not hold is left alone" 3 'b: unreachable, the plan does not hold this node'

[ $failures = 0 ] || exit 1
