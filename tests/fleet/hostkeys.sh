#!/bin/bash
# Host identity against real sshds: certificates on the way in, and `kfab hostkeys` from the first look at a site to a
# reinstalled node. Usage: hostkeys.sh KFAB
set -u
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/fleet/sshd.sh
. "$here/sshd.sh"
kfab=$1
sshd_binary > /dev/null || { echo "skipped: no sshd"; exit 77; }
work=$(mktemp -d)
failures=0
# shellcheck disable=SC2317  # called by the trap
finish() { sshd_stop "$work/a"; sshd_stop "$work/b"; rm -rf "$work"; }
trap finish EXIT
export HOME=$work/home
mkdir -p "$HOME"

# expect NAME EXIT [PATTERN...]: the last run's exit code, and that each pattern stands in what it said; !PATTERN: does not.
expect() {
  local name=$1 want=$2 pattern
  shift 2
  if [ "$status" != "$want" ]; then echo "FAIL $name: exit $status instead of $want"; cat "$work/out" "$work/err"; failures=$((failures + 1)); return; fi
  for pattern in "$@"; do
    if case $pattern in '!'*) cat "$work/out" "$work/err" | grep -qE -- "${pattern#!}" ;; *) ! cat "$work/out" "$work/err" | grep -qE -- "$pattern" ;; esac; then
      echo "FAIL $name: $pattern"; cat "$work/out" "$work/err"; failures=$((failures + 1)); return
    fi
  done
  echo "ok   $name"
}
run() { "$kfab" "$@" > "$work/out" 2> "$work/err" < /dev/null; status=$?; }
pattern() { sed 's/[+]/[+]/g'; }   # a fingerprint in an expression
fingerprint() { ssh-keygen -lf "$1" | cut -d' ' -f2; }

# --- certificates ---------------------------------------------------------------------------------------------------
for name in ca other; do ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$work/$name"; done
ssh-keygen -q -t rsa -b 3072 -N '' -C rsa -f "$work/rsa"
sshd_make_keys "$work/a"
ssh-keygen -q -t rsa -b 2048 -N '' -C host_rsa -f "$work/a/host_rsa"
key() { cut -d' ' -f1,2 "$1.pub"; }
sign() {   # sign CA HOSTKEY OPTION...
  local ca=$1 host=$2
  shift 2
  ssh-keygen -q -s "$work/$ca" -I id "$@" "$work/a/$host.pub"
}
# certified HOSTKEY...: sshd with these keys, each with its certificate
certified() {
  local lines=() name
  sshd_stop "$work/a"
  for name in "$@"; do lines+=("HostKey $work/a/$name" "HostCertificate $work/a/$name-cert.pub"); done
  port=$(sshd_start "$work/a" "${lines[@]}") || exit 1
}
log_in() { run exec --state "$work/state" -w 127.0.0.1 --port "$port" --identity "$work/a/id_ed25519" --known-hosts "$work/known" -o json -- true; }
for_ever=(-h -n "localhost,127.0.0.1")
trusting() { printf '@cert-authority %s %s\n' "$2" "$(key "$work/$1")" > "$work/known"; }

