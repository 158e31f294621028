#!/bin/bash
# Nothing orphaned: whatever happens to kfab or to the connection, no process that a command started is left on the
# node after 15 s, unless it detached itself. Against OpenSSH's sshd and, as root, against dropbear.
# Usage: orphans.sh KFAB [sshd|dropbear]
set -u
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/fleet/sshd.sh
. "$here/sshd.sh"
# shellcheck source=tests/fleet/expect.sh
. "$here/expect.sh"
kfab=$1
only=${2:-}
[ -x "$kfab" ] || { echo "no kfab at $kfab"; exit 1; }
sshd_binary > /dev/null || { echo "skipped: no sshd"; exit 77; }
command -v pgrep > /dev/null || { echo "skipped: no pgrep"; exit 77; }
work=$(mktemp -d)
dropbear_pid=
started=()
# shellcheck disable=SC2317  # called by the trap
finish() {
  local pid
  for pid in "${started[@]}"; do kill -9 "$pid" 2> /dev/null; done
  sshd_stop "$work/sshd"
  # shellcheck disable=SC2046  # pids are words
  [ -z "$dropbear_pid" ] || { kill $(sshd_descendants "$dropbear_pid") "$dropbear_pid"; } 2> /dev/null
  for pid in $(pgrep -fx "sleep ${mark}[0-9]*"); do kill -9 "$pid"; done
  rm -rf "$work"
}
trap finish EXIT
# A number that no other sleep on this machine has: "MARK" and the number of the case.
mark="$((300000 + $$)).$((RANDOM + 10000))"

report() {
  if [ "$1" = 0 ]; then passed "$2"; else failed "$2"; fi
}
# The commands, each with sleeps of its own number: what an operator may type.
cases=(
  "sleep ${mark}1"
  "sleep ${mark}2 | cat; true"
  "trap '' TERM; sleep ${mark}3; sleep ${mark}3"
  "sleep ${mark}4 & sleep ${mark}4 & wait"
  "sleep ${mark}5 & echo 'the shell is gone, and its child holds the output'"
  "timeout 400 sleep ${mark}6"
  "bash -c 'set -m; sleep ${mark}7 & wait'"
  "(sleep ${mark}8 > /dev/null 2>&1 &) ; cat /dev/zero | sleep ${mark}8"
)
reach=()
launch() {   # launch INDEX [OPTION...]: kfab in the background, its pid in $pid
  local command=${cases[$1]}
  shift
  "$kfab" exec --state "$work/state" "${reach[@]}" "$@" -- "$command" > "$work/out" 2>&1 &
  pid=$!
  started+=("$pid")
  disown "$pid"   # or bash tells that it was killed
}
alive() { pgrep -fx "sleep ${mark}[0-9]*" | wc -l; }
wait_alive() {   # until at least N sleeps run
  for _ in $(seq 1 150); do [ "$(alive)" -lt "$1" ] || return 0; sleep 0.1; done
  return 1
}
wait_gone() {   # at most 15 s; says how long it took
  local begin=$SECONDS
  while [ "$(alive)" -gt 0 ]; do
    if [ $((SECONDS - begin)) -gt 15 ]; then pgrep -afx "sleep ${mark}[0-9]*"; return 1; fi
    sleep 0.2
  done
  took=$((SECONDS - begin))
}

# way NAME ACTION [OPTION...]: starts every case, does ACTION to every kfab, and sees that all is gone.
way() {
  local name=$1 action=$2 index pids=()
  shift 2
  for index in "${!cases[@]}"; do launch "$index" "$@"; pids+=("$pid"); done
  if ! wait_alive "$expected"; then report 1 "$name: the commands did not start"; cat "$work/out"; fi
  sleep 1
  took=
  $action "${pids[@]}"
  wait_gone
  report $? "$name: ${#cases[@]} commands and all their processes gone${took:+ after $took s}"
  for pid in "${pids[@]}"; do kill -CONT "$pid"; kill -9 "$pid"; done 2> /dev/null
}
# Called by their names.
# shellcheck disable=SC2317
killed() { kill -9 "$@"; }
# shellcheck disable=SC2317
interrupted() { kill -INT "$@"; }
# shellcheck disable=SC2317
suspended() { kill -STOP "$@"; }
# shellcheck disable=SC2317
nothing() { :; }
# shellcheck disable=SC2317  # by name
server_killed() {
  local child
  for child in $(sshd_descendants "$server"); do
    case "$(tr '\0' ' ' < "/proc/$child/cmdline" 2> /dev/null)" in sshd:*|*dropbear*) kill -9 "$child" 2> /dev/null ;; esac
  done
}

quiet_exec() { "$kfab" exec --state "$work/state" "${reach[@]}" -- "$1" > "$work/out" 2>&1; }

