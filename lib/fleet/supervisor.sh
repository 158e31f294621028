# After session.sh: COMMAND_LINES VARIABLES INPUT_BYTES
#
# Runs a command on a node so that it does not outlive kfab. Everything that an operator typed comes on standard input:
# COMMAND_LINES lines of command text; VARIABLES times a line "LINES NAME" and as many lines of value; INPUT_BYTES of
# input for the command; then a byte every few seconds for as long as kfab is there. The command takes this process,
# so that the server itself tells how it ended. A watcher in the same session reads the bytes. When they stop coming,
# or their end comes, before the command is over, it ends every process of the session: TERM, and KILL two seconds
# later. As a member of the session it keeps the session's number from being given to others. What made a session of
# its own is detached and left alone; so is what was left behind without holding the output.
#
# The word "ready" is the last: after it comes only what the command itself says. As root "begun" is the first: sudo has
# asked what it wanted to.
if [ "$kf_mode" = root ]; then say begun ""; fi;
for kf_name in grep sleep; do tool "$kf_name"; done;
# Where the shell can wait for a byte by itself, nothing is started for it.
kf_reads=yes;
read -r -n 1 -t 1 kf_byte </dev/null 2>/dev/null;
if [ "$?" -ne 1 ]; then kf_reads=; tool head; tool timeout; fi;

# Ends this process when a file has not grown for 12 seconds: nobody sends any more.
growing() {
  kf_before=;
  while sleep 12 && kill -0 $$; do
    kf_now=$(wc -c <"$1") || break;
    if [ "$kf_now" = "$kf_before" ]; then kill -TERM -$$; break; fi;
    kf_before=$kf_now;
  done;
};

take "$1"; kf_text=$kf_got;
kf_count=$2;
while [ "$kf_count" -gt 0 ]; do
  read -r kf_lines kf_variable || fail cut_short environment;
  take "$kf_lines"; export "$kf_variable=$kf_got"; kf_count=$(( kf_count - 1 ));
done;
kf_spool=/dev/null;
if [ "$3" -gt 0 ]; then
  for kf_name in head mktemp wc rm; do tool "$kf_name"; done;
  kf_mask=$(umask); umask 077;
  kf_spool=$(mktemp "${TMPDIR:-/tmp}/.kfab-exec.XXXXXX" 2>/dev/null) || fail no_space "${TMPDIR:-/tmp}";
  trap "rm -f \"\$kf_spool\"" EXIT; trap "exit 143" HUP INT TERM;
  # Redirected for good, and not for the call: dash would keep the output open beside it, and the server wait for its end.
  (exec </dev/null >/dev/null 2>&1; growing "$kf_spool" &);
  head -c "$3" >"$kf_spool" 2>/dev/null || fail no_space "${TMPDIR:-/tmp}";
  [ "$(wc -c <"$kf_spool")" -eq "$3" ] || fail cut_short input;
  umask "$kf_mask";
fi;

