# shellcheck shell=bash
# A site of four Debian nodes that boot (booted.sh), for tests that provision it. Source it with the test's own arguments,
# KFAB TREE; it skips the test where such nodes cannot be had, and boots them. What it gives:
#
#   $work $kfab                  a folder in memory that goes with the test; kfab
#   manifest FILE ROLES [DOC...] a manifest of the four nodes with these roles, "a,b,c", and more documents; $site_vars are
#                                further variables of the profile, a line each, indented by four
#   role NAME RESOURCES          the document of a role of the test's own, resources indented by four
#   run COMMAND [ARG...]         kfab where the nodes can be reached, with the state of this test, captured (expect.sh)
#   provision [ARG...]           all of $work/site.yaml, without asking
#   converges NAME               one run that may change something, one that must not
#   in_node NODE COMMAND...      as root on the node, past kfab;  root NODE  where its files are
#   on_all COMMAND...            on all four at once
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ -x "$1" ] || { echo "no kfab at $1"; exit 1; }
# shellcheck source=tests/fleet/booted.sh
. "$here/booted.sh"
# shellcheck source=tests/fleet/expect.sh
. "$here/expect.sh"
booted_possible || exit 77
booted_base "$2" ca-certificates curl dmidecode ethtool hwloc iproute2 jq lsof nvme-cli pciutils rsync smartmontools sysstat tmux \
  chrony sudo nftables prometheus-node-exporter auditd || { echo "skipped: no Debian tree can be made here"; exit 77; }
booted_enclose "$0" "$@"
kfab=$1 tree=$2
work=$(mktemp -d)
mount -t tmpfs kfab-test "$work" || exit 1
chmod 700 "$work"
# shellcheck disable=SC2317  # called by the trap
finish() { booted_stop "$work/site"; umount "$work"; rmdir "$work"; }
trap finish EXIT
trap 'exit 130' INT TERM
booted_start "$work/site" "$tree" 4 || exit 1
nodes=(n1 n2 n3 n4)
site_vars=

manifest() {
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
  vars:
    operator_keys: "$(cat "$work/site/id.pub")"
$site_vars
YAML
    for document in "$@"; do printf -- '---\n%s\n' "$document"; done
  } > "$file"
}
role() {
  printf 'apiVersion: kfab/v1\nkind: Role\nmetadata: {name: %s, version: "1"}\nspec:\n  description: a role of this test\n  resources:\n%s' "$1" "$2"
}
run() {
  local command=$1
  shift
  capture booted_run "$work/site" timeout -s INT -k 20 240 "$kfab" "$command" --state "$work/state" "$@"
}
# shellcheck disable=SC2120  # some give it words
provision() { run provision "$work/site.yaml" --yes "$@"; }
converges() {
  provision
  expect "$1: a run mends it" 0 '^Done:'
  provision
  expect "$1: and then nothing is left to do" 0 '^Done: 0 changes on 4 nodes'
}
root() { echo "$work/site/$1/root"; }
in_node() {
  local node=$1
  shift
  booted_run "$work/site" ssh -q -i "$work/site/id" -o UserKnownHostsFile="$work/site/known_hosts" -o BatchMode=yes -o ConnectTimeout=5 \
    "root@$(booted_address "$node")" "$@"
}
on_all() {
  local node pids=()
  for node in "${nodes[@]}"; do in_node "$node" "$@" < /dev/null & pids+=($!); done
  wait "${pids[@]}"
}
