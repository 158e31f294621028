#!/bin/bash
# Provisioning of Debian nodes that really boot (booted.sh) comes through what goes wrong on real nodes and on the control
# host: packages, services, locks, disks, sudo, a node that loses power, and kfab killed with -9 at random moments, after
# which `kfab resume` goes on. Needs root, systemd-nspawn and debootstrap; else it is skipped.
# Usage: booted_faults.sh KFAB TREE     TREE is made once and kept; KFAB_BOOTED_KILLS says how often kfab is killed
set -u
# shellcheck source=tests/fleet/booted_site.sh
. "$(dirname "$0")/booted_site.sh"
kills=${KFAB_BOOTED_KILLS:-50}
manifest "$work/site.yaml" base-packages,journald-persistent,limits-and-sysctl,nouveau-blacklist,operator-user,time-chrony
provision
expect "the roles converge" 0 '^Done: [1-9][0-9]* changes on 4 nodes'

# 1. What goes wrong on real nodes.
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

# 2. A node that dies while it is worked on costs itself only.
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
run resume --yes
expect "resume finishes it" 0 '^Done: .* on 1 node'
check "all of it" "$(cat "$(root n4)/etc/slow-2")" x

# 3. kfab itself is killed at any moment. Before each time what the roles made is taken away again, a package among it, so
# that there is work of every kind. Then: no file is half written, nothing is left running on the nodes after 15 s, and
# resume goes on to the end, with provision only where the run had not begun.
provision
expect "before kfab is killed all is as declared" 0 '^Done:'
files="security/limits.d/60-kfab.conf modprobe.d/kfab-nouveau.conf chrony/chrony.conf systemd/journald.conf.d/60-kfab.conf sudoers.d/60-kfab-operator"
shared=sysctl.d/60-kfab.conf   # each sysctl has its line in it: between two of them it holds some, all of them whole
for node in "${nodes[@]}"; do
  (cd "$(root "$node")/etc" && sha256sum $files $shared) > "$work/$node.sums"
  cp "$(root "$node")/etc/$shared" "$work/$node.shared"
done
undo="cd /etc && rm -f $files $shared; systemctl stop chrony; dpkg --purge --force-all tmux > /dev/null 2>&1; :"
half_files() {
  local node
  for node in "${nodes[@]}"; do
    (cd "$(root "$node")/etc" && sha256sum -c --quiet --ignore-missing "$work/$node.sums" 2> /dev/null | grep FAILED | grep -v "^$shared:")
    if [ -e "$(root "$node")/etc/$shared" ]; then
      [ -z "$(tail -c 1 "$(root "$node")/etc/$shared")" ] || echo "$shared: ends within a line"
      grep -vxFf "$work/$node.shared" "$(root "$node")/etc/$shared"
    fi
  done
}
all_there() {
  local node
  for node in "${nodes[@]}"; do
    (cd "$(root "$node")/etc" && sha256sum -c --quiet "$work/$node.sums" > /dev/null 2>&1) || return 1
    grep -A 1 '^Package: tmux$' "$(root "$node")/var/lib/dpkg/status" | grep -q '^Status: install ok installed$' || return 1
  done
}
# Of kfab's on the nodes: its agent, and the programs that only it starts here.
left_running() { pgrep -af 'agent-[0-9a-f]{8,}'; for name in apt-get dpkg dpkg-deb; do pgrep -ax $name; done; }
# How long it takes when nobody kills it.
on_all "$undo"
begin=$(date +%s%N)
provision
expect "what was taken away is brought again" 0 '^Done: [1-9]'
whole_ms=$((($(date +%s%N) - begin) / 1000000))
killed=0 early=0 resumed=0 half=0 orphans=0 stuck=0
for round in $(seq 1 "$kills"); do
  on_all "$undo"
  words=(provision "$work/site.yaml" --yes)
  # One in three is a resume that is killed as well.
  for _ in 1 $([ $((RANDOM % 3)) = 0 ] && echo 2); do
    (exec nsenter --net="/proc/$(cat "$work/site/net")/ns/net" "$kfab" "${words[@]}" --state "$work/state" > "$work/killed.out" 2>&1 < /dev/null) &
    victim=$!
    after_ms=$((RANDOM * whole_ms / 32768))
    sleep "$((after_ms / 1000)).$(printf '%03d' $((after_ms % 1000)))"
    # nsenter becomes kfab, so its pid is the one to kill.
    kill -9 "$victim" 2> /dev/null && killed=$((killed + 1))
    wait "$victim" 2> /dev/null
    words=(resume --yes)
  done
  begin=$SECONDS
  while [ -n "$(left_running)" ] && [ $((SECONDS - begin)) -le 15 ]; do sleep 0.2; done
  if [ -n "$(left_running)" ]; then echo "round $round:"; left_running; orphans=$((orphans + 1)); fi
  if half_files | grep .; then half=$((half + 1)); fi
  run resume --yes
  if [ "$status" = 0 ] && grep -q '^Done: [1-9]' "$work/out"; then resumed=$((resumed + 1)); fi
  # What was killed before it had begun left nothing to go on with.
  if [ "$status" = 2 ] || ! all_there; then early=$((early + 1)); provision; fi
  [ "$status" = 0 ] || { stuck=$((stuck + 1)); echo "round $round: exit $status"; tail -n 30 "$work/out" "$work/err"; }
done
check "no file is half written" "$half" 0
check "nothing is left running on the nodes" "$orphans" 0
check "every time it went on to the end" "$stuck" 0
echo "      kfab was killed $killed times; resume went on $resumed times, $early times it had not begun"
[ "$resumed" -gt 0 ]; check "resume had something to go on with" $? 0
run plan "$work/site.yaml" --exit-code
expect "in the end all is as declared" 0
left=$(for node in "${nodes[@]}"; do find "$(root "$node")/etc" \( -name '.*kfab*' -o -name '*.kfab-*' \) -newer "$work/n1.sums"; done)
check "nothing temporary is left" "$left" ""
run lock "$work/site.yaml" --list
expect "no lock is left" 0 'Nothing is locked'

verdict "faults on booted nodes"
