#!/bin/bash
# `kfab exec` against a real sshd: what a script may rely on, outcome by outcome. Usage: exec.sh KFAB
set -u
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/fleet/sshd.sh
. "$here/sshd.sh"
kfab=$1
sshd_binary > /dev/null || { echo "skipped: no sshd"; exit 77; }
work=$(mktemp -d)
failures=0
# shellcheck disable=SC2317  # called by the trap
finish() { sshd_stop "$work/sshd"; rm -rf "$work"; }
trap finish EXIT

# expect NAME EXIT [PATTERN...]: the last run's exit code, and that each pattern stands in its output.
expect() {
  local name=$1 want=$2 pattern
  shift 2
  if [ "$status" != "$want" ]; then echo "FAIL $name: exit $status instead of $want"; cat "$work/out" "$work/err"; failures=$((failures + 1)); return; fi
  for pattern in "$@"; do
    if ! grep -qE -- "$pattern" "$work/out"; then
      echo "FAIL $name: no line like: $pattern"; cat "$work/out" "$work/err"; failures=$((failures + 1)); return
    fi
  done
  echo "ok   $name"
}
run() { "$kfab" exec --state "$work/state" "$@" > "$work/out" 2> "$work/err"; status=$?; }

port=$(sshd_start "$work/sshd") || exit 1
reach=(-w 127.0.0.1 --port "$port" --identity "$work/sshd/id_ed25519" --known-hosts "$work/sshd/known_hosts" -o json)

run "${reach[@]}" -- true
expect "a command that succeeds" 0 '"outcome": "ok"' '"exit_status": 0' '"exit_code": 0'

# A shell that keeps its output open beside a redirection would hold the end back for 12 seconds.
echo hallo > "$work/input"
run "${reach[@]}" --stdin "$work/input" --timeout 9s -- cat
expect "input, and the end is told when the command ends" 0 '"outcome": "ok"' '"stdout": "hallo'

run "${reach[@]}" -- 'exit 7'
expect "an exit status" 1 '"outcome": "failed"' '"exit_status": 7' '"signal": null'

# shellcheck disable=SC2016  # the remote shell's own pid is meant
run "${reach[@]}" -- 'kill -9 $$'
expect "killed by a signal" 1 '"outcome": "failed"' '"signal": "KILL"' '"exit_status": null' '"exit_code": 1'

"$kfab" exec --state "$work/state" "${reach[@]}" -- 'echo begun; sleep 60' > "$work/out" 2> "$work/err" &
client=$!
main=$(cat "$work/sshd/pid")
for _ in $(seq 1 100); do
  [ -z "$(sshd_descendants "$main")" ] || { sleep 0.5; break; }
  sleep 0.05
done
for pid in $(sshd_descendants "$main"); do kill -9 "$pid" 2> /dev/null; done
wait "$client"; status=$?
expect "sshd killed in mid-command" 3 '"exit_code": 3' '"exit_status": null' '"outcome": "(unreachable|timed_out)"'

run -w 127.0.0.1 --port "$port" --identity "$work/sshd/id_other" --known-hosts "$work/sshd/known_hosts" -o json -- true
expect "a key that is not authorized" 3 '"outcome": "refused"' '"phase": "auth"'

run -w 127.0.0.1 --port "$port" --identity "$work/sshd/id_ed25519" --known-hosts /dev/null -o json -- true
expect "a host key that nobody knows" 3 '"outcome": "refused"' 'SHA256:'

run -w 127.0.0.1 --port "$port" --identity "$work/sshd/id_ed25519" --known-hosts /dev/null --host-keys trust-on-first-use -o json -- true
expect "trusted on first use when asked for" 0 '"outcome": "ok"'
run -w 127.0.0.1 --port "$port" --identity "$work/sshd/id_ed25519" --known-hosts /dev/null -o json -- true
expect "and known from then on" 0 '"outcome": "ok"'

run "${reach[@]}" --timeout 1s -- 'sleep 30'
expect "a command that takes too long" 3 '"outcome": "timed_out"' '"phase": "command"'

run "${reach[@]}" -- 'printf "\033[2J\377"'
expect "output that is no text" 0 '"outcome": "ok"'

sshd_stop "$work/sshd"
run "${reach[@]}" -- true
expect "nobody listens" 3 '"outcome": "unreachable"' '"phase": "connect"'

[ "$failures" = 0 ] && echo "all as expected"
exit "$failures"
