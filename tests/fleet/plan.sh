#!/bin/bash
# Plans on real nodes (this machine, through a pipe): planning writes nothing, exactly the saved plan is applied, a node
# that drifted is refused and its neighbours are not. Usage: plan.sh KFAB
set -u
# shellcheck source=tests/fleet/expect.sh
. "$(dirname "$0")/expect.sh"
kfab=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export KFAB_RECORDS_DIR=$work/records KFAB_STATE_DIR=$work/state HOME=$work/home
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

run() { capture "$kfab" "$@"; }

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

# Roles and resources that only so many nodes apply at once: two in the same place at the same time would meet.
narrow() {   # narrow FILE CONCURRENCY-OF-THE-ROLE CONCURRENCY-OF-THE-RESOURCE
  cat > "$1" << YAML
apiVersion: kfab/v1
kind: Site
metadata: {name: narrow, title: This machine as six nodes, country: KR, as_of: 2026-11-21}
spec:
  kind: edge
  ssh: {transport: local}
  tranches:
    - {name: first, due: 2027-03-31, targets: [{profile: p, nodes: 6, accelerators: 6}], ready_when: {level: quick}}
  nodes:
    - {group: g, tranche: first, profile: p, list: [{name: n1, address: localhost}, {name: n2, address: localhost}, {name: n3, address: localhost}, {name: n4, address: localhost}, {name: n5, address: localhost}, {name: n6, address: localhost}], identity: name}
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: p, version: "1", title: a node without accelerators}
spec: {vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW, roles: [mirrored, free]}
---
apiVersion: kfab/v1
kind: Role
metadata: {name: mirrored, version: "1"}
spec:
  $2
  resources:
    - {type: command, id: enter, run: [sh, -c, "mkdir $work/in-the-role && touch $work/{{ node.name }}.enter"], creates: "$work/{{ node.name }}.enter"}
    - {type: command, id: stay, run: [sh, -c, "sleep 0.5; touch $work/{{ node.name }}.stay"], creates: "$work/{{ node.name }}.stay", after: [enter]}
    - {type: command, id: leave, run: [sh, -c, "rmdir $work/in-the-role && touch $work/{{ node.name }}.leave"], creates: "$work/{{ node.name }}.leave", after: [stay]}
---
apiVersion: kfab/v1
kind: Role
metadata: {name: free, version: "1"}
spec:
  resources:
    - {type: command, id: alone, run: [sh, -c, "mkdir $work/in-the-resource && sleep 0.3 && rmdir $work/in-the-resource && touch $work/{{ node.name }}.resource"], creates: "$work/{{ node.name }}.resource"$3}
YAML
}
narrow "$work/wide.yaml" "" ""
run provision "$work/wide.yaml" --yes
expect "without a limit nodes meet" 1 'File exists'
rm -rf "$work"/n?.* "$work"/in-the-*
narrow "$work/narrow.yaml" "concurrency: 1" ", concurrency: 1"
run plan "$work/narrow.yaml" --out "$work/narrow.plan"
expect "plan says how many at a time" 0 'mirrored is applied on 1 node at a time' 'free/alone is applied on 1 node at a time'
run provision "$work/narrow.yaml" --yes -w 'n[1-5]' --timeout 3s
expect "with one each goes alone, and waiting costs none of its time" 0 'Done: 20 changes on 5 nodes'
run provision "$work/narrow.plan" --yes
expect "a saved plan keeps the pace" 0 'Done: 4 changes on 6 nodes'
run plan "$work/narrow.plan" -o json
expect "and tells it" 0 '"turns": \[' '"name": *"mirrored"' '"limit": *1'
# A site says it for itself, whatever its roles do.
rm -rf "$work"/n?.*
sed 's/^  kind: edge$/  kind: edge\n  concurrency: {mirrored: any, free: 2, free\/alone: 3}/' "$work/narrow.yaml" > "$work/own.yaml"
run plan "$work/own.yaml"
expect "the site's own limits stand over the roles'" 0 'free is applied on 2 nodes at a time' 'free/alone is applied on 3 nodes at a time'
check "and one that it lifts is gone" "$(grep -c 'mirrored is applied' "$work/out")" 0
sed 's/mirrored: any/mirored: 2/; s/free\/alone: 3/free\/alnoe: 3/; s/free: 2/free: 0/' "$work/own.yaml" > "$work/wrong.yaml"
run lint "$work/wrong.yaml"
expect "what it names must be there" 1 "no profile of this site has a role 'mirored'" "the role free has no resource 'alnoe'" 'from 1 to 1000000' 'mirrored\?|did you mean'
sed 's/concurrency: 1$/concurrency: 0/' "$work/narrow.yaml" > "$work/none.yaml"
run lint "$work/none.yaml"
expect "none at a time is refused" 1 'from 1 to 1000000'

verdict plan
