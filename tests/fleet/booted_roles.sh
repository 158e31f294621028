#!/bin/bash
# Roles on Debian nodes that really boot (booted.sh): they converge, a second run changes nothing, and so it stays over a
# reboot; reboots that are none are told; nodes are held against a profile that was learned from one of them. Needs root,
# systemd-nspawn and debootstrap; else it is skipped.
# Usage: booted_roles.sh KFAB TREE     TREE is made once and kept
set -u
# shellcheck source=tests/fleet/booted_site.sh
. "$(dirname "$0")/booted_site.sh"

# Every role that kfab brings is in one of these lists.
tried=(base-packages cpu-performance firewall hugepages journald-persistent kernel-pin limits-and-sysctl no-reboot-pending
  node-exporter nouveau-blacklist operator-user ssh-server swap-off time-check time-chrony)
# The others, and why they are not tried here; tests/unit/agent and tests/unit/provision try what they are made of on
# recorded states.
declare -A not_tried=(
  [auditd]="the kernel takes audit rules from the machine itself only, never from a container; what can be seen of it there is tried in 7"
  [kernel-arguments]="a container has no boot loader, and the kernel's command line is the machine's"
  [node-identity]="the serial number is the machine's, the same for all nodes"
  [nic-tuning]="the buffers are those of the machine's kernel, and the links are no hardware"
  [scratch-raid0]="needs disks that may be erased"
  [slurm-drained]="needs a Slurm controller"
  [rdma-inbox]="needs RDMA ports and kernel modules"
  [reboot-when-needed]="stands in the middle of what is tried in booted_reboots.sh"
  [topology-check]="needs accelerators"
  [pcie-p2p]="needs PCIe bridges and accelerators"
  [bios-settings]="needs a BIOS and its vendor's tool"
  [firmware-baseline]="needs firmware"
  [cuda-runtime]="needs NVIDIA's repository"
  [furiosa-host]="needs Furiosa's repository and cards"
  [rebellions-host]="needs Rebellions' packages and cards"
  [nvidia-container-toolkit]="needs NVIDIA's repository"
  [nvidia-dcgm]="needs NVIDIA's repository and GPUs"
  [nvidia-driver]="needs NVIDIA's repository and GPUs"
  [nvidia-driver-check]="needs NVIDIA GPUs"
  [nvidia-fabric-manager]="needs NVSwitches"
  [nvidia-peermem]="needs NVIDIA GPUs and RDMA ports"
  [nvidia-repository]="needs a mirror that NVIDIA signed"
)
check "every role is tried here, or it is said why not" \
  "$(printf '%s\n' "${tried[@]}" "${!not_tried[@]}" | sort)" "$(basename -s .yaml "$here"/../../manifests/roles/*.yaml | sort)"

# A clock to follow: chronyd on the control host's side, on a layer of the same tree.
booted_layer "$work/site" "$tree" time || exit 1
capture chroot "$(root time)" apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold chrony
expect "a clock to follow" 0
mkdir -p "$(root time)/run"
printf 'local stratum 8\nallow 10.199.0.0/24\ncmdport 0\npidfile /run/time.pid\nbindaddress 10.199.0.1\n' > "$(root time)/etc/time.conf"
booted_run "$work/site" chroot "$(root time)" chronyd -d -x -u root -f /etc/time.conf < /dev/null > "$work/time.log" 2>&1 &
echo $! > "$work/site/time/pid"
disown

# The page size that transparent huge pages have already: in a container it cannot be another.
pages=$(sed -nE 's/.*\[(.*)\].*/\1/p' /sys/kernel/mm/transparent_hugepage/enabled)
site_vars="    ntp_sources: server 10.199.0.1 minpoll -2 maxpoll 0
    hugepages_count: 8
    kernel_packages: [linux-image-kfab-test]
    kernel_release: $(uname -r)
    transparent_hugepages: $pages
    firewall_rules: |
      chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iif lo accept
        tcp dport 22 accept
        icmp type echo-request accept
      }"
