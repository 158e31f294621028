#!/bin/bash
# Ansible and kfab bring Debian nodes that boot (tests/fleet/booted.sh) into the same state, and then do it again: wall
# time and CPU of the control host. Each tool has nodes of its own, all of them up at the same time; the second runs take
# turns, and what is compared are medians. Ansible has pipelining, a kept connection per node and a fork per node.
#   provision_bench.sh KFAB TREE NODES RUNS      ends with 1 when a figure is not met
set -u
here=$(cd "$(dirname "$0")" && pwd)
kfab=$1 tree=$2 nodes=$3 runs=$4 least_ratio=20
# shellcheck source=tests/fleet/booted.sh
. "$here/../fleet/booted.sh"
booted_possible || exit 1
booted_base "$tree" ca-certificates curl dmidecode ethtool hwloc iproute2 jq lsof nvme-cli pciutils rsync smartmontools sysstat tmux \
  chrony sudo python3 python3-apt || exit 1
booted_enclose "$0" "$@"
work=$(mktemp -d)
# shellcheck disable=SC2317  # called by the trap
finish() { booted_stop "$work/kfab"; booted_stop "$work/ansible"; rm -rf --one-file-system "$work"; }
trap finish EXIT
booted_start "$work/kfab" "$tree" "$nodes" && booted_start "$work/ansible" "$tree" "$nodes" || exit 1
# What Ansible needs on a node and kfab does not is not measured.
for i in $(seq 1 "$nodes"); do chroot "$work/ansible/n$i/root" apt-get install -y -qq --no-install-recommends python3 python3-apt > /dev/null 2>&1 || exit 1; done

list=$(for i in $(seq 1 "$nodes"); do printf '{name: n%s, address: %s}, ' "$i" "$(booted_address "n$i")"; done)
cat > "$work/site.yaml" << YAML
apiVersion: kfab/v1
kind: Site
metadata: {name: bench, title: Debian nodes that boot, country: KR, as_of: 2026-11-21}
spec:
  kind: edge
  ssh: {user: root, identity_files: [$work/kfab/id], known_hosts: [$work/kfab/known_hosts]}
  tranches: [{name: t, due: 2027-03-31, targets: [{profile: p, nodes: $nodes, accelerators: $nodes}], ready_when: {level: quick}}]
  nodes: [{group: g, tranche: t, profile: p, list: [${list%, }]}]
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: p, version: "1", title: a node without accelerators}
spec:
  {vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW,
   roles: [base-packages, journald-persistent, limits-and-sysctl, nouveau-blacklist, operator-user, time-chrony],
   vars: {operator_keys: "$(cat "$work/kfab/id.pub")"}}
YAML
for i in $(seq 1 "$nodes"); do echo "n$i ansible_host=$(booted_address "n$i")"; done > "$work/inventory.ini"
cat > "$work/ansible.cfg" << CFG
[defaults]
forks = $nodes
inventory = $work/inventory.ini
remote_user = root
private_key_file = $work/ansible/id
interpreter_python = /usr/bin/python3
retry_files_enabled = False
nocows = True
[ssh_connection]
pipelining = True
ssh_args = -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile=$work/ansible/known_hosts -o BatchMode=yes
control_path_dir = $work/cp
CFG

with_kfab() { booted_run "$work/kfab" "$kfab" provision "$work/site.yaml" --state "$work/state" --yes -o json; }
with_ansible() { ANSIBLE_CONFIG=$work/ansible.cfg HOME=$work booted_run "$work/ansible" ansible-playbook "$here/provision_playbook.yml"; }
# measured TOOL: runs it; prints "wall cpu", seconds.
measured() {
  local TIMEFORMAT='%R %U %S' times
  times=$({ time "with_$1" > "$work/$1.out" 2> "$work/$1.err" || echo failed > "$work/$1.failed"; } 2>&1)
  [ ! -e "$work/$1.failed" ] || { echo "$1 failed:" >&2; grep -B8 -A8 -m3 '"failed"' "$work/$1.out" >&2; tail -n 15 "$work/$1.err" >&2; exit 1; }
  echo "$times" | awk '{print $1, $2 + $3}'
}
median() { sort -n | awk '{v[NR] = $1} END {print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }

for tool in ansible kfab; do
  read -r wall cpu < <(measured $tool) && [ -n "$wall" ] || exit 1
  printf '%-8s first run   wall %8.2f s   CPU %7.2f s\n' $tool "$wall" "$cpu"
done
for _ in $(seq 1 "$runs"); do
  for tool in ansible kfab; do
    measured $tool >> "$work/$tool.times" || exit 1
    case $tool in
      ansible) grep -q 'changed=[1-9]' "$work/ansible.out" && { echo "ansible changes something again" >&2; tail "$work/ansible.out" >&2; exit 1; } ;;
      kfab) grep -q '"changes": *0,' "$work/kfab.out" || { echo "kfab changes something again" >&2; exit 1; } ;;
    esac
  done
done
for tool in ansible kfab; do
  printf '%-8s second run  wall %8.2f s   CPU %7.2f s   (medians of %s, %s nodes)\n' $tool \
    "$(cut -d' ' -f1 "$work/$tool.times" | median)" "$(cut -d' ' -f2 "$work/$tool.times" | median)" "$runs" "$nodes"
done
ratio=$(echo "$(cut -d' ' -f1 "$work/ansible.times" | median) $(cut -d' ' -f1 "$work/kfab.times" | median)" | awk '{printf "%.1f", $1 / $2}')
verdict=$(awk -v r="$ratio" -v least=$least_ratio 'BEGIN {print (r >= least ? "met" : "NOT MET")}')
echo "a second run takes 1/$ratio of Ansible's wall time; asked: at most 1/$least_ratio: $verdict"
[ "$verdict" = met ]
