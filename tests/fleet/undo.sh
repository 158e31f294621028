#!/bin/bash
# Roles applied and taken back on this machine as several nodes: bytes, modes and owners are what they were; what somebody
# changed since is left alone and told; kfab killed in the middle of an undo, again and again, leaves nothing half and resume
# goes on. Usage: undo.sh KFAB [KILLS]
set -u
# shellcheck source=tests/fleet/expect.sh
. "$(dirname "$0")/expect.sh"
kfab=$(realpath "$1")
kills=${2:-6}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export KFAB_RECORDS_DIR=$work/records KFAB_STATE_DIR=$work/state HOME=$work/home USER=ana
mkdir -p "$HOME" "$work/nodes"
site=undo-$(basename "$work" | tr '[:upper:]' '[:lower:]' | tr -dc a-z0-9)   # what is written down on this machine is kept apart by it
names=(n1 n2 n3 n4 n5 n6)
list=$(printf '{name: %s, address: localhost}, ' "${names[@]:0:5}")

fill() {
  local node=$work/nodes/$1
  mkdir -p "$node/dir"
  chmod 0750 "$node/dir"
  printf 'Port 22\nRoot yes\nlast line without its end' > "$node/conf"
  printf 'before kfab\n' > "$node/was"
  printf 'goes away\n' > "$node/gone"
  ln -s /old/target "$node/link"
  chmod 0640 "$node/was"
  chmod 0600 "$node/gone"
}
for name in "${names[@]}"; do fill "$name"; done
# Everything that undoing must bring back: names, kinds, modes, owners, targets and bytes.
tree() { (cd "$work/nodes" && find . -printf '%p %y %m %U %G %l\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum); }

at="$work/nodes/{{ node.name }}"
cat > "$work/site.yaml" <<YAML
apiVersion: kfab/v1
kind: Site
metadata: {name: $site, title: This machine as six nodes, country: KR, as_of: 2026-11-21}
spec:
  kind: edge
  ssh: {transport: local}
  tranches:
    - {name: first, due: 2027-03-31, targets: [{profile: p, nodes: 6, accelerators: 6}], ready_when: {level: quick}}
  nodes:
    - {group: g, tranche: first, profile: p, list: [${list%, }], identity: name}
    - {group: alone, tranche: first, profile: p, list: [{name: n6, address: 127.0.0.1}], identity: name}
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: p, version: "1", title: a node without accelerators}
spec: {vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW, roles: [base, tuning, tool], criteria: c}
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
metadata: {name: base, version: "1"}
spec:
  resources:
    - {type: directory, id: deep, path: "$at/a/b/c", mode: "0710"}
    - {type: file, id: in, path: "$at/a/b/c/in", content: "of {{ node.name }}\n", mode: "0604"}
    - {type: file, id: was, path: "$at/was", content: "by kfab\n", mode: "0644"}
    - {type: file, id: gone, path: "$at/gone", state: absent}
    - {type: file, id: link, path: "$at/link", link_to: /new/target}
    - {type: directory, id: dir, path: "$at/dir", mode: "0700"}
---
apiVersion: kfab/v1
kind: Role
metadata: {name: tuning, version: "1"}
spec:
  resources:
    - {type: line, id: root, path: "$at/conf", line: "Root no", match: "^Root "}
    - {type: line, id: log, path: "$at/conf", line: "Log high"}
---
apiVersion: kfab/v1
kind: Role
metadata: {name: tool, version: "1"}
spec:
  resources:
    - {type: command, id: run, run: [touch, "$at/made"], creates: "$at/made"}
YAML

same() { tree > "$work/now"; check "$1" "$(diff "$2" "$work/now")" ""; }
run() { capture "$kfab" "$@"; }
cd "$work" || exit 1
tree > "$work/before"

run undo site.yaml --check
expect "the roles must be named" 2 '\-\-role'
run undo site.yaml --role tunin --check
expect "a role that is not there is no undo of nothing" 2 KF3307 tuning
run undo site.yaml --role base --check
expect "nothing was applied yet" 0 'nothing to undo' 'Plan: 0 changes on 6 nodes. Nothing was changed.'
run provision site.yaml --yes
expect "applied" 0 'Done: 54 changes on 6 nodes'
tree > "$work/applied"

run undo site.yaml --role base,tuning --check
expect "what would be undone, folded" 0 'Plan: 48 changes on 6 nodes. Nothing was changed.' 'tuning/root' '^6 nodes: the same 8 changes|6 nodes: 48 changes' 'before kfab'
same "looking changes nothing" "$work/applied"
run undo site.yaml --role base
expect "asks, and nobody is there" 2 KF1206
run undo site.yaml --role base --check -o json
expect "as JSON" 0 '"schema": "kfab.undo/1.0"' '"mode": "plan"' '"would_change": 6' '"base"'

# One role of three; what others wrote into the same file meanwhile stays.
printf 'by hand\n' >> "$work/nodes/n2/conf"
run undo site.yaml --role tuning --yes
expect "one role" 0 'Done: 12 changes on 6 nodes'
check "lines are as they were" "$(cat "$work/nodes/n1/conf")" "$(printf 'Port 22\nRoot yes\nlast line without its end')"
check "what was added by hand is there" "$(tail -n 1 "$work/nodes/n2/conf")" "by hand"
check "and kfab's lines are not" "$(grep -c 'Log high\|Root no' "$work/nodes/n2/conf")" 0
check "the other roles are untouched" "$(cat "$work/nodes/n1/was")" "by kfab"
run inventory site.yaml
run readiness site.yaml -o json
expect "the nodes are not provisioned any more" 1 'undone since it was provisioned'
run undo site.yaml --role tuning --yes
expect "a second time there is nothing" 0 'Done: 0 changes on 6 nodes'

# Somebody changed what kfab had left: refused there, and only there.
echo "somebody's" > "$work/nodes/n3/was"
echo theirs > "$work/nodes/n4/a/b/c/theirs"
run undo site.yaml --role base --yes
expect "what was changed since is refused" 1 'KF3300' 'n3/was is not as kfab left it' 'KF3303' 'n4/a/b/c is not removed' 'Not done'
check "it is left as it is" "$(cat "$work/nodes/n3/was")" "somebody's"
check "the rest of that node is undone" "$(readlink "$work/nodes/n3/link")" /old/target
check "nobody's files are removed" "$(cat "$work/nodes/n4/a/b/c/theirs")" theirs
echo 'by kfab' > "$work/nodes/n3/was"
rm "$work/nodes/n4/a/b/c/theirs"
run undo site.yaml --role base --yes
expect "as it was left again, it is undone" 0 'Done: 2 changes on 6 nodes'
run undo site.yaml --role tool --yes
expect "what a command did is not taken back, and that is said" 0 KF3302 '6 resources cannot be undone'
rm "$work"/nodes/*/made
sed -i '/^by hand$/d' "$work/nodes/n2/conf"
printf 'Port 22\nRoot yes\nlast line without its end' > "$work/nodes/n2/conf"   # sed had ended the last line
same "all is as it was before kfab" "$work/before"

# Killed in the middle, again and again.
run provision site.yaml --yes
expect "applied again" 0
for ((i = 0; i < kills; i++)); do
  if [ "$i" = 0 ]; then words=(undo site.yaml --role "base,tuning" --yes --window 1); else words=(resume --yes); fi
  "$kfab" "${words[@]}" > "$work/out" 2> "$work/err" < /dev/null &
  killed=$!
  # The first time once it has begun: the first of the nodes is being undone, and the others wait.
  for ((t = 0; i == 0 && t < 600; t++)); do [ "$(readlink "$work/nodes/n1/link")" = /old/target ] && break; sleep 0.05; done
  [ "$i" = 0 ] || sleep "0.$((RANDOM % 6))$((RANDOM % 10))"
  kill -9 "$killed" 2> /dev/null
  wait "$killed" 2> /dev/null
done
run resume --yes
expect "resume comes to the end" 0
rm "$work"/nodes/*/made
same "all is as it was before kfab, after all those kills" "$work/before"
check "no half-written file is left" "$(find "$work/nodes" -name '*.kfab-*' | wc -l)" 0
run undo site.yaml --role base,tuning,tool --yes
expect "nothing is left to undo but what a command did" 0 'Done: 0 changes'
verdict undo
