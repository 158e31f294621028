# kfab-bootstrap SHA256 GZ_BYTES BYTES plain|sudo|ask NONCE [MACHINE SHA256 GZ_BYTES BYTES]...
#
# Where machines are named the agent is that of the node, as uname -m names it.
# Starts the agent on a node: finds it in the cache of the user, or asks for it ("need"), stores it, and becomes it. The
# answer to "need" is a line: "direct", followed by GZ_BYTES of gzip, or "relay HOST PORT TOKEN", where another node hands
# out the BYTES of the file; when that fails it asks again, and the answer is "direct". Speaks one JSON object per line; "ready" is the last before the agent speaks.
# Any other state is why there is no agent.
#
# This text travels as one argument in single quotes through whatever login shell the user has, on one line. So there
# is no single quote, no exclamation mark and no double backslash in it, a comment has a line of its own, and every
# line ends where a shell takes a blank for a new line: after ; { do then else or |.
umask 077;
LC_ALL=C; export LC_ALL;
sha=$1; gz=$2; size=$3; mode=$4; nonce=$5; tmp=; probe=; of=;
shift 5;

report() { printf "\n{\"type\":\"bootstrap\",\"state\":\"%s\",\"detail\":\"%s\",\"machine\":\"%s\"}\n" "$1" "$2" "$of"; };
say() { report "$1" "$(printf "%s" "$2" | tr "\n\t" "  " | tr -cd "a-zA-Z0-9 ._/:,;=()@%+-" | head -c 300)"; };
cleanup() { rm -f "$tmp" "$probe"; };
fail() { say "$1" "$2"; exit 1; };
tool() { command -v "$1" >/dev/null 2>&1 || { report no_tool "$1"; exit 1; }; };

# A directory of our own: not somebody else, not a link into the hands of somebody else.
ours() {
  if [ -L "$1" ]; then return 1; fi;
  [ -d "$1" ] && [ -O "$1" ];
};
same() {
  if [ -L "$1" ]; then return 1; fi;
  if [ -f "$1" ] && [ -O "$1" ]; then sum=$(sha256sum <"$1"); [ "${sum%% *}" = "$sha" ]; else return 1; fi;
};
available_kib() {
  set -- $(df -Pk "$1" 2>/dev/null | tail -n 1);
  printf "%s" "${4:-0}";
};
become() {
  say ready "$1";
  if [ "$mode" = plain ] || [ "$uid" -eq 0 ]; then exec "$1" serve; fi;
  if [ "$mode" = ask ]; then exec sudo -k -S -p "$nonce:password:;" -- "$1" serve; fi;
  exec sudo -n -- "$1" serve;
};

tool id; tool sha256sum; tool tr; tool head;
if [ $# -gt 0 ]; then
  machine=$(uname -m 2>/dev/null); known=;
  while [ $# -ge 4 ]; do
    known="$known $1";
    if [ "$machine" = "$1" ] || [ -z "$machine$of" ]; then of=$1; sha=$2; gz=$3; size=$4; fi;
    shift 4;
  done;
  if [ -z "$of" ]; then fail cannot_run "the node is $machine, and this kfab has agents for$known"; fi;
fi;
uid=$(id -u);
if [ "$mode" = plain ] || [ "$uid" -eq 0 ]; then :; else command -v sudo >/dev/null 2>&1 || fail no_sudo sudo; fi;
set --;
case "$XDG_CACHE_HOME" in
  /*) if [ -d "$XDG_CACHE_HOME" ]; then set -- "$XDG_CACHE_HOME/kfab"; fi;;
  *) if [ -d "$HOME" ]; then set -- "$HOME/.cache/kfab"; fi;;
esac;
set -- "$@" "/var/tmp/kfab-$uid" "/run/user/$uid/kfab";

for dir in "$@"; do
  if ours "$dir" && same "$dir/agent-$sha"; then become "$dir/agent-$sha"; fi;
done;

for name in gzip df tail mkdir mv chmod rm; do tool "$name"; done;
trap cleanup EXIT;
trap "exit 1" HUP INT TERM;
state=no_directory; notes=; chosen=;
for dir in "$@"; do
  case "$dir" in */.cache/kfab) mkdir "${dir%/kfab}" 2>/dev/null;; esac;
  mkdir "$dir" 2>/dev/null;
  if ours "$dir" && chmod 700 "$dir" 2>/dev/null; then :; else notes="$notes $dir: not ours or not writable;"; continue; fi;
  if [ "$(available_kib "$dir")" -lt $(( size / 1024 + 1024 )) ]; then
    state=no_space; notes="$notes $dir: no space;"; continue;
  fi;
  probe="$dir/.probe-$$";
  if { printf ":\n" >"$probe" && chmod 700 "$probe"; } 2>/dev/null; then
    if "$probe" </dev/null >/dev/null 2>&1; then chosen=$dir; else notes="$notes $dir: mounted noexec;"; fi;
  else
    notes="$notes $dir: not writable;";
  fi;
  rm -f "$probe";
  if [ -n "$chosen" ]; then break; fi;
done;
if [ -z "$chosen" ]; then fail "$state" "$notes"; fi;
# What a run that was killed left behind.
find "$chosen" -name ".agent-*" -mmin +60 -exec rm -f {} + 2>/dev/null;

tmp="$chosen/.agent-$sha.$$";
relayed() {
  command -v bash >/dev/null 2>&1 && command -v timeout >/dev/null 2>&1 || return 1;
  timeout 30 bash -c "exec 3<>/dev/tcp/\$0/\$1 && echo \$2 >&3 && head -c \$3 <&3" "$1" "$2" "$3" "$size" >"$tmp" 2>/dev/null;
  same "$tmp";
};
say need "$chosen";
read -r how host port token || exit 1;
if [ "$how" = relay ]; then
  if relayed "$host" "$port" "$token"; then how=done; else say need "relay: nothing usable from $host"; read -r how || exit 1; fi;
fi;
if [ "$how" = direct ]; then
  said=$( { head -c "$gz" | gzip -dc >"$tmp"; } 2>&1 );
  if [ "$?" -ne 0 ]; then
    case "$said" in
      *"o space left"*|*uota*) fail no_space "$chosen: $said";;
      *) fail not_stored "$chosen: $said";;
    esac;
  fi;
fi;
same "$tmp" || fail not_stored "$chosen: the checksum is wrong";
chmod 700 "$tmp";
said=$("$tmp" --version </dev/null 2>&1) || fail cannot_run "$said";
mv -f "$tmp" "$chosen/agent-$sha" || fail not_stored "$chosen: cannot rename";
become "$chosen/agent-$sha";
