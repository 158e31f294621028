#!/bin/bash
# A reboot in the middle of the roles of Debian nodes that really boot (booted.sh): they stop at it, or go past it in one run; what
# stands behind is applied in the boot after; kfab killed meanwhile goes on. Needs root, systemd-nspawn and debootstrap; else it is skipped.
# Usage: booted_reboots.sh KFAB TREE     TREE is made once and kept
set -u
# shellcheck source=tests/fleet/booted_site.sh
. "$(dirname "$0")/booted_site.sh"

site_vars="    kernel_packages: [linux-image-kfab-test]
    kernel_release: $(uname -r)"
# A kernel's package, as its own scripts would leave it: the system asks for a reboot, and a unit is there from the next boot on.
kernel=$(role kernel '    - {type: package, id: image, names: [linux-image-kfab-test], hold: true}
    - {type: file, id: at-boot, path: /etc/tmpfiles.d/booted-with.conf, mode: "0644", content: "f /run/booted-with-the-kernel 0644 root root - yes\n"}
    - {type: reboot, id: boot, when: changed, after: [image, at-boot], reason: the kernel was installed}
')
driver=$(role driver '    - {type: assertion, id: kernel, message: the kernel does not run, shell: "test -e /run/booted-with-the-kernel"}
    - {type: command, id: module, shell: "cat /proc/sys/kernel/random/boot_id > /etc/module", creates: /etc/module, after: [kernel]}
')
manifest "$work/site.yaml" kernel-pin,kernel,reboot-when-needed,driver,node-exporter "$kernel" "$driver"
# Every boot of a node leaves a line in /var/boots.
on_all "touch /var/boots; echo 'w+ /var/boots - - - - %b\\n' > /etc/tmpfiles.d/boots.conf"
boots() { local node; for node in "${nodes[@]}"; do in_node "$node" 'sort -u /var/boots | wc -l'; done | tr '\n' ' '; }
boot_id() { in_node "$1" cat /proc/sys/kernel/random/boot_id; }
ids() { local node; for node in "${nodes[@]}"; do boot_id "$node"; done | tr '\n' ' '; }
again() { on_all 'rm -f /etc/module /etc/tmpfiles.d/booted-with.conf; apt-get purge -y -qq --allow-change-held-packages prometheus-node-exporter' > /dev/null 2>&1; }

# 1. Without --reboot the nodes stop, and the way on that is told works.
run plan "$work/site.yaml"
expect "the plan holds the reboot, folded" 0 '4 nodes: reboot before reboot-when-needed \(the kernel was installed\)|4 nodes: reboot before driver \(the kernel was installed\)' 'n\[1-4\] \(4 nodes, all the same\)'
before=$(ids)
provision
expect "without --reboot they stop before it" 3 '4 nodes wait for a reboot' 'n\[1-4\] wait for a reboot before the rest is applied: kfab reboot .*site.yaml -w .n\[1-4\]. --needed, then kfab resume 20'
check "nothing behind it is applied" "$(in_node n1 'ls /etc/module; dpkg-query -W prometheus-node-exporter' 2> /dev/null)" ""
check "nothing was rebooted" "$(ids)" "$before"
in_node n2 'echo "*** System restart required ***" > /run/reboot-required'
run reboot "$work/site.yaml" --needed --yes --timeout 60s --canary 4
expect "the reboot, which is not blamed for what was not applied" 0 'n\[1-4\] .*pass .*to apply' '!KF3226'
provision
expect "and the rest, behind a second place for reboots at which none is due" 0 '^Done:'
check "applied in the boot after" "$(in_node n3 cat /etc/module)" "$(boot_id n3)"
provision
expect "then nothing is to be done" 0 '^Done: 0 changes on 4 nodes'

# 2. In one run, by a plan that was saved; each node is restarted once.
again
run plan "$work/site.yaml" --out "$work/p.plan"
expect "a plan is saved" 0 'Saved to'
before=$(ids)
run provision "$work/p.plan" --yes --reboot --canary 4 --reboot-timeout 60s -o json
expect "with --reboot all of it is one run" 0 '"outcome": *"yes"' '"back_after_s": *[0-9]' '!"status": *"waiting"'
check "the driver's part came in the boot after it" "$(in_node n4 cat /etc/module)" "$(boot_id n4)"
if [ "$(ids)" = "$before" ]; then failed "they were rebooted"; else passed "they were rebooted"; fi
before=$(ids)
run provision "$work/site.yaml" --yes --reboot
expect "a second run changes nothing" 0 '^Done: 0 changes on 4 nodes'
check "and reboots nothing" "$(ids)" "$before"

# 3. kfab killed while its nodes are down: resume waits for them, and does the rest.
again
before=$(boots)
(exec nsenter --net="/proc/$(cat "$work/site/net")/ns/net" "$kfab" provision "$work/site.yaml" --yes --reboot --canary 4 --reboot-timeout 60s --state "$work/state" > "$work/killed.out" 2>&1 < /dev/null) &
victim=$!
for _ in $(seq 1 300); do booted_run "$work/site" timeout 1 bash -c 'exec 3<> /dev/tcp/10.199.0.11/22' 2> /dev/null || break; sleep 0.1; done
kill -9 "$victim"
wait "$victim" 2> /dev/null
for node in "${nodes[@]}"; do booted_wait "$work/site" "$node" || failures=$((failures + 1)); done
run resume --yes
expect "resume goes on behind the reboot" 0 '^Done:'
check "and each was rebooted once" "$(boots)" "$(for count in $before; do printf '%s ' $((count + 1)); done)"
provision
expect "nothing is left" 0 '^Done: 0 changes on 4 nodes'

# 4. What a boot undoes is told.
in_node n1 "printf 'r! /etc/security/limits.d/60-kfab.conf\n' > /etc/tmpfiles.d/undo.conf" || failed "n1 can be written to"
manifest "$work/undone.yaml" limits-and-sysctl,kernel "$kernel"
again
run provision "$work/undone.yaml" --yes --reboot --canary 4 --reboot-timeout 60s
expect "what the reboot undoes is told with the node" 1 KF3226 'n1' 'limits-and-sysctl/'

verdict "reboots in the roles of booted nodes"
