#!/bin/bash
# Tests that are left to the nodes: they outlive kfab and its connections, tell how far they are, and are fetched and judged
# once. Over a real sshd and on this machine. Usage: soak.sh KFAB
set -u
here=$(cd "$(dirname "$0")" && pwd)
kfab=$(realpath "$1")
# shellcheck source=tests/fleet/sshd.sh
. "$here/sshd.sh"
sshd_binary > /dev/null || { echo "skipped: no sshd"; exit 77; }
work=$(mktemp -d)
failures=0
export KFAB_STATE_DIR=$work/state HOME=$work/home USER=ana KFAB_JOBS_DIR=$work/jobs
mkdir -p "$HOME"
# shellcheck disable=SC2317  # called by the trap
finish() {
  local folder
  for folder in "$work"/jobs/*/; do [ -d "$folder" ] && : > "${folder}stop"; done
  sleep 1
  sshd_stop "$work/sshd"
  rm -rf "$work"
}
trap finish EXIT
port=$(sshd_start "$work/sshd" "SetEnv KFAB_JOBS_DIR=$work/jobs SHLVL=1") || exit 1

cat > "$work/site.yaml" <<YAML
apiVersion: kfab/v1
kind: Site
metadata: {name: here, title: This machine as three nodes, country: KR, as_of: 2026-11-21}
spec:
  kind: edge
  ssh: {user: $(id -un), port: $port, identity_files: [$work/sshd/id_ed25519], known_hosts: [$work/sshd/known_hosts]}
  tranches:
    - {name: first, due: 2027-03-31, targets: [{profile: p, nodes: 3, accelerators: 3}], ready_when: {level: soak}}
  nodes:
    - {group: far, tranche: first, profile: p, list: [{name: far1, address: 127.0.0.1}, {name: far2, address: 127.0.0.1}], identity: name}
    - {group: near, tranche: first, profile: p, list: [{name: near, address: localhost}], identity: name, ssh: {transport: local}}
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: p, version: "1", title: a node without accelerators}
spec: {vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW, criteria: c}
---
apiVersion: kfab/v1
kind: Criteria
metadata: {name: c, version: "1", title: nothing but sound bits}
spec:
  criteria:
    - {id: no-memory-error, metric: memory.errors, device: cpu, unit: count, direction: equal, limit: 0, source: "memory that works"}
    - {id: peers, metric: bandwidth.stream_copy_gbps, device: cpu, unit: gbps, basis: fleet_relative, direction: min, limit: 3, on_missing: skip, source: "like its peers"}
YAML

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
pid_of() { sed 's/.*"pid": *\([0-9]*\).*/\1/' "$1/state" 2> /dev/null; }
running() {   # how many jobs have a living process, which a zombie is not
  local folder n=0
  for folder in "$work"/jobs/*/; do
    grep -q '^State:[[:space:]]*[RSD]' "/proc/$(pid_of "$folder")/status" 2> /dev/null && n=$((n + 1))
  done
  echo "$n"
}
settle() { local _; for _ in $(seq 1 600); do [ "$(running)" = "$1" ] && return 0; sleep 0.1; done; return 1; }
soak=(validate "$work/site.yaml" --duration "${SOAK_S:-6}s" --threads 1 --memory-cap 16 --yes)

# A soak comes back when it has begun, and goes on without kfab and without a connection.
run "${soak[@]}" -o json
expect "a soak begins and is left to the nodes" 3 '"state": "running"' '"verdict": "not_judged"' '"left_s": [0-9]' '"level": "soak'
first=$(sed -n 's/.*"id": "\([0-9TZ]*-[0-9a-f]*\)".*/\1/p' "$work/out" | head -n 1)
check "all three are at work" "$(running)" 3
check "and none of their connections is open" "$(sshd_descendants "$(cat "$work/sshd/pid")" | wc -w)" 0
run resume
expect "resume tells how far they are" 3 'still being tested, for' "kfab resume $first"
run validate "$work/site.yaml" -w near --level quick --duration 2s --detach --yes
expect "tests of another run are not started beside them" 3 'KF2112' "$first"
run validate "$work/site.yaml" -w near --level quick --duration 2s --yes -o json
expect "nor such that are watched" 3 'KF2112' "$first"
run resume
expect "and resume still means those that are at work" 3 "kfab resume $first"
run inventory "$work/site.yaml"
run readiness "$work/site.yaml"
expect "nothing counts before its end, and the run that has begun it is named" 1 'accepted +not_judged' "the tests that the run $first left to it are not fetched" 'KF5027' 'kfab resume'
run resume "$first" --follow -o json
expect "followed to the end" 0 '"state": "done"' '"verdict": "pass"' '"memory.errors"'
check "no node still runs" "$(running)" 0
run resume "$first"
expect "fetched once" 0 'Nothing is left'
run runs "$first" -o json
expect "the run has its results, and names the run that asked after them" 0 '"nodes": 3' '"done": 3' '"left": 0' '"continued_by": "[0-9]'
fetcher=$("$kfab" runs -o json | tr -d '\n' | grep -oE '"id": "[0-9TZ]*-[0-9a-f]*", *"command": "resume"' | head -n 1 | sed 's/"id": "\([^"]*\)".*/\1/')
run runs "$fetcher"
expect "the run that fetched them names the one that began them" 0 "Runs that go on with each other: $first, then .*$fetcher"
run resume "$fetcher"
expect "and stands for it" 0 "Nothing is left of $first"

# kfab dies by -9 while it starts them: what began is known, what did not is told.
"$kfab" "${soak[@]}" > "$work/out" 2> "$work/err" < /dev/null &
victim=$!
for _ in $(seq 1 300); do [ "$(running)" -ge 1 ] && break; sleep 0.02; done
kill -9 "$victim"; wait "$victim" 2> /dev/null
settle 0
sleep 3
run resume -o json
[ "$status" = 3 ] && grep -q '"state": "unknown"' "$work/out" && status=0   # a node that it did not come to
expect "after kill -9 of kfab nothing is lost" 0 '"state": "done"' '"verdict": "pass"'
# What was fetched late was not measured late.
younger=0 seen=0
for node in far1 far2 near; do
  folder=$(for one in "$work"/jobs/*-"$node"; do echo "$one"; done | tail -n 1)
  grep -q '"type": *"done"' "$folder/messages" 2> /dev/null || continue
  "$kfab" judge "$work/site.yaml" -w "$node" --dry-run -o json > "$work/judged" 2> /dev/null
  at=$(sed -n 's/.*"measured_at": "\([^"]*\)".*/\1/p' "$work/judged" | head -n 1)
  grep -q "\"evidence_run\": \"$(basename "$folder" "-$node")\"" "$work/judged" || continue   # a node that the run did not come to
  seen=$((seen + 1))
  [ "$(date -d "$at" +%s)" -le "$(($(stat -c %Y "$folder/messages") + 1))" ] || younger=$((younger + 1))
done
check "at least one was fetched" "$((seen > 0))" 1
check "and is as old as its end" "$younger" 0

# What is fetched in two rounds is held beside each other all the same.
run "${soak[@]}" -w 'far1,near'
for folder in "$work"/jobs/*-near/; do held=$(pid_of "$folder"); done   # the newest
kill -STOP "$held"
settle 0
run resume
expect "one of two is done" 3 'pass' 'still being tested'
kill -CONT "$held"
settle 1; settle 0
run resume -o json
expect "and so is the other, beside the first" 0 '"state": "done"' '"verdict": "pass"' '"accelerators": 2'

# What ends badly is told, and is never a pass.
run "${soak[@]}" -w 'far1,near'
expect "two more begin" 3 'still being tested'
for folder in "$work"/jobs/*-near/; do kill -9 "$(pid_of "$folder")" 2> /dev/null; done
for folder in "$work"/jobs/*-far1/; do
  if kill -9 "$(pid_of "$folder")" 2> /dev/null; then sed -i 's/"boot_id": *"[^"]*"/"boot_id":"another"/' "${folder}state"; fi
done
run resume -o json
expect "a process that was killed, and a node that was started again" 3 'KF2114' 'KF2115' '"state": "lost"' '"state": "restarted"' '"verdict": "fail"' '"verdict": "not_judged"'

SOAK_S=600
run validate "$work/site.yaml" -w near --level soak --duration 600s --threads 1 --memory-cap 16 --yes
expect "a long one begins" 3 'about (9|1[0-9]) min|min [0-9]+ s left'
run resume --stop -o json
expect "and is ended" 3 'KF2106' 'asked to stop' '"verdict": "not_judged"'
check "nothing is left at work" "$(running)" 0
cut=$("$kfab" runs --limit 2 -o json | sed -nE 's/.*"id": "(.*)",/\1/p' | tail -n 1)
run runs "$cut" -o json
expect "a node that was stopped is not told as done" 0 '"done": 0' '"cut": 1' '"left": 0' '"cut_nodes": \[' 'asked to stop'
run runs "$cut"
expect "and how to test it is said" 0 'LEFT +CUT' 'near: .*asked to stop' "kfab validate MANIFEST -w 'near'"
run resume --stop
expect "there is nothing left to stop, and the answer stands" 3 'Nothing is left'
run validate "$work/site.yaml" -w near --detach --attach
expect "--detach and --attach exclude each other" 2 'exclude each other'
run validate "$work/site.yaml" -w near --attach --duration 2s --threads 1 --memory-cap 16
expect "a soak that is watched" 0 'pass'

[ "$failures" = 0 ] && echo "all as expected"
exit "$failures"
