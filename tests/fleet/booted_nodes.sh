#!/bin/bash
# Provisioning on Debian nodes that really boot (booted.sh): the roles that need no hardware converge, stay so over a
# reboot, and come through what goes wrong on real nodes. Needs root, systemd-nspawn and debootstrap; else it is skipped.
# Usage: booted_nodes.sh KFAB TREE     TREE is made once and kept
set -u
here=$(cd "$(dirname "$0")" && pwd)
kfab=$1 tree=$2
kills=${KFAB_BOOTED_KILLS:-50}
[ -x "$kfab" ] || { echo "no kfab at $kfab"; exit 1; }
# shellcheck source=tests/fleet/booted.sh
. "$here/booted.sh"
booted_possible || exit 77
booted_base "$tree" ca-certificates curl dmidecode ethtool hwloc iproute2 jq lsof nvme-cli pciutils rsync smartmontools sysstat tmux \
  chrony sudo || { echo "skipped: no Debian tree can be made here"; exit 77; }

work=$(mktemp -d)
failures=0
# shellcheck disable=SC2317  # called by the trap
finish() { booted_stop "$work/site"; rm -rf --one-file-system "$work"; }
trap finish EXIT
trap 'exit 130' INT TERM
booted_start "$work/site" "$tree" 4 || exit 1

manifest() {   # manifest FILE ROLES [ROLE-DOCUMENT...]
  local file=$1 roles=$2
  shift 2
  {
    cat << YAML
apiVersion: kfab/v1
kind: Site
metadata: {name: booted, title: Debian nodes that boot, country: KR, as_of: 2026-11-21}
spec:
  kind: edge
  ssh: {user: root, identity_files: [$work/site/id], known_hosts: [$work/site/known_hosts]}
  tranches:
    - {name: t, due: 2027-03-31, targets: [{profile: p, nodes: 4, accelerators: 4}], ready_when: {level: quick}}
  nodes:
    - group: g
      tranche: t
      profile: p
      list: [{name: n1, address: 10.199.0.11}, {name: n2, address: 10.199.0.12}, {name: n3, address: 10.199.0.13}, {name: n4, address: 10.199.0.14}]
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: p, version: "1", title: a node without accelerators}
spec:
  vendor: cpu
  accelerator: processor
  device: cpu
  per_node: 1
  nameplate: 0.5 kW
  roles: [$roles]
  vars: {operator_keys: "$(cat "$work/site/id.pub")"}
YAML
    for document in "$@"; do printf -- '---\n%s\n' "$document"; done
  } > "$file"
}
roles=base-packages,journald-persistent,limits-and-sysctl,nouveau-blacklist,operator-user,time-chrony
manifest "$work/site.yaml" "$roles"

# run COMMAND [ARG...]: kfab with the state of this test; what it says is kept in out and err.
run() {
  local command=$1
  shift
  booted_run "$work/site" timeout -s INT -k 20 240 "$kfab" "$command" --state "$work/state" "$@" > "$work/out" 2> "$work/err" < /dev/null
  status=$?
}
# expect NAME STATUS [PATTERN...]: of the last run; a pattern that begins with ! must not be there.
expect() {
  local name=$1 want=$2 pattern
  shift 2
  if [ "$status" != "$want" ]; then fail "$name: exit $status instead of $want"; return; fi
  for pattern in "$@"; do
    case $pattern in
      '!'*) ! grep -qE -- "${pattern#!}" "$work/out" "$work/err" || { fail "$name: says ${pattern#!}"; return; } ;;
      *) grep -qE -- "$pattern" "$work/out" "$work/err" || { fail "$name: does not say $pattern"; return; } ;;
    esac
  done
  printf 'ok    %s (%s s)\n' "$name" $SECONDS
}
fail() { echo "FAIL  $1"; tail -n 40 "$work/out"; tail -n 20 "$work/err"; failures=$((failures + 1)); }
check() { if [ "$2" = "$3" ]; then echo "ok    $1"; else echo "FAIL  $1: $2 instead of $3"; failures=$((failures + 1)); fi; }
root() { echo "$work/site/$1/root"; }
# in_node NODE COMMAND...: as root on the node, past kfab.
in_node() {
  local node=$1
  shift
  booted_run "$work/site" ssh -q -i "$work/site/id" -o UserKnownHostsFile="$work/site/known_hosts" -o BatchMode=yes -o ConnectTimeout=5 \
    "root@$(booted_address "$node")" "$@"
}
provision() { run provision "$work/site.yaml" --yes "$@"; }
converges() {   # converges NAME: one run that may change, one that must not
  provision
  expect "$1: a run mends it" 0 '^Done:'
  provision
  expect "$1: and then nothing is left to do" 0 '^Done: 0 changes on 4 nodes'
}
# The state of a node's own files: what is on top of the common tree, without what any login or a running system writes.
written() {
  (cd "$work/site/$1/memory/upper" && find . \( -path ./var/log -o -path ./root/.cache -o -path ./var/lib/systemd -o -path ./var/lib/sudo -o -path ./var/lib/chrony -o -path ./tmp \) -prune -o \
    -printf '%p %y %m %U %G %s %T@ %l\n' | sort)
}