# In the order in which a site would take them.
roles=base-packages,operator-user,ssh-server,firewall,journald-persistent,limits-and-sysctl,hugepages,cpu-performance,swap-off
roles+=,nouveau-blacklist,kernel-pin,node-exporter,time-chrony,time-check,no-reboot-pending
check "the profile has all that are tried" "$(tr , '\n' <<< "$roles" | sort)" "$(printf '%s\n' "${tried[@]}" | sort)"
manifest "$work/site.yaml" "$roles"

# The state of a node's own files: what is on top of the common tree, without what any login or a running system writes.
written() {
  (cd "$work/site/$1/memory/upper" && find . \( -path ./var/log -o -path ./root/.cache -o -path ./var/lib/systemd -o -path ./var/lib/sudo -o -path ./var/lib/chrony -o -path ./tmp \) -prune -o \
    -printf '%p %y %m %U %G %s %T@ %l\n' | sort)
}
logins() { in_node n1 journalctl -u ssh -o cat --no-pager | grep -c 'Accepted publickey'; }

# 1. Planning writes nothing.
run plan "$work/site.yaml"
expect "plan shows what is missing" 0 'n\[1-4\] \(4 nodes, all the same\)' 'Nothing was changed'
written n1 > "$work/before"
run plan "$work/site.yaml"
written n1 > "$work/after"
if cmp -s "$work/before" "$work/after"; then passed "plan writes nothing on a node"
else diff "$work/before" "$work/after" | head > "$work/out"; failed "plan writes nothing on a node"; fi

# 2. It converges, a second run changes nothing, over one connection a node.
provision
expect "the roles converge" 0 '^Done: [1-9][0-9]* changes on 4 nodes'
before=$(logins)
provision
expect "a second run changes nothing" 0 '^Done: 0 changes on 4 nodes'
check "a run is one connection" $(($(logins) - before)) 2   # the run, and the one that counts
check "chrony is installed and runs" "$(in_node n3 systemctl is-active chrony)" active
check "the operator can use sudo" "$(in_node n2 su - kfab-operator -c "'sudo -n id -u'")" 0
check "a port that no rule opens is closed" "$(booted_run "$work/site" timeout 2 bash -c 'exec 3<> /dev/tcp/10.199.0.11/9100' 2> /dev/null && echo open)" ""
check "the huge pages are set aside" "$(in_node n4 cat /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages)" 8
check "the kernel is held" "$(in_node n1 apt-mark showhold)" linux-image-kfab-test

# 3. It holds over a reboot.
boots_before=$(in_node n1 cat /proc/sys/kernel/random/boot_id)
run reboot "$work/site.yaml" --yes --timeout 60s -o json
expect "all nodes are rebooted and proven" 0 '"boot_id_changed": *true' '"started_after_order": *true' '"changes": *0' '!"boot_id_changed": *false' '!"verdict": *"fail"'
if [ "$(in_node n1 cat /proc/sys/kernel/random/boot_id)" != "$boots_before" ]; then passed "n1 runs another boot"; else failed "n1 runs another boot"; fi
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

