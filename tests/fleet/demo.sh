#!/bin/bash
# `kfab demo` from one end to the other, and that nothing of it runs on afterwards. Usage: demo.sh KFAB
set -u
kfab=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$kfab" demo --dir "$work/demo" -o json > "$work/out.json" 2> "$work/err"
status=$?
fail() { echo "FAIL $1"; cat "$work/out.json" "$work/err"; tail -n 50 "$work"/demo/*.log 2> /dev/null; exit 1; }
if [ $status = 2 ] && grep -q local_program_missing "$work/out.json"; then echo "skipped: no sshd"; exit 77; fi
[ $status = 0 ] || fail "exit $status"
[ -s "$work/demo/report.html" ] || fail "no report"
grep -q '"name": "t1"' "$work/demo/readiness.json" || fail "tranche 1 is not in the JSON"
[ "$(grep -cE '"ready": true' "$work/out.json")" = 1 ] || fail "not exactly one tranche is ready"
grep -q demo4 "$work/demo/report.html" || fail "the report does not name the failing node"
port=$(sed -n 's/^Port //p' "$work/demo/sshd_config")
if (exec 3<> "/dev/tcp/127.0.0.11/$port") 2> /dev/null; then fail "an sshd still listens on $port"; fi
echo "tranche 1 ready, tranche 2 not, nothing left behind"