# 1. Planning writes nothing.
run plan "$work/site.yaml"
expect "plan shows what is missing" 0 'n\[1-4\] \(4 nodes, all the same\)' 'Nothing was changed'
written n1 > "$work/before"
run plan "$work/site.yaml"
written n1 > "$work/after"
if cmp -s "$work/before" "$work/after"; then echo "ok    plan writes nothing on a node"
else echo "FAIL  plan wrote:"; diff "$work/before" "$work/after" | head; failures=$((failures + 1)); fi

# 2. It converges, a second run changes nothing, over one connection a node.
provision
expect "the roles converge" 0 '^Done: [1-9][0-9]* changes on 4 nodes'
logins_before=$(grep -c 'Accepted publickey' < <(in_node n1 journalctl -u ssh -o cat --no-pager))
provision
expect "a second run changes nothing" 0 '^Done: 0 changes on 4 nodes' '23 in sync|in sync$'
logins_after=$(grep -c 'Accepted publickey' < <(in_node n1 journalctl -u ssh -o cat --no-pager))
check "a run is one connection" $((logins_after - logins_before)) 2   # the run, and the one that counts
check "chrony is installed and runs" "$(in_node n3 systemctl is-active chrony)" active
check "the operator can use sudo" "$(in_node n2 su - kfab-operator -c "'sudo -n id -u'")" 0

# 3. It holds over a reboot.
boots_before=$(in_node n1 cat /proc/sys/kernel/random/boot_id)
run reboot "$work/site.yaml" --yes --timeout 60s -o json
cp "$work/out" "$work/reboot.json"
expect "all nodes are rebooted and proven" 0 '"boot_id_changed": *true' '"started_after_order": *true' '"changes": *0' '!"boot_id_changed": *false' '!"verdict": *"fail"'
[ "$(in_node n1 cat /proc/sys/kernel/random/boot_id)" != "$boots_before" ] && echo "ok    n1 runs another boot" || { echo "FAIL  n1 was not rebooted"; failures=$((failures + 1)); }
provision
expect "after the reboot nothing is to be done" 0 '^Done: 0 changes on 4 nodes'

