#!/bin/bash
# A private sshd on 127.0.0.1, for tests: fresh keys, a port of its own, the user who runs it, no root needed. Sourced
# for its functions, or run:
#   sshd.sh start DIR [CONFIG_LINE...]   makes DIR with the keys below, starts sshd, prints its port
#   sshd.sh stop DIR                     ends the sshd of DIR and what it still serves, by pid
# DIR then holds: host_ed25519 and host_ecdsa (host keys), id_ed25519 (authorized), id_other (not authorized),
# known_hosts (with the address and port), sshd_config, log, pid, port.

sshd_binary() {
  local candidate
  for candidate in "$(command -v sshd)" /usr/sbin/sshd /usr/local/sbin/sshd; do
    if [ -x "$candidate" ]; then echo "$candidate"; return 0; fi
  done
  echo "no sshd on this machine: install openssh-server" >&2
  return 1
}

sshd_make_keys() {
  local dir=$1 name
  mkdir -p "$dir" && chmod 700 "$dir" || return 1
  for name in host_ed25519 id_ed25519 id_other; do
    [ -f "$dir/$name" ] || ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$dir/$name" || return 1
  done
  [ -f "$dir/host_ecdsa" ] || ssh-keygen -q -t ecdsa -N '' -C host_ecdsa -f "$dir/host_ecdsa" || return 1
  cat "$dir/id_ed25519.pub" >> "$dir/authorized_keys"
}

sshd_write_config() {
  local dir=$1 port=$2 line
  shift 2
  {
    for line in "$@"; do echo "$line"; done   # first: sshd takes the first value of each key
    echo "ListenAddress 127.0.0.1"
    echo "Port $port"
    grep -q '^HostKey ' <<< "$(printf '%s\n' "$@")" || printf 'HostKey %s\n' "$dir/host_ed25519" "$dir/host_ecdsa"
    echo "AuthorizedKeysFile $dir/authorized_keys"
    echo "PidFile $dir/pid"
    echo "UsePAM no"
    echo "StrictModes no"
    echo "PermitRootLogin yes"
    echo "PasswordAuthentication no"
    echo "KbdInteractiveAuthentication no"
    echo "UseDNS no"
    echo "PrintMotd no"
    # Of this key sshd takes the last value.
    grep -qi '^MaxStartups' <<< "$(printf '%s\n' "$@")" || echo "MaxStartups 2000"
    echo "MaxSessions 1000"
    echo "LogLevel VERBOSE"
    # bash would read the start-up file of whoever runs the tests, and what that does is not what is tested. Of this key
    # sshd takes the first line.
    echo "SetEnv SHLVL=1"
  } > "$dir/sshd_config"
}

sshd_answers() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }

sshd_start() {
  local dir=$1 sshd port
  shift
  sshd=$(sshd_binary) || return 1
  [ "$(id -u)" != 0 ] || mkdir -p /run/sshd   # where sshd separates its privileges
  sshd_make_keys "$dir" || return 1
  for _ in $(seq 1 20); do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    sshd_write_config "$dir" "$port" "$@"
    rm -f "$dir/pid"
    "$sshd" -f "$dir/sshd_config" -E "$dir/log" || continue   # a taken port ends it at once
    for _ in $(seq 1 100); do
      if [ -s "$dir/pid" ] && sshd_answers "$port"; then
        echo "$port" > "$dir/port"
        printf '[127.0.0.1]:%s %s\n' "$port" "$(cut -d' ' -f1,2 "$dir/host_ed25519.pub")" > "$dir/known_hosts"
        echo "$port"
        return 0
      fi
      sleep 0.05
    done
    sshd_stop "$dir"
  done
  echo "sshd does not start: $(tail -n 3 "$dir/log")" >&2
  return 1
}

# The pids below a process, children before parents.
sshd_descendants() {
  local child
  # shellcheck disable=SC2013 # pids are words
  for child in $(cat "/proc/$1/task/$1/children" 2> /dev/null); do
    sshd_descendants "$child"
    echo "$child"
  done
}

sshd_stop() {
  local dir=$1 pid children
  pid=$(cat "$dir/pid" 2> /dev/null) || return 0
  [ -n "$pid" ] || return 0
  children=$(sshd_descendants "$pid")
  kill "$pid" 2> /dev/null
  # shellcheck disable=SC2086 # a list of pids
  [ -z "$children" ] || kill $children 2> /dev/null
  for _ in $(seq 1 60); do
    kill -0 "$pid" 2> /dev/null || { rm -f "$dir/pid"; return 0; }
    sleep 0.05
  done
  kill -9 "$pid" 2> /dev/null
  return 0
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  case "$1" in
    start) shift; sshd_start "$@" ;;
    stop) sshd_stop "$2" ;;
    *) echo "usage: $0 start DIR [CONFIG_LINE...] | stop DIR" >&2; exit 2 ;;
  esac
fi