# 5. Only where a reboot is due, and a run that is cut: each node is restarted once.
boots() { in_node "$1" journalctl --list-boots --no-pager | wc -l; }
in_node n2 'echo "*** System restart required ***" > /run/reboot-required; echo linux-image-6.1 > /run/reboot-required.pkgs'
before="$(boots n1) $(boots n2)"
run plan "$work/site.yaml"
expect "packages that wait for a reboot are told" 1 'packages wait for it: linux-image-6.1' 'A reboot is due on n2: kfab reboot .*/site.yaml -w n2 --needed'
run reboot "$work/site.yaml" --needed --yes --timeout 60s
expect "only that node is restarted" 0 'Of 3 nodes no reboot is due' 'n2 .*pass'
check "and no other one" "$(boots n1) $(boots n2)" "$(echo "$before" | awk '{print $1, $2 + 1}')"
run reboot "$work/site.yaml" --needed --yes
expect "then none is due" 0 'Of 4 nodes no reboot is due'
before="$(boots n1) $(boots n3)"
(exec nsenter --net="/proc/$(cat "$work/site/net")/ns/net" "$kfab" reboot "$work/site.yaml" -w n1,n3 --yes --canary 2 --timeout 60s --state "$work/state" > "$work/killed.out" 2>&1 < /dev/null) &
victim=$!
for _ in $(seq 1 200); do booted_run "$work/site" timeout 1 bash -c 'exec 3<> /dev/tcp/10.199.0.11/22' 2> /dev/null || break; sleep 0.1; done
kill -9 "$victim"
wait "$victim" 2> /dev/null
booted_wait "$work/site" n1 || failures=$((failures + 1))
run reboot "$work/site.yaml" -w n1 --yes
expect "a run of reboot that was killed is in the way, and says how to go on" 2 KF3171 'kfab resume 20'
run resume --yes
expect "resume waits for the nodes and checks them" 0 'n\[1,3\] .*pass' '!n2'
check "each was restarted once" "$(boots n1) $(boots n3)" "$(echo "$before" | awk '{print $1 + 1, $2 + 1}')"
run resume --yes
expect "then nothing is left of it" 0 'Nothing is left'

# 6. A profile learned from one node tells what is different on the others; how files are is plan's to tell.
run inventory "$work/site.yaml"
run learn "$work/site.yaml" n1
expect "a profile is learned" 0 'name: "p-learned"' 'os.packages_sha256'
{ sed '/^---$/,$d; s/profile: p\b/profile: p-learned/' "$work/site.yaml"; echo ---; cat "$work/out"; } > "$work/learned.yaml"
run inventory "$work/learned.yaml"
expect "all four are as the one" 0 'n\[1-4\] \(4\) +ok +pass'
in_node n2 'dpkg --purge --force-depends tmux'
mkdir -p "$work/deb/DEBIAN"
printf 'Package: linux-image-kfab-test\nVersion: 1.1\nArchitecture: all\nMaintainer: kfab <kfab@localhost>\nDescription: stands for a kernel\n' > "$work/deb/DEBIAN/control"
dpkg-deb --build "$work/deb" "$(root n3)/opt/newer.deb" > /dev/null && in_node n3 'dpkg -i /opt/newer.deb; rm /opt/newer.deb' > /dev/null
in_node n4 "sed 's/^VERSION_ID=.*/VERSION_ID=\"99\"/' /usr/lib/os-release > /run/os && cp /run/os /etc/os-release; chmod 666 /etc/systemd/journald.conf.d/60-kfab.conf"
run inventory "$work/learned.yaml" -o json
cp "$work/out" "$work/inventory.json"
differs() {
  python3 -c 'import json, sys
node = next(n for n in json.load(open(sys.argv[1]))["data"]["nodes"] if n["node"] == sys.argv[2])
print(" ".join(fact["path"] for fact in node["expected"] if fact["verdict"] != "pass"))' "$work/inventory.json" "$1"
}
expect "differences are the answer no" 1
check "the good node has none" "$(differs n1)" ""
check "a package that is missing" "$(differs n2)" os.packages_sha256
check "another version of a package" "$(differs n3)" os.packages_sha256
check "another system" "$(differs n4)" os.version_id
run plan "$work/site.yaml" -w 'n[2,4]' --exit-code
expect "plan tells the package that is gone, and rights that were changed" 1 'tmux: absent -> installed' 'mode: 0666 -> 0644'

# 7. auditd: its package and its rules come to be; the daemon does not run in a container, and that is told, never passed over.
manifest "$work/audit.yaml" auditd
run provision "$work/audit.yaml" -w n1 --yes
expect "a daemon that the kernel refuses is told with the unit's own words" 1 'auditd/service:auditd' KF30
check "its package is there" "$(in_node n1 dpkg-query -W -f "'\${Status}'" auditd)" "install ok installed"
check "its rules are there, for root alone" "$(in_node n1 stat -c %a:%U /etc/audit/rules.d/60-kfab.rules)" 640:root
run plan "$work/audit.yaml" -w n1 --exit-code
expect "and only the daemon is left to do" 1 '1 change'

verdict "roles on booted nodes"