# 4. Reboots that are none.
in_node n1 "printf 'r! /etc/security/limits.d/60-kfab.conf\n' > /etc/tmpfiles.d/undo.conf"
run reboot "$work/site.yaml" -w n1 --yes --timeout 60s
expect "what a reboot undoes is told" 1 KF3226 limits:memlock
in_node n1 rm /etc/tmpfiles.d/undo.conf
in_node n2 "ln -sf /dev/null /etc/systemd/system/reboot.target && systemctl daemon-reload"
run reboot "$work/site.yaml" -w n2 --yes --timeout 20s
expect "a node that refuses to reboot says so" 3 KF3220
in_node n2 "rm /etc/systemd/system/reboot.target && systemctl daemon-reload"
in_node n3 'cat > /etc/systemd/system/other-key.service && systemctl enable -q other-key.service' << 'UNIT'
[Unit]
Before=ssh.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'rm -f /etc/ssh/ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key; systemctl disable -q other-key.service'
[Install]
WantedBy=multi-user.target
UNIT
run reboot "$work/site.yaml" -w n3 --yes --timeout 60s
expect "a node that comes back with another host key is not let in" 1 KF2011
sed -i "/^$(booted_address n3) /d" "$work/site/known_hosts"
echo "$(booted_address n3) $(cut -d' ' -f1,2 "$(root n3)/etc/ssh/ssh_host_ed25519_key.pub")" >> "$work/site/known_hosts"
provision -w n1
# One that does not come back: whoever would start the machine again is gone.
kill -STOP "$(cat "$work/site/n4/pid")"
run reboot "$work/site.yaml" -w 'n[1,4]' --yes --timeout 20s --canary 2
kill -CONT "$(cat "$work/site/n4/pid")"
expect "a node that does not come back is told, the other one is done" 1 KF3221 'n4' '(^| )n1 .*pass'
booted_wait "$work/site" n4 || failures=$((failures + 1))
converges "after the reboots"

# 5. What goes wrong on real nodes.
role() {   # role NAME RESOURCES-YAML, indented by four
  printf 'apiVersion: kfab/v1\nkind: Role\nmetadata: {name: %s, version: "1"}\nspec:\n  description: a role of this test\n  resources:\n%s' "$1" "$2"
}
manifest "$work/broken.yaml" "absent-package,dead-service,after-all" \
  "$(role absent-package '    - {type: package, id: nowhere, names: [no-such-package-anywhere]}
    - {type: file, id: waits, path: /etc/waits, content: "x\n", after: [nowhere]}')" \
  "$(role dead-service '    - {type: file, id: unit, path: /etc/systemd/system/dies.service, content: "[Service]\nExecStart=/bin/sh -c \"echo no licence here >&2; exit 3\"\n"}
    - {type: service, id: dies, name: dies.service, state: running, after: [unit]}')" \
  "$(role after-all '    - {type: file, id: done, path: /etc/done-all-the-same, content: "x\n"}')"
run provision "$work/broken.yaml" --yes
expect "a package that does not exist, a service that does not start" 1 'no-such-package-anywhere' 'no licence here' 'waits.*skipped|skipped.*waits' 'n\[1-4\]'
check "what does not hang on them is done" "$(cat "$(root n2)/etc/done-all-the-same")" x
check "what hangs on them is not" "$(ls "$(root n2)/etc/waits" 2> /dev/null)" ""

manifest "$work/locked.yaml" "locked" "$(role locked '    - {type: package, id: p, names: [hwloc], state: absent, lock_timeout_s: 2}')"
in_node n1 "setsid perl -e 'use Fcntl; open F, \">>/var/lib/dpkg/lock-frontend\"; fcntl(F, F_SETLK, my \$l = pack(\"s s x4 q q l x4\", F_WRLCK, 0, 0, 0, 0)) or die; sleep 30' > /dev/null 2>&1 < /dev/null & sleep 1"
run provision "$work/locked.yaml" -w n1 --yes
expect "apt that another process has locked" 1 'lock'
in_node n1 'pkill -x perl'

in_node n2 'rm /etc/security/limits.d/60-kfab.conf; cat /dev/zero > /filler 2> /dev/null; cat /dev/zero > /filler2 2> /dev/null; :'
provision -w n2
expect "a full disk" 1 'space'
check "a full disk leaves no half file" "$(find "$(root n2)/etc/security/limits.d" -type f | wc -l)" 0
in_node n2 'rm -f /filler /filler2'

in_node n3 'rm /etc/modprobe.d/kfab-nouveau.conf; mount --bind /etc/modprobe.d /etc/modprobe.d && mount -o remount,ro,bind /etc/modprobe.d'
provision -w n3
expect "a file system that is read-only" 1 'Read-only file system'
in_node n3 'umount /etc/modprobe.d'

