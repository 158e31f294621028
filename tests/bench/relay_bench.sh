#!/bin/bash
# What --relay saves where the control host's link is narrow: the agent to the nodes of one rack, plainly and by its relay.
# Two network namespaces of our own stand for the control host and the rack; what the control host sends is limited by tbf, the
# nodes reach each other freely. Each node is an address of one sshd and has a cache of its own. Needs root.
#   relay_bench.sh KFAB [NODES [MBIT]]
set -u
here=$(cd "$(dirname "$0")" && pwd)
kfab=$(realpath "$1") nodes=${2:-12} mbit=${3:-20}
if [ "$(id -u)" != 0 ] || ! command -v tc > /dev/null || ! command -v ip > /dev/null; then echo "not measured: needs root, ip and tc (iproute2)"; exit 77; fi
if [ -z "${KFAB_RELAY_BENCH:-}" ]; then
  # Caches that other runs left on this machine are hidden as well.
  KFAB_RELAY_BENCH=1 exec unshare -n -m "$0" "$kfab" "$nodes" "$mbit"
fi
# shellcheck source=tests/fleet/sshd.sh
. "$here/../fleet/sshd.sh"
work=$(mktemp -d)
rack=
# shellcheck disable=SC2317  # called by the trap
finish() {
  [ ! -f "$work/pid" ] || kill "$(cat "$work/pid")" 2> /dev/null
  [ -z "$rack" ] || kill "$rack" 2> /dev/null
  rm -rf "$work"
}
trap finish EXIT
mount -t tmpfs none /var/tmp && mkdir -p /run/user /run/sshd && mount -t tmpfs none /run/user || exit 77

unshare -n sleep 600 &
rack=$!
for _ in $(seq 1 100); do [ "$(readlink /proc/$rack/ns/net)" = "$(readlink /proc/self/ns/net)" ] || break; sleep 0.05; done
in_rack() { nsenter -t "$rack" -n "$@"; }
if ! ip link add control type veth peer name rack netns "$rack" 2> /dev/null; then echo "not measured: no veth here"; exit 77; fi
ip link set lo up; ip addr add 10.99.1.1/16 dev control; ip link set control up
in_rack ip link set lo up; in_rack ip link set rack up
for i in $(seq 1 "$nodes"); do in_rack ip addr add "10.99.2.$i/16" dev rack; done
if ! tc qdisc add dev control root tbf rate "${mbit}mbit" burst 64kb latency 200ms 2> /dev/null; then echo "not measured: no tbf here"; exit 77; fi

sshd_make_keys "$work" || exit 1
{
  printf '%s\n' "Port 2200" "HostKey $work/host_ed25519" "AuthorizedKeysFile $work/authorized_keys" "PidFile $work/pid" "UsePAM no" \
    "StrictModes no" "PermitRootLogin yes" "PasswordAuthentication no" "UseDNS no" "MaxStartups 2000"
  for i in $(seq 1 "$nodes"); do
    mkdir -p "$work/cache$i"
    printf '%s\n' "Match LocalAddress 10.99.2.$i" "SetEnv SHLVL=1 XDG_CACHE_HOME=$work/cache$i"
  done
} > "$work/config"
in_rack "$(sshd_binary)" -f "$work/config" -E "$work/log" || exit 1
{
  cat << YAML
apiVersion: kfab/v1
kind: Site
metadata: {name: relay-bench, title: one rack, country: KR, as_of: "2026-01-01"}
spec:
  kind: edge
  ssh: {port: 2200, identity_files: [id_ed25519], known_hosts: [known]}
  power: {pue: 1.2, overhead: 5 %}
  tranches:
    - {name: t1, title: one, due: "2030-01-01", power: {facility: 100 kW}, targets: [{profile: p, nodes: $nodes, accelerators: $nodes}],
       ready_when: {accepted: 100 %, level: quick}}
  nodes:
    - group: g
      tranche: t1
      profile: p
      identity: name
      list:
YAML
  for i in $(seq 1 "$nodes"); do echo "        - {name: n$i, address: 10.99.2.$i, rack: r1, slot: u$i}"; done
  cat << 'YAML'
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: p, version: "1", title: this machine}
spec: {vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW, expect: {cpu.threads: {min: 1}}}
YAML
} > "$work/site.yaml"
for i in $(seq 1 "$nodes"); do echo "[10.99.2.$i]:2200 $(cut -d' ' -f1,2 "$work/host_ed25519.pub")"; done > "$work/known"

now_ms() { date +%s%3N; }
# run [OPTION...]: the time in $ms and what crossed the link in $bytes, with empty caches.
run() {
  local begin before
  rm -rf "$work"/cache*/kfab
  begin=$(now_ms) before=$(cat /sys/class/net/control/statistics/tx_bytes)
  if ! "$kfab" inventory "$work/site.yaml" --state "$work/state" "$@" > "$work/out" 2>&1; then cat "$work/out"; exit 1; fi
  ms=$(($(now_ms) - begin)) bytes=$(($(cat /sys/class/net/control/statistics/tx_bytes) - before))
}
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }
plain=() relayed=()
mount -t sysfs none /sys || exit 77   # of this namespace
for _ in 1 2 3; do
  run; plain+=("$ms"); plain_bytes=$bytes
  run --relay; relayed+=("$ms"); relayed_bytes=$bytes
done
p=$(median "${plain[@]}") r=$(median "${relayed[@]}")
echo "the agent to $nodes nodes of one rack over $mbit Mbit/s, medians of 3:"
echo "  plainly      $p ms, $((plain_bytes / 1024)) KiB sent"
echo "  with --relay $r ms, $((relayed_bytes / 1024)) KiB sent"
ratio=$((p * 10 / r))
if [ "$ratio" -ge 20 ]; then echo "met      --relay is $((ratio / 10)).$((ratio % 10))x as fast (asked: >= 2x)"
else echo "NOT MET  --relay is $((ratio / 10)).$((ratio % 10))x as fast (asked: >= 2x)"; exit 1; fi
