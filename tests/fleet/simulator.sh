#!/bin/bash
# The node simulator against OpenSSH's own client, so that it is not made for one client alone. simulator.sh PROGRAM
set -euo pipefail
simulator=$1
command -v ssh >/dev/null || { echo "skipped: no ssh (openssh-client)"; exit 77; }
dir=$(mktemp -d)
pid=
finish() {
  exec 3>&- || true
  [ -z "$pid" ] || wait "$pid" 2>/dev/null || true
  rm -rf "$dir"
}
trap finish EXIT

mkfifo "$dir/in"
"$simulator" --identity "$dir/id" --known-hosts "$dir/known_hosts" --nodes 127.68.0.1+64 --host-keys each --output $'hello\n' \
  --node '127.68.0.2 exit:7' --node '127.68.0.3 cat' --node '127.68.0.4 flood:4194304' --node '127.68.0.5 wrong_host_key' \
  --node '127.68.0.6 laggy:30' --node '127.68.0.7 auth_refused' --node '127.68.0.8 reset@output' --node '127.68.0.9 bad_signature' \
  --node '127.68.0.10 greeting' --node '127.68.0.11 max_startups:1' --node '127.68.0.12 binary' <"$dir/in" >"$dir/out" &
pid=$!
exec 3>"$dir/in"
for _ in $(seq 100); do grep -q '^ready' "$dir/out" && break; sleep 0.1; done
port=$(sed -n 's/^ready port=\([0-9]*\) .*/\1/p' "$dir/out")
[ -n "$port" ] || { echo "the simulator did not start"; exit 1; }

failures=0
on() { timeout 60 ssh -F none -n -o BatchMode=yes -o IdentityAgent=none -o LogLevel=ERROR -i "$dir/id" -o "UserKnownHostsFile=$dir/known_hosts" -o GlobalKnownHostsFile=none -p "$port" "operator@127.68.0.$1" "${2:-true}"; }
# expect WHAT STATUS TEXT: the last command line's status and output.
expect() {
  local what=$1 status=$2 text=$3
  if [ "$got_status" != "$status" ] || [ "$got_text" != "$text" ]; then
    echo "FAILED: $what: status $got_status, not $status; output '${got_text:0:200}', not '${text:0:200}'"
    failures=$((failures + 1))
  fi
}
call() { got_status=0; got_text=$("$@" 2>/dev/null) || got_status=$?; }

call on 1; expect "a healthy node" 0 hello
call on 2; expect "an exit status" 7 ""
call on 5; expect "a wrong host key" 255 ""
call on 6; expect "a slow line" 0 hello
call on 7; expect "a refused key" 255 ""
call on 9; expect "a forged signature" 255 ""
call on 10; expect "lines before the banner" 0 hello
call on 11; expect "the first connection of a full node" 255 ""
call on 11; expect "the second" 0 hello
got_status=0 got_text=$(on 4 2>/dev/null | wc -c) || got_status=$?
expect "a flood" 0 4194304
got_status=0 got_text=$(on 12 2>/dev/null | sha256sum | cut -c1-16) || got_status=$?
expect "every byte value" 0 785b0751fc2c53dc
got_status=0
on 8 >/dev/null 2>&1 || got_status=$?
got_text="" && expect "a reset in the output" 255 ""
head -c 300000 /dev/urandom >"$dir/blob"
got_status=0
timeout 60 ssh -F none -o BatchMode=yes -o LogLevel=ERROR -i "$dir/id" -o "UserKnownHostsFile=$dir/known_hosts" -p "$port" operator@127.68.0.3 cat <"$dir/blob" >"$dir/back" || got_status=$?
got_text=$(cmp "$dir/blob" "$dir/back" && echo same)
expect "input that comes back" 0 same

# Through one node to another, and through that to a third.
jump() { timeout 60 ssh -F "$dir/config" -n -J "$1" "operator@$2" true; }
printf 'Host *\n  BatchMode yes\n  IdentityAgent none\n  IdentityFile %s\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile none\n  LogLevel ERROR\n  Port %s\n' "$dir/id" "$dir/known_hosts" "$port" >"$dir/config"
call jump operator@127.68.0.20 127.68.0.21; expect "one jump" 0 hello
call jump operator@127.68.0.20,operator@127.68.0.22 127.68.0.2; expect "two jumps" 7 ""

echo stats >&3
for _ in $(seq 50); do grep -q '^stats' "$dir/out" && break; sleep 0.1; done
grep '^stats' "$dir/out"
[ "$failures" -eq 0 ] && echo "the simulator and $(ssh -V 2>&1) agree"
exit $((failures > 0))