in_node n4 "echo 'kfab-operator ALL=(ALL) PASSWD: ALL' > /etc/sudoers.d/60-kfab-operator"
provision -w n4 --user kfab-operator --become
expect "sudo that refuses" 3 'sudo'
converges "after all of these"

# 6. A node that dies while it is worked on costs itself only.
manifest "$work/slow.yaml" "slow" "$(role slow '    - {type: command, id: wait, run: [sh, -c, "sleep 4; touch /etc/slow-1"], creates: /etc/slow-1}
    - {type: file, id: last, path: /etc/slow-2, content: "x\n", after: [wait]}')"
run_slow() { run provision "$work/slow.yaml" --yes; echo "$status" > "$work/status"; }
run_slow &
slow=$!
sleep 2
booted_power_off "$work/site" n4
wait "$slow"
status=$(cat "$work/status")
expect "a node that loses power in the middle" 3 'n\[1-3\]' 'n4'
check "the others are done" "$(cat "$(root n1)/etc/slow-2" "$(root n3)/etc/slow-2" | tr -d '\n')" xx
booted_power_on "$work/site" n4
booted_wait "$work/site" n4 || failures=$((failures + 1))
run provision "$work/slow.yaml" --yes
expect "the next run finishes it" 0 '^Done:'
check "all of it" "$(cat "$(root n4)/etc/slow-2")" x

# 7. kfab itself is killed at any moment: no half file, and the next run finishes.
undo='rm -f /etc/security/limits.d/60-kfab.conf /etc/modprobe.d/kfab-nouveau.conf /etc/chrony/chrony.conf /etc/sysctl.d/60-kfab.conf /etc/systemd/journald.conf.d/60-kfab.conf; systemctl stop chrony; :'
for node in n1 n2 n3 n4; do
  (cd "$(root $node)/etc" && sha256sum security/limits.d/60-kfab.conf modprobe.d/kfab-nouveau.conf chrony/chrony.conf systemd/journald.conf.d/60-kfab.conf) > "$work/$node.sums"
done
half=0 killed=0
for _ in $(seq 1 "$kills"); do
  undoing=()
  for node in n1 n2 n3 n4; do in_node $node "$undo" & undoing+=($!); done
  wait "${undoing[@]}"
  (exec nsenter --net="/run/netns/$(cat "$work/site/net")" "$kfab" provision --state "$work/state" "$work/site.yaml" --yes > /dev/null 2>&1 < /dev/null) &
  victim=$!
  sleep "$(printf '0.%03d' $((RANDOM % 900)))"
  # nsenter becomes kfab, so its pid is the one to kill. What it had locked stays locked, and is let go deliberately.
  kill -9 "$victim" 2> /dev/null && killed=$((killed + 1))
  wait "$victim" 2> /dev/null
  run lock "$work/site.yaml" -t t --break 'killed by this test'
  sleep 0.3
  for node in n1 n2 n3 n4; do
    (cd "$(root $node)/etc" && sha256sum -c --quiet --ignore-missing "$work/$node.sums" > /dev/null 2>&1) || {
      # With no file there at all sha256sum is not content either.
      [ -z "$(cd "$(root $node)/etc" && awk '{print $2}' "$work/$node.sums" | xargs ls 2> /dev/null)" ] || half=$((half + 1))
    }
  done
done
check "no file is half written after $killed of $kills kills" "$half" 0
converges "after kfab was killed $killed times"
left=$(for node in n1 n2 n3 n4; do find "$(root $node)/etc" -newer "$work/n1.sums" -name '.*kfab*' -o -newer "$work/n1.sums" -name '*.kfab-*'; done | wc -l)
check "nothing temporary is left" "$left" 0

echo
if [ $failures -eq 0 ]; then echo "booted nodes: all as expected"; else echo "booted nodes: $failures failed"; exit 1; fi
