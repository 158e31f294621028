#!/bin/bash
# Roles that ask for a reboot before the rest, on nodes that can be rebooted in a second: each is an sshd that is the first
# process of a namespace with a boot id of its own, and `reboot` ends it; whoever started it starts it again, with another id.
# Needs root and namespaces; else it is skipped. Usage: reboots.sh KFAB
set -u
# shellcheck source=tests/fleet/expect.sh
. "$(dirname "$0")/expect.sh"
# shellcheck source=tests/fleet/sshd.sh
. "$(dirname "$0")/sshd.sh"
kfab=$(realpath "$1")
[ "$(id -u)" = 0 ] || { echo "skipped: nodes that reboot need root"; exit 77; }
unshare --mount --pid --fork --mount-proc true 2> /dev/null || { echo "skipped: no namespaces can be made here"; exit 77; }
sshd=$(sshd_binary) || exit 77
work=$(mktemp -d)
export KFAB_STATE_DIR=$work/state HOME=$work/home USER=ana
mkdir -p "$HOME" "$work/bin" "$work/nodes"
nodes=(a b)

# shellcheck disable=SC2317  # called by the trap
finish() {
  local node
  for node in "${nodes[@]}"; do touch "$work/$node.off"; done
  for node in "${nodes[@]}"; do
    kill -9 "$(cat "$work/$node.boot" 2> /dev/null)" 2> /dev/null   # whoever boots it sees that it is off, and ends
  done
  wait 2> /dev/null
  rm -rf "$work"
}
trap finish EXIT

# The system of a node says that it goes down, and does so a little later, as a real one.
cat > "$work/bin/reboot" << 'SCRIPT'
#!/bin/sh
setsid sh -c 'sleep 0.2; kill -TERM 1' > /dev/null 2>&1 < /dev/null &
SCRIPT
chmod 755 "$work/bin/reboot"

# Boots a node again and again, until NODE.off is there; while NODE.held is there it stays down.
boot_forever() {
  local node=$1
  while [ ! -e "$work/$node.off" ]; do
    while [ -e "$work/$node.held" ] && [ ! -e "$work/$node.off" ]; do sleep 0.1; done
    cat /proc/sys/kernel/random/uuid > "$work/$node.id"
    echo boot >> "$work/$node.boots"
    # shellcheck disable=SC2016 # the node's own shell expands it
    unshare --mount --pid --fork --kill-child --mount-proc sh -c 'mount -t tmpfs none /run && mkdir /run/sshd && mount --bind "$1.id" /proc/sys/kernel/random/boot_id && exec "$2" -D -f "$1/sshd_config" -E "$1/log"' \
      boot "$work/$node" "$sshd" &
    echo $! > "$work/$node.boot"
    wait $! 2> /dev/null
  done
}
port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
list=
for i in "${!nodes[@]}"; do
  node=${nodes[$i]} address=127.42.7.$((i + 1))
  sshd_make_keys "$work/$node" && mkdir "$work/nodes/$node" "$work/$node/cache" || exit 1
  sshd_write_config "$work/$node" "$port" "ListenAddress $address" "SetEnv SHLVL=1 KFAB_RECORDS_DIR=$work/$node/records PATH=$work/bin:/usr/sbin:/usr/bin:/sbin:/bin XDG_CACHE_HOME=$work/$node/cache"
  sed -i '/^ListenAddress 127.0.0.1$/d' "$work/$node/sshd_config"
  cat "$work/a/id_ed25519.pub" >> "$work/$node/authorized_keys"
  printf '[%s]:%s %s\n' "$address" "$port" "$(cut -d' ' -f1,2 "$work/$node/host_ed25519.pub")" >> "$work/known_hosts"
  boot_forever "$node" 2> /dev/null &
  list+="{name: $node, address: $address}, "
done
up() { local i; for i in $(seq 1 100); do (exec 3<> "/dev/tcp/127.42.7.$1/$port") 2> /dev/null && return 0; sleep 0.05; done; echo "node $1 does not boot"; return 1; }
up 1 && up 2 || exit 1