sign ca host_ecdsa "${for_ever[@]}"; certified host_ecdsa; trusting ca '[127.0.0.1]:*'; log_in
expect "an ECDSA host certificate" 0 '"outcome": "ok"'
sign rsa host_ed25519 "${for_ever[@]}"; certified host_ed25519; trusting rsa '127.0.0.*'; log_in
expect "an Ed25519 host certificate by an RSA authority" 0 '"outcome": "ok"'
sign ca host_ed25519 "${for_ever[@]}"; certified host_ecdsa host_ed25519; trusting ca '*'; log_in
expect "both, and a key beside them" 0 '"outcome": "ok"'
trusting other '*'; log_in
expect "another authority" 3 KF2015 'no @cert-authority line and no security.ssh_ca trusts' '"outcome": "refused"'
trusting ca 'elsewhere.*'; log_in
expect "an authority for others" 3 KF2010
{ trusting ca '*'; printf '@revoked * %s\n' "$(key "$work/ca")" >> "$work/known"; }; log_in
expect "a revoked authority" 3 KF2012
{ trusting ca '*'; printf '@revoked * %s\n' "$(key "$work/a/host_ed25519")" "$(key "$work/a/host_ecdsa")" >> "$work/known"; }; log_in
expect "a revoked host key" 3 KF2012
trusting ca '*'
printf '[127.0.0.1]:%s %s\n' "$port" "$(key "$work/other")" >> "$work/known"; log_in
expect "a changed key that is certified" 0 '"outcome": "ok"'
sign ca host_ed25519 -h -n 127.0.0.1 -V 20200101:20200201; certified host_ed25519
printf '[127.0.0.1]:%s %s\n' "$port" "$(key "$work/other")" >> "$work/known"; log_in
expect "expired, and the plain key has changed" 3 KF2011 'was valid until 2020-0'
trusting ca '*'; log_in
expect "expired" 3 KF2016 'was valid until 2020-0'
sign ca host_ed25519 -h -n 127.0.0.1 -V 20900101:20910101; certified host_ed25519; log_in
expect "not valid yet" 3 KF2016 'not valid before 2089-12|not valid before 2090-01'
sign ca host_ed25519 -h -n gpu9; certified host_ed25519; log_in
expect "for another name" 3 KF2016 'it is for gpu9, not for 127.0.0.1'
sign ca host_ed25519 -n 127.0.0.1; certified host_ed25519; log_in
expect "for a user" 3 'KF201[56]' '"outcome": "refused"'
sign ca host_rsa "${for_ever[@]}"; certified host_rsa; log_in
if "$kfab" version | grep -qE 'libssh2 +1\.10'; then expect "only an RSA host certificate" 3 'KF20(05|15)'; else expect "an RSA host certificate" 0; fi
sshd_stop "$work/a"; port=$(sshd_start "$work/a") || exit 1; log_in
expect "no certificate at all" 3 KF2015 'shows no host certificate' 'SHA256:'

# --- a site ---------------------------------------------------------------------------------------------------------
sshd_stop "$work/a"
port_a=$(sshd_start "$work/a" "ListenAddress 127.0.0.2" "ListenAddress 127.0.0.1") || exit 1
port_b=$(sshd_start "$work/b") || exit 1
cat > "$work/site.yaml" <<YAML
apiVersion: kfab/v1
kind: Site
metadata: {name: keys, title: Host keys, country: KR, as_of: 2026-11-21}
spec:
  kind: edge
  ssh: {port: $port_a, identity_files: [$work/a/id_ed25519], known_hosts: [$work/known]}
  tranches:
    - {name: first, due: 2027-03-31, targets: [{profile: p, nodes: 4, accelerators: 4}], ready_when: {level: quick}}
  nodes:
    - {group: g, tranche: first, profile: p, list: [{name: a1, address: 127.0.0.1}, {name: a2, address: 127.0.0.2}, {name: dead, address: 127.0.0.3}]}
    - {group: h, tranche: first, profile: p, ssh: {port: $port_b, identity_files: [$work/b/id_ed25519], known_hosts: [$work/known]}, list: [{name: b1, address: 127.0.0.1}]}
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: p, version: "1", title: a node without accelerators}
spec: {vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW}
YAML
: > "$work/known"
hostkeys() { local action=$1; shift; run hostkeys "$action" "$work/site.yaml" --state "$work/state" "$@"; }
store=$work/state/sites/keys/known_hosts

