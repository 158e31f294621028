#!/bin/bash
# `kfab copy` against a real sshd: to and from nodes, hostile names, cut and resumed. Usage: copy.sh KFAB
set -u
here=$(cd "$(dirname "$0")" && pwd)
kfab=$1
[ -x "$kfab" ] || { echo "no kfab at $kfab"; exit 1; }
# shellcheck source=tests/fleet/sshd.sh
. "$here/sshd.sh"
sshd_binary > /dev/null || { echo "skipped: no sshd"; exit 77; }
work=$(mktemp -d)
failures=0
# shellcheck disable=SC2317  # called by the trap
finish() { sshd_stop "$work/sshd"; rm -rf "$work"; }
trap finish EXIT
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
# check NAME COMMAND...: the command succeeds.
check() {
  local name=$1
  shift
  if "$@"; then echo "ok   $name"; else echo "FAIL $name: $*"; failures=$((failures + 1)); fi
}
port=$(sshd_start "$work/sshd") || exit 1
reach=(-w 127.0.0.1 --port "$port" --identity "$work/sshd/id_ed25519" --known-hosts "$work/sshd/known_hosts")
run() { "$kfab" copy --state "$work/state" "${reach[@]}" -o json "$@" > "$work/out" 2> "$work/err"; status=$?; }
mkdir "$work/node" "$work/here"
head -c 5000000 /dev/urandom > "$work/here/file"
sum=$(sha256sum < "$work/here/file" | cut -d' ' -f1)

run "$work/here/file" "$work/node/target" --mode 0640
expect "a new file" 0 '"changed": true' '"bytes_sent": 5000000' '"resumed_from_bytes": 0' "\"sha256\": \"$sum\""
check "is the same, with the mode asked for" test "$(sha256sum < "$work/node/target" | cut -d' ' -f1) $(stat -c %a "$work/node/target")" = "$sum 640"
run "$work/here/file" "$work/node/target" --mode 0640
expect "again: it is there already" 0 '"changed": false' '"bytes_sent": 0' '"outcome": "ok"'
run "$work/here/file" "$work/node/target" --mode 0600
expect "only the mode" 0 '"changed": true' '"bytes_sent": 0'
run "$work/here/file" "$work/node"
expect "into a folder, under its own name" 0 '"changed": true'
check "is there" cmp "$work/here/file" "$work/node/file"
: > "$work/here/empty"
run "$work/here/empty" "$work/node/target"
expect "an empty file over a full one" 0 '"changed": true'
check "is empty" test ! -s "$work/node/target"
ln -s target "$work/node/link"
run "$work/here/file" "$work/node/link"
expect "through a link" 0 '"changed": true'
check "the link stayed, the file behind it changed" test -L "$work/node/link" -a "$(stat -c %s "$work/node/target")" = 5000000
check "nothing half done is left" test -z "$(find "$work/node" -name '.kfab-*')"

# Several names of one machine at once: one of them goes on with what was left, the others work beside it.
head -c 30000000 /dev/urandom > "$work/here/large"
printf 'Host n*\n  HostName 127.0.0.1\n  Port %s\n  IdentityFile %s\n  UserKnownHostsFile %s\n' "$port" "$work/sshd/id_ed25519" "$work/sshd/known_hosts" > "$work/names"
"$kfab" copy --state "$work/state" -w 'n[1-3]' --ssh-config "$work/names" -o json "$work/here/large" "$work/node/large" \
  > "$work/out" 2> "$work/err"
status=$?
expect "to three names of one machine" 0 '"ok": 3'
check "is whole" cmp "$work/here/large" "$work/node/large"
check "nothing of the three is left" test -z "$(find "$work/node" -name '.kfab-*')"
rm "$work/here/large" "$work/node/large"

# Names that a shell, a parser or a careless program would take for something else.
# shellcheck disable=SC2016,SC1003  # as they are
names=("it's" 'two  blanks ' '$HOME' '`id`' '-rf' '~' "a\"b" '!x' $'new\nline' $'end\n' '*' 'a;b' '\\' $'\xff\xfe')
for name in "${names[@]}"; do
  cp "$work/here/empty" "$work/here/$name"; printf '%s' "$name" > "$work/here/$name"
  run "$work/here/$name" "$work/node/"
  if [ "$status" != 0 ] || ! cmp -s "$work/here/$name" "$work/node/$name"; then
    echo "FAIL the name $(printf %q "$name") to the node"; cat "$work/out" "$work/err"; failures=$((failures + 1)); continue
  fi
  rm -rf "$work/back"
  run --from "$work/node/$name" "$work/back"
  if [ "$status" != 0 ] || ! cmp -s "$work/here/$name" "$work/back/127.0.0.1/$name"; then
    echo "FAIL the name $(printf %q "$name") from the node"; cat "$work/out" "$work/err"; failures=$((failures + 1)); continue
  fi
  echo "ok   the name $(printf %q "$name"), to the node and back"
