#!/bin/bash
# The ways in, from the command line: OpenSSH configuration, jump hosts, ssh(1) as transport, and what is left behind when
# kfab is killed. Usage: ways_in.sh KFAB
set -u
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/fleet/sshd.sh
. "$here/sshd.sh"
kfab=$1
sshd_binary > /dev/null || { echo "skipped: no sshd"; exit 77; }
command -v ssh > /dev/null || { echo "skipped: no ssh"; exit 77; }
work=$(mktemp -d)
failures=0
# shellcheck disable=SC2317  # called by the trap
finish() { sshd_stop "$work/sshd"; sshd_stop "$work/jump"; rm -rf "$work"; }
trap finish EXIT
export TMPDIR=$work
unset XDG_RUNTIME_DIR SSH_AUTH_SOCK

expect() {
  local name=$1 want=$2 pattern
  shift 2
  if [ "$status" != "$want" ]; then echo "FAIL $name: exit $status instead of $want"; cat "$work/out" "$work/err"; failures=$((failures + 1)); return; fi
  for pattern in "$@"; do
    if ! grep -qE -- "$pattern" "$work/out" "$work/err"; then
      echo "FAIL $name: no line like: $pattern"; cat "$work/out" "$work/err"; failures=$((failures + 1)); return
    fi
  done
  echo "ok   $name"
}
export KFAB_STATE_DIR=$work/state
run() { "$kfab" "$@" > "$work/out" 2> "$work/err"; status=$?; }

port=$(sshd_start "$work/sshd") || exit 1
jump_port=$(sshd_start "$work/jump") || exit 1
cat "$work/sshd/known_hosts" "$work/jump/known_hosts" > "$work/known"
cat "$work/sshd/id_ed25519.pub" >> "$work/jump/authorized_keys"
cat > "$work/config" <<END
Host gpu*
  HostName 127.0.0.1
  Port $port
  IdentityFile $work/sshd/id_ed25519
  UserKnownHostsFile $work/known
Host bastion
  HostName 127.0.0.1
  Port $jump_port
  IdentityFile $work/sshd/id_ed25519
  UserKnownHostsFile $work/known
Host behind
  HostName 127.0.0.1
  Port $port
  ProxyJump bastion
  IdentityFile $work/sshd/id_ed25519
  UserKnownHostsFile $work/known
Host odd
  ProxyCommand nc %h %p
END

run exec -w 'gpu[1-3]' --ssh-config "$work/config" -o json -- hostname
expect "by names of an OpenSSH configuration" 0 '"node": "gpu3"' '"outcome": "ok"'
run exec -w gpu1 --ssh-config none -o json -- hostname
expect "and not without it" 3 '"phase": "resolve"'
run exec -w gpu1 --ssh-config "$work/config" --transport openssh -o json -- 'exit 7'
expect "by ssh(1)" 1 '"exit_status": 7'
run exec -w behind --ssh-config "$work/config" --transport openssh -o json -- hostname
expect "by ssh(1), behind a jump host" 0 '"outcome": "ok"'
run exec -w behind --ssh-config "$work/config" -o json -- hostname
expect "by libssh2, behind a jump host" 0 '"outcome": "ok"'
cat > "$work/site.yaml" <<END
apiVersion: kfab/v1
kind: Site
metadata: {name: jumped, title: Two nodes behind a jump host, country: KR, as_of: 2026-11-21}
spec:
  kind: edge
  connectivity: {via: ["127.0.0.1:$jump_port"]}
  ssh: {port: $port, identity_files: [sshd/id_ed25519], known_hosts: [known]}
  tranches:
    - {name: t, due: 2027-03-31, targets: [{profile: p, nodes: 2, accelerators: 2}], ready_when: {level: quick}}
  nodes:
    - {group: g, tranche: t, profile: p, list: [{name: a, address: 127.0.0.1}, {name: b, address: 127.0.0.1}], identity: name}
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: p, version: "1", title: a node without accelerators}
spec: {vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW}
END
for way in libssh2 openssh; do
  run exec "$work/site.yaml" --transport $way -o json -- hostname
  expect "a site behind a jump host, by $way" 0 '"node": "b"' '"outcome": "ok"'
done
before=$(grep -c Connection "$work/jump/log")
run doctor "$work/site.yaml" -o json
[ "$status" != 3 ] || status=0   # whether a clock is synchronised cannot be seen everywhere
expect "doctor looks at such a site and reaches nobody" 0 '"id": "identities"' 'nodes are reached through'
[ "$(grep -c Connection "$work/jump/log")" = "$before" ] && status=0 || status=1
expect "not even the jump host" 0
run exec -w odd --ssh-config "$work/config" -o json -- true
expect "a ProxyCommand is refused, with the way out" 2 'KF2055'
run exec -w gpu1 --ssh-config "$work/nowhere" -- true
expect "a configuration that is not there" 2 'KF2050'

# kill -9: the ssh that runs the command goes at once; a control master may stay for as long as ControlPersist says.
"$kfab" exec -w gpu1 --ssh-config "$work/config" --transport openssh --state "$work/state" -- 'sleep 300' > /dev/null 2>&1 &
client=$!
clients() { pgrep -f -- "-F $work/kfab-ssh-[0-9a-f]*/.*kf_script" | wc -l; }
for _ in $(seq 1 100); do
  [ "$(clients)" = 0 ] || { sleep 1; break; }
  sleep 0.1
done
before=$(clients)
kill -9 "$client"
wait "$client" 2> /dev/null
for _ in $(seq 1 50); do
  [ "$(clients)" != 0 ] || break
  sleep 0.1
done
status=$(clients); : > "$work/out"; echo "before $before" > "$work/err"
expect "no ssh outlives a kfab that was killed" 0 'before [1-9]'
# The next kfab removes what the killed one left, once it is two minutes old.
left=$(find "$work" -maxdepth 1 -name 'kfab-ssh-*')
touch -d '10 minutes ago' "$left"
run exec -w gpu1 --ssh-config "$work/config" --transport openssh -o json -- true
expect "the next kfab works" 0 '"outcome": "ok"'
[ ! -e "$left" ] && status=0 || status=1
expect "and removes what was left" 0
status=$(find "$work" -maxdepth 1 -name 'kfab-ssh-*' | wc -l)
expect "and leaves nothing itself" 0

[ "$failures" = 0 ] && echo "all as expected"
exit "$failures"
