#!/bin/bash
# What roles did to Debian nodes that really boot (booted.sh) is taken back: files, packages, services, users, parameters, rules. Needs root,
# systemd-nspawn and debootstrap; else it is skipped.
# Usage: booted_undo.sh KFAB TREE     TREE is made once and kept
set -u
# shellcheck source=tests/fleet/booted_site.sh
. "$(dirname "$0")/booted_site.sh"

site_vars="    ntp_sources: server 10.199.0.1
    hugepages_count: 8
    kernel_packages: [linux-image-kfab-test]
    kernel_release: $(uname -r)
    firewall_rules: |
      chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iif lo accept
        tcp dport 22 accept
      }"
roles=base-packages,operator-user,ssh-server,firewall,journald-persistent,limits-and-sysctl,hugepages,swap-off,nouveau-blacklist,kernel-pin,node-exporter,time-chrony
manifest "$work/site.yaml" "$roles"

# What a role could have changed, a line each. Left out: what packages leave behind when they are removed and not purged (their
# configuration, users, caches), which kfab says it leaves, and what any account or package tool writes anew.
state() {
  in_node "$1" '
    find /etc -xdev \( -path /etc/ssl -o -path "/etc/systemd/system/*.wants" \) -prune -o \( -type f -o -type l \) -printf "%p %y %m %U %G %l\n" |
      grep -vE "^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-? |^/etc/(ld.so.cache|.pwd.lock|mailcap)" | sort
    grep -E "^(root|kfab-operator):" /etc/passwd /etc/group
    dpkg-query -W -f "\${db:Status-Abbrev} \${Package}\n" | grep -E "^.i" | awk "{print \$2}" | sort
    apt-mark showhold
    for unit in ssh chrony prometheus-node-exporter nftables kfab-firewall; do echo "$unit $(systemctl is-active $unit)"; done
    systemctl is-enabled ssh
    ! nft list tables 2> /dev/null | grep kfab
    cat /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
    sysctl -n vm.max_map_count kernel.numa_balancing vm.swappiness 2> /dev/null
    cat /etc/ssh/sshd_config /etc/fstab /etc/security/limits.conf
    ls -d /var/log/journal /home/kfab-operator/.ssh 2> /dev/null
    true'
}
for node in n1 n3; do state "$node" > "$work/$node.before"; done
provision
expect "the roles converge" 0 '^Done: [1-9][0-9]* changes on 4 nodes'
state n1 > "$work/n1.provisioned"
if cmp -s "$work/n1.before" "$work/n1.provisioned"; then failed "what is compared shows what the roles did"; else passed "what is compared shows what the roles did"; fi

# 1. Looking changes nothing.
run undo "$work/site.yaml" --role "$roles" --check
expect "a look says what would be undone" 0 'n\[1-4\] \(4 nodes' 'restart: running with what was before -> restarted'
ssh_since() { in_node n1 systemctl show ssh -p ActiveEnterTimestampMonotonic --value; }
since=$(ssh_since)
state n1 > "$work/n1.after"
check "and undoes nothing" "$(diff "$work/n1.provisioned" "$work/n1.after")" ""

# 2. What somebody changed since stays, and is told; the rest goes.
in_node n2 'echo "# mine" >> /etc/ssh/sshd_config.d/60-kfab.conf'
run undo "$work/site.yaml" --role "$roles" --yes
expect "the roles are taken back; what cannot be is told" 1 'KF3300' 'n2/etc/ssh/sshd_config.d/60-kfab.conf|n2' 'KF3302'
if [ "$(ssh_since)" -gt "$since" ]; then passed "sshd reads again what was there before kfab"; else failed "sshd reads again what was there before kfab"; fi
check "what somebody changed stays" "$(in_node n2 tail -n 1 /etc/ssh/sshd_config.d/60-kfab.conf)" "# mine"
for node in n1 n3; do
  state "$node" > "$work/$node.after"
  # What is new is what packages left behind; nothing that was there may differ, and nothing of kfab's may be left.
  diff "$work/$node.before" "$work/$node.after" | grep -E '^<|^>.*kfab' > "$work/$node.diff"
  check "$node is as it was" "$(cat "$work/$node.diff")" ""
done

# 3. Twice is once, and the roles can be applied again.
run undo "$work/site.yaml" --role "$roles" --yes -w n1,n3
expect "a second undo finds nothing" 0 'Done: 0 changes'
in_node n2 'sed -i "/^# mine$/d" /etc/ssh/sshd_config.d/60-kfab.conf'
run undo "$work/site.yaml" --role "$roles" --yes -w n2
expect "what was refused goes once it is as kfab left it" 0 'ssh-server/conf'
provision
expect "the roles are applied again" 0 '^Done: [1-9][0-9]* changes'
provision
expect "and converge" 0 '^Done: 0 changes on 4 nodes'
verdict "roles that are taken back on booted nodes"