site() {   # site FILE RESOURCES: the resources of the role `k`; a role `d` stands behind it
  cat > "$1" << YAML
apiVersion: kfab/v1
kind: Site
metadata: {name: rebooting, title: Two nodes that reboot in a second, country: KR, as_of: 2026-11-21}
spec:
  kind: edge
  ssh: {user: root, port: $port, identity_files: [$work/a/id_ed25519], known_hosts: [$work/known_hosts]}
  tranches:
    - {name: first, due: 2027-03-31, targets: [{profile: p, nodes: 2, accelerators: 2}], ready_when: {level: quick}}
  nodes:
    - {group: g, tranche: first, profile: p, list: [${list%, }]}
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: p, version: "1", title: a node without accelerators}
spec: {vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW, roles: [k, d]}
---
apiVersion: kfab/v1
kind: Role
metadata: {name: k, version: "1"}
spec:
  resources:
    - {type: file, id: kernel, path: "$work/nodes/{{ node.name }}/kernel", content: "new\n", mode: "0644"}
    $2
---
apiVersion: kfab/v1
kind: Role
metadata: {name: d, version: "1"}
spec:
  resources:
    - {type: command, id: driver, run: [sh, -c, "echo ran >> $work/nodes/{{ node.name }}/runs; cat /proc/sys/kernel/random/boot_id > $work/nodes/{{ node.name }}/driver"], creates: "$work/nodes/{{ node.name }}/driver"}
YAML
}
cd "$work" || exit 1
site site.yaml '- {type: reboot, id: reboot, when: changed, after: [kernel]}'
run() { capture timeout -s INT -k 10 60 "$kfab" "$@"; }
boots() { echo "$(wc -l < "$work/a.boots") $(wc -l < "$work/b.boots")"; }
more() { echo "$1" | awk -v n="$2" '{print $1 + n, $2 + n}'; }
fresh() { rm -rf "$work"/nodes/*/*; }
newest() { "$kfab" runs --limit 1 -o json | sed -nE 's/.*"id": "(.*)",/\1/p' | sed -n 2p; }

# 1. Without --reboot nodes stop, and the way on is told and works.
run plan site.yaml
expect "a plan tells the reboot like all else" 0 'Plan: 6 changes on 2 nodes' '2 nodes: reboot before d \(k/kernel is changed by this run\)' 'only with --reboot'
before=$(boots)
run provision site.yaml --yes
run_id=$(newest)
expect "without --reboot nodes stop before it" 3 'Not done: 2 changes on 2 nodes; 2 nodes wait for a reboot' "a,b wait for a reboot before the rest is applied: kfab reboot site.yaml -w a,b --needed, then kfab resume $run_id"
check "what stands before is applied, what stands behind is not" "$(echo nodes/*/*)" "nodes/a/kernel nodes/b/kernel"
check "and nothing was rebooted" "$(boots)" "$before"
run provision site.yaml --yes -o json
expect "in JSON too" 3 '"schema": "kfab.provision/1.4"' '"outcome": "incomplete"' '"status": "waiting"' '"code": "KF3320"' '"resource": "k/reboot"' '"reboots": \[\]' '!"verdict": "pass"'
run reboot site.yaml --needed --yes --canary 2
expect "the reboot that it says, and what was not applied yet is no fault of it" 0 'a,b.* +pass .*1 to apply' '!KF3226'
stopped_id=$(sed -nE 's/.*kfab resume ([0-9]\S*).*/\1/p' "$work/out")
expect "and says how to go on" 0 "a,b have not all applied yet: kfab resume $stopped_id\$"
run resume "$run_id" --yes
expect "and the rest" 0 'Done: 2 changes on 2 nodes'
check "each was rebooted once" "$(boots)" "$(more "$before" 1)"
check "the rest was applied in the boot after" "$(cat nodes/a/driver)" "$(cat a.id)"

# The reboot of one node by its name does the same, and is told for that node alone.
fresh
run provision site.yaml --yes -w a
expect "a hint names the nodes that it is meant for" 3 'a waits for a reboot before the rest is applied: kfab reboot site.yaml -w a --needed, then'
before=$(boots)
run inventory site.yaml
run readiness site.yaml
expect "readiness says the command" 1 'KF3320' 'kfab reboot MANIFEST -w a --needed; it tells'
run reboot site.yaml -w a --yes
expect "a reboot that was waited for is not blamed for the rest" 0 'a .*pass .*1 to apply' '!KF3226' 'a has not all applied yet: kfab resume 20'
check "that one was rebooted, once" "$(boots)" "$(echo "$before" | awk '{print $1 + 1, $2}')"
run resume "$(sed -nE 's/.*kfab resume ([0-9]\S*).*/\1/p' "$work/out")" --yes
expect "and resume does the rest" 0 'Done: 1 change on 1 node'