# inode FD: of the pipe behind one of our descriptors, in $ino. Newer kernels tell it without another process.
inode() {
  kf_ino=;
  while read -r kf_key kf_value; do if [ "$kf_key" = ino: ]; then kf_ino=$kf_value; fi; done </proc/$$/fdinfo/$1;
  if [ -z "$kf_ino" ]; then kf_ino=$(readlink /proc/$$/fd/$1); kf_ino=${kf_ino#*:?}; kf_ino=${kf_ino%?}; fi;
};
# Processes of the session, but for those that ended and for the watcher itself. grep goes on where one ends meanwhile.
# To look at every process of a node costs more than most commands. Members are younger than their leader and so have
# higher numbers, as long as the numbers did not start over.
members() {
  kf_left=; kf_files=;
  if young; then
    if [ $(( kf_newest - $$ )) -lt 500 ]; then
      kf_pid=$$;
      while [ "$kf_pid" -le "$kf_newest" ]; do
        if [ -e "/proc/$kf_pid/stat" ] && [ "$kf_pid" -ne "$kf_self" ]; then kf_files="$kf_files /proc/$kf_pid/stat"; fi;
        kf_pid=$(( kf_pid + 1 ));
      done;
    else
      for kf_dir in /proc/[0-9]*; do
        kf_pid=${kf_dir#/proc/};
        if [ "$kf_pid" -ge $$ ] && [ "$kf_pid" -ne "$kf_self" ]; then kf_files="$kf_files $kf_dir/stat"; fi;
      done;
    fi;
    [ -n "$kf_files" ] || return 1;
  else
    kf_files="/proc/[0-9]*/stat";
  fi;
  for kf_dir in $(LC_ALL=C grep -ls "^[0-9]* (.*) [^ZX] [0-9]* [0-9]* $kf_session " $kf_files); do
    kf_pid=${kf_dir#/proc/}; kf_pid=${kf_pid%/stat};
    if [ "$kf_pid" -ne "$kf_self" ] && kill -0 "$kf_pid"; then kf_left="$kf_left $kf_pid"; fi;
  done;
  [ -n "$kf_left" ];
};
# Whether they cannot have: that takes more than 65,536 new processes a second where there are 32,768 numbers, the fewest
# that Linux has unless told otherwise.
young() {
  { uptime && read -r kf_now kf_now kf_now kf_now kf_newest </proc/loadavg; } || return 1;
  [ -n "$kf_begin" ] && [ $(( kf_up - kf_begin )) -lt 50 ] && [ "$kf_self" -gt $$ ] && [ "$kf_newest" -ge "$kf_self" ];
};
# Hundredths of a second since the start of the node, in $kf_up.
uptime() {
  { read -r kf_up kf_now </proc/uptime; } || return 1;
  kf_now=${kf_up#*.}; kf_up=${kf_up%.*}${kf_now};
};
running() {
  { read -r kf_stat </proc/$$/stat; } || return 1;
  case "${kf_stat##*) }" in [ZX]*) return 1;; esac;
};
# Whether one of them can still write where kfab reads.
holding() {
  members || return 1;
  for kf_pid in $kf_left; do
    for kf_link in /proc/$kf_pid/fd/*; do
      case "$(readlink "$kf_link")" in *"[$kf_out]"|*"[$kf_err]") return 0;; esac;
    done;
  done;
  return 1;
};
finish() {
  members || return 0;
  kill -TERM $kf_left; kill -CONT $kf_left;
  sleep 2;
  for kf_try in 1 2 3 4 5; do members || return 0; kill -KILL $kf_left; done;
};
watch() {
  exec <&3 3<&- >/dev/null 2>&1;
  trap "" HUP INT QUIT PIPE ALRM TERM USR1 USR2;
  read -r kf_self kf_stat </proc/self/stat;
  if [ -n "$kf_reads" ]; then
    while read -r -n 1 -t 12 kf_byte && [ -n "$kf_byte" ]; do :; done;
  else
    while [ -n "$(timeout -s KILL 12 head -c 1)" ]; do :; done;
  fi;
  exec </dev/null;
  if running; then finish; return; fi;
  # The command is over. The server closed our input then, whether kfab is there or not; that shows by the server.
  kf_silent=0; kf_last=;
  while holding; do
    pulse;
    if [ "$kf_beat" = "$kf_last" ]; then kf_silent=$(( kf_silent + 3 )); else kf_silent=0; fi;
    if [ -z "$kf_beat" ] || [ "$kf_silent" -ge 12 ]; then finish; return; fi;
    kf_last=$kf_beat; sleep 3;
  done;
};
uptime 2>/dev/null; kf_begin=$kf_up;
inode 1; kf_out=$kf_ino; inode 2; kf_err=$kf_ino;
exec 3<&0 <"$kf_spool";
if [ "$3" -gt 0 ]; then trap - EXIT HUP INT TERM; rm -f "$kf_spool"; fi;
# Twice removed, so that the command has no child that it did not start.
( watch & );
exec 3<&-;
say ready "";
if [ "$kf_mode" = root ]; then exec /bin/sh -c "$kf_text"; fi;
exec "${SHELL:-/bin/sh}" -c "$kf_text";
