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
export KFAB_RECORDS_DIR=$work/records KFAB_STATE_DIR=$work/state HOME=$work/home USER=ana
mkdir -p "$HOME" "$work/nodes"
names=(n1 n2 n3 n4 n5 n6)
for name in "${names[@]}"; do mkdir "$work/nodes/$name"; done
list=$(printf '{name: %s, address: localhost}, ' "${names[@]:0:5}")

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
    - {group: alone, tranche: first, profile: p, list: [{name: n6, address: 127.0.0.1}]}
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: p, version: "1", title: a node without accelerators}
spec: {vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW, roles: [r], criteria: c}
---
apiVersion: kfab/v1
kind: Criteria
metadata: {name: c, version: "1", title: nothing but sound bits}
spec:
  criteria:
    - {id: no-memory-error, metric: memory.errors, device: cpu, unit: count, direction: equal, limit: 0, source: "memory that works"}
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
# The id of the newest run; the first in the document is that of the question itself.
newest() { "$kfab" runs --limit 1 -o json | sed -nE 's/.*"id": "(.*)",/\1/p' | sed -n 2p; }
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
first=$(newest)
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
expect "nothing is left then" 0 'Nothing is left of 20.*: 6 nodes done, on record: 6 pass'
# The runs are one chain: whichever is named, all that was done counts, and the first one is known to be gone on with.
before=$(cat "$work"/nodes/*/runs | wc -l)
run resume "$first"
expect "the first run is answered by what the later ones did" 0 "Nothing is left of $first: 6 nodes done, on record: 6 pass" "The runs that it took: $first, then 20"
check "and no node is touched" "$(cat "$work"/nodes/*/runs | wc -l)" "$before"
run runs
expect "runs tells that it is continued, and by which" 0 'CONTINUED BY' "^$first .*continued .* 6 +0  20.*provision site.yaml"
run runs "$first"
expect "and so does it of one" 0 "Runs that go on with each other: $first, then 20"
next=$(sed -nE "s/.*each other: $first, then ([^,]*).*/\1/p" "$work/out")
run runs "$first" -o json
expect "in JSON as well" 0 '"schema": "kfab.runs/1.2"' '"state": "continued"' '"continues": null' "\"continued_by\": \"$next\"" '"done": 6' '"left": 0'
run runs "$next" -o json
expect "from the other side too" 0 "\"continues\": \"$first\""
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

# Tests that are watched: what had come to its end before the kill is kept, and only the others are tested by resume.
export KFAB_STATE_DIR=$work/tests
tests=(validate "$work/site.yaml" --level quick --duration 1s --threads 1 --memory-cap 16 --window 1 --yes)
"$kfab" "${tests[@]}" > "$work/out" 2> "$work/err" < /dev/null &
killed=$!
tested() { "$kfab" runs --limit 1 -o json 2> /dev/null | sed -nE 's/.*"done": ([0-9]+),/\1/p'; }
for _ in $(seq 1 300); do [ "$(tested)" -ge 2 ] 2> /dev/null && break; sleep 0.05; done
kill -9 "$killed" && wait "$killed" 2> /dev/null
id=$(newest)
ended=$(tested)
run runs "$id"
expect "the nodes that were tested before the kill are kept" 0 "^$id .*killed +6 +$((6 - ended)) " 'not ended'
run resume -o json
expect "resume tests the others, and judges all" 0 '"schema": "kfab.validate/1.3"' '"not_judged": 0'
check "all six are in the answer" "$(grep -oE '"node": "n[1-6]"' "$work/out" | sort -u | wc -l)" 6
new=$(newest)
run runs "$new" -o json
expect "only those that were left were tested" 0 "\"continues\": \"$id\"" "\"nodes\": $((6 - ended)),"
run resume "$id"
expect "then it is told as one" 0 "Nothing is left of $id: 6 nodes done, on record: 6 " "$id, then $new"
run resume
expect "tests that are over are not gone on with unasked, and are named" 0 "Nothing is gone on with. The newest run, $new, ended with yes: kfab resume"
run resume --follow
expect "nor were any left to nodes" 2 KF3180
"$kfab" "${tests[@]}" > "$work/out" 2> "$work/err" < /dev/null &
killed=$!
for _ in $(seq 1 300); do [ "$(tested)" = 1 ] && break; sleep 0.05; done
kill -9 "$killed" && wait "$killed" 2> /dev/null
cp "$work/site.yaml" "$work/site.was"
sed -i -e '/group: alone/d' -e 's/, {name: n5, address: localhost}//' "$work/site.yaml"
run resume
expect "names that share one machine are fewer now: said, with what to do" 2 KF3240 'when the run was started 5 names shared one machine .*, now 4 do' 'to test them anew instead: kfab [a-z]+ .*site.yaml -w'
cp "$work/site.was" "$work/site.yaml"
sed -i '/group: alone/d' "$work/site.yaml"
run resume
expect "a node that is not selected any more is left out, and is told" 3 KF3240 n6
cp "$work/site.was" "$work/site.yaml"
export KFAB_RECORDS_DIR=$work/records KFAB_STATE_DIR=$work/state

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
