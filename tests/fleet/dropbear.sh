#!/bin/bash
# A private dropbear on 127.0.0.1, for tests, as sshd.sh is for sshd. dropbear looks for authorized keys in the home of
# the user database only, so it gets a mount namespace in which that is ours, without start-up files: root is needed.
#   dropbear.sh start DIR     DIR as made by sshd.sh start (its keys are used); prints the port
#   dropbear.sh stop DIR      ends it, by pid
set -u
case "$1" in
  start)
    dir=$2
    [ "$(id -u)" = 0 ] && command -v dropbear > /dev/null && command -v unshare > /dev/null || exit 77
    mkdir -p "$dir/dropbear/home/.ssh"
    chmod 700 "$dir/dropbear/home" "$dir/dropbear/home/.ssh"
    cp "$dir/authorized_keys" "$dir/dropbear/home/.ssh/authorized_keys"
    dropbearkey -t ed25519 -f "$dir/dropbear/host" > /dev/null 2>&1 || exit 1
    for _ in $(seq 1 20); do
      port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
      # shellcheck disable=SC2016  # for the inner shell
      unshare -m sh -c 'mount --bind "$1/dropbear/home" "$2" && echo $$ > "$1/dropbear/pid" && exec dropbear -F -E -s -p "127.0.0.1:$3" -r "$1/dropbear/host"' \
        sh "$dir" "$(getent passwd 0 | cut -d: -f6)" "$port" > "$dir/dropbear/log" 2>&1 &
      for _ in $(seq 1 100); do
        if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then
          printf '[127.0.0.1]:%s %s\n' "$port" "$(dropbearkey -y -f "$dir/dropbear/host" | grep -o 'ssh-ed25519 [^ ]*')" > "$dir/dropbear/known_hosts"
          echo "$port"
          exit 0
        fi
        kill -0 $! 2> /dev/null || break
        sleep 0.05
      done
    done
    echo "dropbear does not start: $(tail -n 3 "$dir/dropbear/log")" >&2
    exit 1 ;;
  stop)
    pid=$(cat "$2/dropbear/pid" 2> /dev/null) || exit 0
    [ -z "$pid" ] || kill "$pid" 2> /dev/null
    exit 0 ;;
  *) echo "usage: $0 start DIR | stop DIR" >&2; exit 2 ;;
esac
