#!/bin/bash
# --become against the real sudo: users of our own, in a mount namespace of our own, so that this machine's accounts and
# sudoers stay as they are. Needs root, sudo and unshare; else it is skipped. Usage: sudo.sh KFAB
set -u
here=$(cd "$(dirname "$0")" && pwd)
kfab=$1
[ -x "$kfab" ] || { echo "no kfab at $kfab"; exit 1; }
# shellcheck source=tests/fleet/sshd.sh
. "$here/sshd.sh"
# shellcheck source=tests/fleet/expect.sh
. "$here/expect.sh"
sshd_binary > /dev/null || { echo "skipped: no sshd"; exit 77; }
if ! command -v sudo > /dev/null || [ ! -f /etc/sudoers ]; then echo "skipped: no sudo"; exit 77; fi
[ "$(id -u)" = 0 ] || { echo "skipped: not root, so there can be no users of our own"; exit 77; }
if [ "${KFAB_SUDO_TEST:-}" != inside ]; then
  unshare -m true 2> /dev/null || { echo "skipped: no mount namespaces"; exit 77; }
  KFAB_SUDO_TEST=inside exec unshare -m --propagation private bash "$0" "$@"
fi

work=$(mktemp -d)
chmod 755 "$work"
# shellcheck disable=SC2317  # called by the trap
finish() { sshd_stop "$work/sshd"; for name in passwd shadow group sudoers; do umount "/etc/$name"; done 2> /dev/null; rm -rf "$work"; }
trap finish EXIT
password="pass'w\"ord \$with %all"
mkdir "$work/etc"
for name in passwd shadow group sudoers; do cp -p "/etc/$name" "$work/etc/$name"; done
uid=61000
for user in kfab-free kfab-asked kfab-none; do
  uid=$((uid + 1))
  mkdir -p "$work/home/$user"; chown "$uid:$uid" "$work/home/$user"
  echo "$user:x:$uid:$uid::$work/home/$user:/bin/bash" >> "$work/etc/passwd"
  echo "$user:x:$uid:" >> "$work/etc/group"
  echo "$user:$(openssl passwd -6 "$password"):19000:0:99999:7:::" >> "$work/etc/shadow"
done
{
  echo 'Defaults !lecture, passwd_tries=2'
  [ -z "${KFAB_SUDO_DEFAULTS:-}" ] || echo "Defaults $KFAB_SUDO_DEFAULTS"
  echo 'root ALL=(ALL:ALL) ALL'
  echo 'kfab-free ALL=(ALL:ALL) NOPASSWD: ALL'
  echo 'kfab-asked ALL=(ALL:ALL) ALL'
} > "$work/etc/sudoers"
chmod 440 "$work/etc/sudoers"
for name in passwd shadow group sudoers; do mount --bind "$work/etc/$name" "/etc/$name" || exit 1; done

port=$(sshd_start "$work/sshd") || exit 1
chmod 755 "$work/sshd"; chmod 644 "$work/sshd/authorized_keys"
echo "$password" > "$work/pass"; echo wrong > "$work/wrong"; chmod 600 "$work/pass" "$work/wrong"
seq 100000 > "$work/input"
run() {   # run USER [OPTION...] -- COMMAND
  local user=$1
  shift
  "$kfab" exec --state "$work/state" -w 127.0.0.1 --port "$port" --identity "$work/sshd/id_ed25519" \
    --known-hosts "$work/sshd/known_hosts" --user "$user" -o json "$@" > "$work/out" 2> "$work/err"
  status=$?
}
digest=$(sha256sum < "$work/input" | cut -d' ' -f1)

# shellcheck disable=SC2016  # for the remote shell
run kfab-free --become -- 'id -u; echo "$0"'
expect "NOPASSWD: root without a password" 0 '"stdout": "0\\n' '"stderr": ""'
run kfab-asked --become -- 'id -u'
expect "a password is wanted and none was given: refused, not failed" 3 '"outcome": "refused"' '"exit_status": null' 'KF2075'
run kfab-asked --become --become-pass-file "$work/pass" --stdin "$work/input" -- 'id -u; sha256sum; echo err >&2'
expect "the password is given, the input comes whole, the prompt is not seen" 0 "\"stdout\": \"0.n$digest" '"stderr": "err\\n"'
run kfab-asked --become --become-pass-file "$work/pass" -- 'exit 7'
expect "an exit status through sudo" 1 '"exit_status": 7'
run kfab-asked --become --become-pass-file "$work/wrong" -- 'id -u'
expect "a wrong password is given once" 3 '"outcome": "refused"' 'KF2076' '"exit_status": null'
run kfab-free --become --become-pass-file "$work/pass" --stdin "$work/input" -- 'sha256sum; cat'
expect "NOPASSWD with a password at hand: nothing of it reaches the command" 0 "\"stdout\": \"$digest  -.n\""
run kfab-none --become --become-pass-file "$work/pass" -- id
expect "a user whom sudo does not know" 3 '"outcome": "refused"' 'KF2075'
# shellcheck disable=SC2016  # for the remote shell
run kfab-free --become --env "A=it's" -- 'echo "$A"'
expect "a variable survives sudo" 0 "it's"
chmod 644 "$work/pass"
run kfab-asked --become --become-pass-file "$work/pass" -- id
expect "a password file that others can read" 2 'KF1282'
chmod 600 "$work/pass"
run kfab-asked --become --ask-become-pass -- id < /dev/null
expect "nobody to ask" 2 'KF1283'

# While root's command runs: who can see the password? Then kfab is killed, and root's processes must go.
mark="$((400000 + $$)).$((RANDOM + 10000))"
"$kfab" exec --state "$work/state" -w 127.0.0.1 --port "$port" --identity "$work/sshd/id_ed25519" --known-hosts "$work/sshd/known_hosts" \
  --user kfab-asked --become --become-pass-file "$work/pass" -- "sleep $mark; sleep $mark" > "$work/out" 2>&1 &
pid=$!
disown "$pid"
for _ in $(seq 1 100); do pgrep -fx "sleep $mark" > /dev/null && break; sleep 0.1; done
pgrep -u root -fx "sleep $mark" > /dev/null && ! grep -lF -- "$password" /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2> /dev/null
status=$?; : > "$work/out"; expect "the password is in nobody's arguments or environment" 0
kill -9 "$pid"
for _ in $(seq 1 75); do pgrep -fx "sleep $mark" > /dev/null || break; sleep 0.2; done
! pgrep -afx "sleep $mark"
status=$?; expect "kfab killed: root's processes are gone as well" 0
! grep -rlF -- "$password" "$work/state" 2> /dev/null
status=$?; expect "the password is not in the records" 0

# The agent, where the manifest says sudo.
cat > "$work/site.yaml" <<YAML
apiVersion: kfab/v1
kind: Site
metadata: {name: sudo-test, title: one node behind sudo, country: KR, as_of: "2026-01-01"}
spec:
  kind: edge
  ssh: {user: kfab-asked, port: $port, become: sudo, identity_files: [sshd/id_ed25519], known_hosts: [sshd/known_hosts]}
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
inventory() { "$kfab" inventory "$work/site.yaml" --state "$work/state" -o json "$@" > "$work/out" 2> "$work/err"; status=$?; }
inventory
expect "the agent without the password" 3 'KF2157'
inventory --become-pass-file "$work/pass"
expect "the agent with the password" 0 '"outcome": "yes"'
inventory --become-pass-file "$work/wrong"
expect "the agent with a wrong one" 3 'KF2076'

verdict sudo