hostkeys scan
expect "scan: a clone, a dead node, new keys" 3 'New: a\[1-2\],b1 \(3\)' "b1 +ssh-ed25519 +$(fingerprint "$work/b/host_ed25519.pub" | pattern)" 'a\[1-2\] \(2\) show the same' 'cloned' 'dead: unreachable in phase connect' 'Nothing was stored'
[ ! -e "$store" ] || { echo "FAIL scan stored something"; failures=$((failures + 1)); }
hostkeys list
expect "list: nothing yet" 1 'Nothing is known of a\[1-2\],b1,dead'
hostkeys trust
expect "trust: nobody to ask" 2 KF1206
hostkeys trust --yes
expect "trust: what is new and nobody else's" 3 'a\[1-2\] \(2\): left alone, others show the same keys' 'Stored 2 host keys of 1 node'
hostkeys trust --yes -x dead --allow-duplicates
expect "trust: clones when told so" 0 'Stored 4 host keys of 2 nodes'
grep -q '^a2,\[127.0.0.2\]' "$store" || { echo "FAIL a2 is not in $store"; failures=$((failures + 1)); }
hostkeys list -w b1 -o json
expect "list: from where" 0 '"state": "known"' "known_hosts:[0-9]"
hostkeys scan -w b1
expect "scan: known" 0 'Known: b1' '!New'
run exec --state "$work/state" "$work/site.yaml" -x dead -- true
expect "and what was trusted lets us in" 0

old=$(fingerprint "$work/b/host_ed25519.pub")
sshd_stop "$work/b"; rm "$work"/b/host_*; sshd_make_keys "$work/b"
sed -i "s/port: $port_b/port: PORT_B/; s/\[127.0.0.1\]:$port_b/[127.0.0.1]:PORT_B/" "$work/site.yaml" "$store"
port_b=$(sshd_start "$work/b") || exit 1
sed -i "s/PORT_B/$port_b/" "$work/site.yaml" "$store"
hostkeys scan -w b1
expect "scan: reinstalled" 1 'CHANGED: b1' "was known by ssh-ed25519 $(pattern <<< "$old")" "--replace 'b1'"
hostkeys trust -w b1 --yes
expect "trust: a changed key is not taken" 1 'b1: left alone, their keys have changed' 'Nothing was stored'
printf '# from the console\nb1 %s\n' "$old" > "$work/console"
hostkeys trust -w b1 --yes --replace b1 --fingerprints "$work/console"
expect "trust: and not when the console says otherwise" 1 KF2041 'Nothing was stored'
printf 'b1 256 %s host (ED25519)\n' "$(fingerprint "$work/b/host_ed25519.pub")" > "$work/console"
hostkeys trust -w b1 --yes --replace b1 --fingerprints "$work/console" -o json
expect "trust: replaced, what the console confirms" 0 '"stored_keys": 1' "\"fingerprint\": \"$(pattern <<< "$old")\"" '!KF2011' '"decision": "replaced"'
run exec --state "$work/state" "$work/site.yaml" -w b1 -- true
expect "and the node is reached again" 0
printf 'b1 nonsense\n' > "$work/console"
hostkeys trust -w b1 --yes --fingerprints "$work/console"
expect "trust: a file that cannot be read" 2 KF2042
hostkeys scan -w b1 --replace b1
expect "scan does not replace" 2 KF1213
run hostkeys scan --state "$work/state2" -w 127.0.0.1 --port "$port_b"
expect "scan: an address without a manifest" 1 'New: 127.0.0.1' "hostkeys trust -w '127.0.0.1'"

sign ca host_ecdsa -h -n a1,a2; certified host_ecdsa
sed -i "s/port: $port_a/port: $port/; s|^spec:\$|&\n  security: {ssh_ca: ca.pub}|" "$work/site.yaml"
rm "$store"
hostkeys scan -w a1
expect "security.ssh_ca makes the node known" 0 'Known: a1'
run exec --state "$work/state" "$work/site.yaml" -w a1 -- true
expect "and lets us in" 0

[ "$failures" = 0 ] && echo "all as expected"
exit "$failures"
