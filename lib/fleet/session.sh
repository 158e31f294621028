# The beginning of the scripts that take a node's command channel: SCRIPT NONCE plain|sudo|ask|root LIFELINE [ARGUMENT...].
#
# Becomes root where that is asked for, and makes sure that this process leads a session of its own, which can be ended
# as a whole. LIFELINE is the process of the server that serves us; 0 at first: our parent.
#
# On standard error it speaks to kfab in words between NONCE and a semicolon.
#
# This text travels as one argument in single quotes through whatever login shell the user has, on one line. So there
# is no single quote, no exclamation mark and no double backslash in it, a comment has a line of its own, and every
# line ends where a shell takes a blank for a new line: after ; { do then else or |. The text is its own first argument.
kf_script=$1; kf_nonce=$2; kf_mode=$3; kf_lifeline=$4;
shift 4;
if [ "$kf_lifeline" = 0 ]; then kf_lifeline=$PPID; fi;
say() { printf "%s:%s:%s;" "$kf_nonce" "$1" "$2" >&2; };
fail() { say "$1" "$2"; exit 125; };
tool() { command -v "$1" >/dev/null 2>&1 || fail no_tool "$1"; };

case "$kf_mode" in
  sudo|ask)
    tool id;
    if [ "$(id -u)" = 0 ]; then kf_mode=root; else
      command -v sudo >/dev/null 2>&1 || fail no_sudo sudo;
      set -- kfab "$kf_script" "$kf_nonce" root "$kf_lifeline" "$@";
      if [ "$kf_mode" = ask ]; then exec sudo -k -S -p "$kf_nonce:password:;" -- /bin/sh -c "$kf_script" "$@"; fi;
      exec sudo -n -- /bin/sh -c "$kf_script" "$@";
    fi;;
esac;

# sshd makes a session for every command; sudo and others may not.
identify() {
  { read -r kf_stat </proc/$$/stat; } 2>/dev/null || fail no_tool /proc;
  set -- ${kf_stat##*) };
  kf_group=$3; kf_session=$4;
};
identify;
if [ "$kf_session" -ne $$ ]; then
  tool setsid;
  set -- kfab "$kf_script" "$kf_nonce" "$kf_mode" "$kf_lifeline" "$@";
  if [ "$kf_group" -ne $$ ]; then exec setsid /bin/sh -c "$kf_script" "$@"; fi;
  (exec setsid /bin/sh -c "$kf_script" "$@");
  exit "$?";
fi;

# take LINES: as many lines of the input in $kf_got, without the last line end.
take() {
  IFS= read -r kf_got || fail cut_short "the command";
  kf_rest=$(( $1 - 1 ));
  if [ "$kf_rest" -gt 0 ]; then kf_feed=$(printf "\n."); kf_feed=${kf_feed%.}; fi;
  while [ "$kf_rest" -gt 0 ]; do
    IFS= read -r kf_line || fail cut_short "the command";
    kf_got=$kf_got$kf_feed$kf_line; kf_rest=$(( kf_rest - 1 ));
  done;
};
# How often the server that serves us has woken up, in $kf_beat; nothing when it is gone or hidden.
pulse() {
  kf_beat=;
  { while read -r kf_key kf_value; do case "$kf_key" in voluntary_*) kf_beat=$kf_value;; esac; done </proc/$kf_lifeline/status; } 2>/dev/null;
};
# Ends this session once the server that serves us is gone or has not woken up for 12 seconds: kfab sends something every
# few seconds. Without a server that can be seen the end of the input has to do. Its own output is redirected before the
# call and for good: a redirection of the call alone makes dash keep the old one open, and the server wait for its end.
guard() {
  kf_silent=0; pulse; kf_last=$kf_beat;
  if [ -z "$kf_beat" ]; then return; fi;
  while sleep 3 && kill -0 $$; do
    pulse;
    if [ "$kf_beat" = "$kf_last" ]; then kf_silent=$(( kf_silent + 3 )); else kf_silent=0; fi;
    kf_last=$kf_beat;
    if [ -z "$kf_beat" ] || [ "$kf_silent" -ge 12 ]; then trap "" TERM; kill -TERM -$$; sleep 1; kill -KILL -$$; fi;
  done;
};