# campaign SERVER SLEEPS: as many sleeps as run when all commands do.
campaign() {
  expected=$2
  way "$1, kfab killed" killed
  way "$1, kfab interrupted" interrupted
  way "$1, kfab suspended" suspended
  way "$1, connection cut at the server" server_killed
  way "$1, --timeout" nothing --timeout 8s

  # What detached itself is none of ours, and what an orderly command leaves behind is left.
  "$kfab" exec --state "$work/state" "${reach[@]}" -- "setsid sleep ${mark}9 </dev/null >/dev/null 2>&1 & sleep 30" > "$work/out" 2>&1 &
  pid=$!
  disown "$pid"
  wait_alive 1; sleep 0.5; kill -9 "$pid"; sleep 4
  [ "$(alive)" = 1 ]
  report $? "$1, a process with a session of its own is left alone"
  for pid in $(pgrep -fx "sleep ${mark}[0-9]*"); do kill "$pid"; done
  quiet_exec "nohup sleep ${mark}9 </dev/null >/dev/null 2>&1 & echo started" && grep -q started "$work/out" && sleep 4 && [ "$(alive)" = 1 ]
  report $? "$1, what an orderly command left in the background runs on"
  for pid in $(pgrep -fx "sleep ${mark}[0-9]*"); do kill "$pid"; done
  if [ "$1" != dropbear ]; then   # which ends a command with its first process
    quiet_exec '(sleep 14; echo late) & echo early' && grep -q early "$work/out" && grep -q late "$work/out"
    report $? "$1, output that comes after the command itself was over arrives whole"
  fi
  quiet_exec 'sleep 20; echo slept' && grep -q slept "$work/out"
  report $? "$1, a command that is silent for longer than the limit is not touched"
}

# The agent, burning in the processor: it and all its children.
agent_gone() {   # agent_gone NAME SIGNAL
  local before pid left begin
  "$kfab" burnin "$work/site.yaml" --state "$work/state" --duration 60s --memory-cap 64 --threads 1 > "$work/out" 2>&1 &
  pid=$!
  started+=("$pid")
  disown "$pid"
  before=
  for _ in $(seq 1 300); do
    before=$(for child in $(sshd_descendants "$server"); do grep -qa 'agent-[0-9a-f]*.serve' "/proc/$child/cmdline" 2> /dev/null && echo "$child"; done)
    [ -z "$before" ] || break
    sleep 0.1
  done
  sleep 3
  before=$(sshd_descendants "$server")
  kill "$2" "$pid"
  begin=$SECONDS
  while :; do
    left=$(for child in $before; do grep -qa 'agent-[0-9a-f]*.serve' "/proc/$child/cmdline" 2> /dev/null && echo "$child"; done)
    if [ -z "$left" ] || [ $((SECONDS - begin)) -gt 15 ]; then break; fi
    sleep 0.2
  done
  [ -n "$before" ] && [ -z "$left" ]
  report $? "$1, $(wc -w <<< "$before") processes, gone after $((SECONDS - begin)) s"
  kill -9 "$pid" 2> /dev/null
}
write_site() {
  cat > "$work/site.yaml" <<YAML
apiVersion: kfab/v1
kind: Site
metadata: {name: orphans, title: one node, country: KR, as_of: "2026-01-01"}
spec:
  kind: edge
  ssh: {port: $port, identity_files: [sshd/id_ed25519], known_hosts: [sshd/known_hosts]}
  power: {pue: 1.2, overhead: 5 %}
  tranches:
    - {name: t1, title: one, due: "2030-01-01", power: {facility: 2 kW}, targets: [{profile: p, nodes: 1, accelerators: 1}],
       ready_when: {accepted: 100 %, level: quick}}
  nodes:
    - {group: g, tranche: t1, profile: p, list: [{name: n1, address: 127.0.0.1, rack: r1, slot: u1}], identity: name}
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: p, version: "1", title: this machine}
spec: {vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW, expect: {cpu.threads: {min: 1}}}
YAML
}

if [ "$only" != dropbear ]; then
  port=$(sshd_start "$work/sshd") || exit 1
  server=$(cat "$work/sshd/pid")
  reach=(-w 127.0.0.1 --port "$port" --identity "$work/sshd/id_ed25519" --known-hosts "$work/sshd/known_hosts")
  campaign sshd 10
  write_site
  agent_gone "the agent, kfab killed" -KILL
  agent_gone "the agent, kfab suspended" -STOP
fi

# dropbear reads the keys of the user's home only: a mount of our own puts ours there.
dropbear_start() {
  local line
  if ! command -v dropbear > /dev/null || ! command -v dropbearkey > /dev/null; then echo "no dropbear"; return 1; fi
  if [ "$(id -u)" != 0 ] || ! unshare -m true 2> /dev/null; then echo "no mount namespaces"; return 1; fi
  sshd_make_keys "$work/sshd" || return 1
  mkdir -p "$work/home/.ssh" && chmod 700 "$work/home" "$work/home/.ssh"
  cp "$work/sshd/authorized_keys" "$work/home/.ssh/authorized_keys"
  dropbearkey -t ed25519 -f "$work/dropbear_key" > "$work/dropbear_pub" 2>&1 || return 1
  line=$(grep '^ssh-ed25519' "$work/dropbear_pub" | cut -d' ' -f1,2)
  port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
  echo "[127.0.0.1]:$port $line" > "$work/known_dropbear"
  # shellcheck disable=SC2016  # for the inner shell
  unshare -m sh -c 'mount --bind "$1" "$(getent passwd 0 | cut -d: -f6)" && exec dropbear -F -E -p "127.0.0.1:$2" -r "$3" -P "$4"' sh \
    "$work/home" "$port" "$work/dropbear_key" "$work/dropbear.pid" 2> "$work/dropbear.log" &
  dropbear_pid=$!
  server=$dropbear_pid
  for _ in $(seq 1 100); do sshd_answers "$port" && return 0; sleep 0.1; done
  cat "$work/dropbear.log"
  return 1
}
if [ "$only" != sshd ]; then
  if dropbear_start > "$work/why"; then
    reach=(-w 127.0.0.1 --port "$port" --identity "$work/sshd/id_ed25519" --known-hosts "$work/known_dropbear")
    campaign dropbear 9
  else
    echo "skipped: dropbear: $(cat "$work/why")"
  fi
fi
verdict orphans
