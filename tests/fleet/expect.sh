# shellcheck shell=bash
# What the shell tests of the fleet say and count in the same way. Source it, set `work` to a folder of the test's own,
# and end with `verdict NAME`.
#
#   capture COMMAND...            runs it without input; what it says is in $work/out and $work/err, its end in `status`
#   expect NAME STATUS [PATTERN...]   of what was captured last: its exit status, and that each extended regular expression
#                                 is in what it said; one that begins with ! must not be there
#   check NAME GOT WANTED         two texts are the same
#   passed NAME, failed NAME      count a case; failed also shows what was captured last
#   verdict NAME                  says how it went, and ends the test
failures=0
: "${work:=}"

passed() { printf 'ok    %s (%s s)\n' "$1" "$SECONDS"; }
failed() {
  printf 'FAIL  %s\n' "$1"
  tail -n 60 "$work/out" 2> /dev/null
  tail -n 30 "$work/err" 2> /dev/null
  failures=$((failures + 1))
}
capture() { "$@" > "$work/out" 2> "$work/err" < /dev/null; status=$?; }
expect() {
  local name=$1 wanted=$2 pattern
  shift 2
  if [ "$status" != "$wanted" ]; then failed "$name: exit $status instead of $wanted"; return; fi
  for pattern in "$@"; do
    case $pattern in
      '!'*) ! grep -qE -- "${pattern#!}" "$work/out" "$work/err" || { failed "$name: says ${pattern#!}"; return; } ;;
      *) grep -qE -- "$pattern" "$work/out" "$work/err" || { failed "$name: does not say $pattern"; return; } ;;
    esac
  done
  passed "$name"
}
check() {
  if [ "$2" = "$3" ]; then passed "$1"; return; fi
  printf 'FAIL  %s: %s instead of %s\n' "$1" "'$2'" "'$3'"
  failures=$((failures + 1))
}
verdict() {
  if [ "$failures" = 0 ]; then echo "$1: all as expected"; exit 0; fi
  echo "$1: $failures failed"
  exit 1
}