done

run "$work/here/file" "$work/node/missing/target"
expect "a folder that is not there" 1 'KF2080' '"outcome": "failed"'
run "$work/here/file" /dev/null
expect "a device" 1 'KF2083'
run "$work/here" "$work/node/x"
expect "a directory is not copied" 2 'KF1285'
run --from "$work/node" "$work/back"
expect "nor fetched" 1 'KF2083'
run --from "$work/node/none" "$work/back"
expect "a file that is not there" 1 'KF2084'
run --from "$work/node/target" --max-size 4 "$work/back"
expect "a file that is too large" 1 'KF2085'
run --from "$work/node/target" "$work/back"
expect "from the node" 0 '"changed": true' '"bytes_sent": 5000000' "\"sha256\": \"$sum\""
check "is the same, and nobody else may read it" test "$(sha256sum < "$work/back/127.0.0.1/target" | cut -d' ' -f1) $(stat -c %a "$work/back/127.0.0.1/target")" = "$sum 600"
run --from "$work/node/target" "$work/back"
expect "it is here already" 0 '"changed": false' '"bytes_sent": 0'
# A canary that fails stops the rest, which are named with how to go on.
"$kfab" copy --state "$work/state" -w '127.0.0.[1-4]' --port "$port" --identity "$work/sshd/id_ed25519" --known-hosts "$work/sshd/known_hosts" \
  --canary 1 -o json "$work/here/file" "$work/node/missing/target" > "$work/out" 2> "$work/err"; status=$?
expect "a canary that fails stops the rest" 3 '"failed_nodes": "127.0.0.1"' '"not_started": 3' '"not_started_nodes": "127.0.0.\[2-4\]"' '"stopped_by": \[' 'KF2080' '"cpu_s"'
run "$work/here/file"
expect "too few words" 2 'KF1287'
run "$work/here/file" "$work/node/x" --mode 99
expect "a mode that is none" 2 'KF1287'

# The connection dies in the midst: the next run goes on from there.
head -c 120000000 /dev/urandom > "$work/here/large"
# cut_at FILE BYTES: once FILE (a pattern) has BYTES, the session's processes are killed, sshd's before the command's: else a busy
# machine lets sshd tell that the command was killed, and the connection would have ended in good order.
cut_at() {
  local main size
  main=$(cat "$work/sshd/pid")
  for _ in $(seq 1 3000); do
    size=$(find "$1" -name '.kfab-*' ! -name '*.lock' -printf '%s\n' 2> /dev/null | head -n 1)
    # shellcheck disable=SC2046  # pids are words
    if [ "${size:-0}" -ge "$2" ]; then kill -9 $(sshd_descendants "$main" | tac) 2> /dev/null; return 0; fi
    sleep 0.01
  done
  return 1
}
"$kfab" copy --state "$work/state" "${reach[@]}" -o json "$work/here/large" "$work/node/large" > "$work/out" 2> "$work/err" &
client=$!
cut_at "$work/node" 30000000
wait "$client"; status=$?
expect "cut on the way to the node" 3 '"outcome": "unreachable"' '"changed": false'
check "the old name is untouched" test ! -e "$work/node/large"
run "$work/here/large" "$work/node/large"
expect "and resumed" 0 '"changed": true' '"resumed_from_bytes": [1-9][0-9]{7}'
check "whole" cmp "$work/here/large" "$work/node/large"
"$kfab" copy --state "$work/state" "${reach[@]}" -o json --from "$work/node/large" "$work/back" > "$work/out" 2> "$work/err" &
client=$!
cut_at "$work/back" 30000000
wait "$client"; status=$?
expect "cut on the way from the node" 3 '"changed": false'
run --from "$work/node/large" "$work/back"
expect "and resumed" 0 '"changed": true' '"resumed_from_bytes": [1-9][0-9]{6}'
check "whole" cmp "$work/here/large" "$work/back/127.0.0.1/large"
# What is left was meddled with: its checksum tells, and all is sent again.
rm "$work/node/large"
"$kfab" copy --state "$work/state" "${reach[@]}" -o json "$work/here/large" "$work/node/large" > "$work/out" 2> "$work/err" &
client=$!
cut_at "$work/node" 30000000
wait "$client"
part=$(find "$work/node" -name '.kfab-*' ! -name '*.lock')
printf X | dd of="$part" bs=1 seek=1000 conv=notrunc 2> /dev/null
run "$work/here/large" "$work/node/large"
expect "a part that was damaged is not gone on from" 0 '"changed": true' '"resumed_from_bytes": 0'
check "whole" cmp "$work/here/large" "$work/node/large"
check "nothing half done is left" test -z "$(find "$work/node" "$work/back" -name '.kfab-*')"

[ "$failures" = 0 ] && echo "all as expected"
exit "$failures"