# 2. With --reboot it is one run, and the next one does nothing.
fresh
before=$(boots)
run provision site.yaml --yes --reboot --canary 2 -o json
expect "with --reboot all is done in one run" 0 '"outcome": "yes"' '"changed": 3' '"back_after_s": [0-9]' '"resource": "k/reboot"' '!"status": "waiting"'
check "each was rebooted once for it" "$(boots)" "$(more "$before" 1)"
check "the rest was applied in the boot after it" "$(cat nodes/b/driver)" "$(cat b.id)"
run provision site.yaml --yes --reboot
expect "a second run changes and reboots nothing" 0 'Done: 0 changes on 2 nodes'
check "indeed" "$(boots)" "$(more "$before" 1)"

# 3. A plan holds its reboots: those are done, and drift is refused all the same.
fresh
run plan site.yaml --out p.plan
expect "a plan is saved with its reboots" 0 '2 nodes: reboot before d'
before=$(boots)
run provision p.plan --yes
expect "applied without --reboot, nodes stop" 3 '2 nodes wait for a reboot'
echo "by hand" > nodes/b/kernel
run resume --yes --reboot
expect "what somebody changed meanwhile is refused, the other node goes on" 1 'a: .*rebooted' 'b: .*' 'has drifted since the plan: k/kernel; nothing was applied'
check "only that one was rebooted" "$(boots)" "$(echo "$before" | awk '{print $1 + 1, $2}')"
check "and only there the rest was applied" "$(echo nodes/*/driver)" nodes/a/driver

# 4. kfab killed with -9, before, during and after the reboots: resume goes on there, and each node is rebooted once.
for moment in before during after; do
  fresh
  site site.yaml "- {type: reboot, id: reboot, when: changed, after: [kernel]}"
  before=$(boots)
  [ $moment != during ] || touch a.held b.held
  "$kfab" provision site.yaml --yes --reboot --canary 2 > out 2> err < /dev/null &
  victim=$!
  for _ in $(seq 1 300); do
    case $moment in
      before) [ ! -e nodes/a/kernel ] || break ;;
      during) ! grep -q . a.boot || [ -d "/proc/$(cat a.boot)" ] || break ;;
      after) [ ! -e nodes/a/driver ] || break ;;
    esac
    sleep 0.02
  done
  kill -9 $victim 2> /dev/null
  wait $victim 2> /dev/null
  rm -f a.held b.held
  run resume --yes
  expect "killed $moment the reboot, resume does the rest" 0
  run plan site.yaml --exit-code
  expect "killed $moment the reboot: nothing differs then" 0 'Plan: 0 changes'
  check "killed $moment the reboot: each was rebooted once" "$(boots)" "$(more "$before" 1)"
  check "killed $moment the reboot: the rest was applied once" "$(cat nodes/a/runs nodes/b/runs | wc -l)" 2
done

# 5. What does not come of the reboot, and a node that does not come back.
fresh
site vain.yaml '- {type: reboot, unless: "false", reason: it never is enough}'
before=$(boots)
run provision vain.yaml --yes --reboot --canary 2
expect "a reboot that changes nothing is not tried again" 1 'KF3321' 'it was rebooted for k/reboot, which asks for it still: it never is enough' '!Done'
check "once each" "$(boots)" "$(more "$before" 1)"
check "nothing behind it was applied" "$(echo nodes/*/driver)" "nodes/*/driver"
fresh
touch b.held
run provision site.yaml --yes --reboot --reboot-timeout 3s --canary 2
rm b.held
expect "a node that does not come back is told, and the other one is done" 1 'a: 3 changed, rebooted' 'KF3221'
up 2 || failures=$((failures + 1))
run resume --yes
expect "when it is back, resume goes on with it alone" 0 'b: ' '!a: '
run provision site.yaml --yes
expect "and all is as declared" 0 'Done: 0 changes on 2 nodes'

verdict "reboots in roles"
