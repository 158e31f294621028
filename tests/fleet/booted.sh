#!/bin/bash
# Debian nodes that really boot, for tests: systemd, sshd, apt and reboots are the real ones. Each node is a
# systemd-nspawn machine on an overlay of one debootstrap tree, its writable half in memory; all of them and the control
# host's side live in a network namespace of their own, which no packet leaves. Root is needed. Source it for its functions.
#
#   booted_possible                   or 77 with the reason on stderr
#   booted_base TREE [PACKAGE...]     makes the tree once: Debian, and a package repository in /srv/mirror that the nodes
#                                     install PACKAGEs from. About two minutes; a finished tree is kept.
#   booted_start DIR TREE COUNT       boots n1 ... nCOUNT at 10.199.0.11 and following; DIR holds their keys and state
#   booted_run DIR COMMAND...         runs a command where the nodes can be reached
#   booted_power_off DIR NODE         as if the plug were pulled;  booted_power_on DIR NODE boots it again
#   booted_stop DIR                   ends all, by pid, and removes what was mounted
#
# What is not real: the kernel is this machine's, shared by all; the kernel parameters that a container may not write are
# files that start at every boot with KFAB_BOOTED_SYSCTL's values; chronyd is told not to touch the clock.

booted_first_address=11

booted_possible() {
  local tool
  [ "$(id -u)" = 0 ] || { echo "booted nodes need root" >&2; return 77; }
  for tool in systemd-nspawn debootstrap ip nsenter dpkg-scanpackages; do
    command -v "$tool" > /dev/null || { echo "booted nodes need $tool" >&2; return 77; }
  done
}

# The first repository that this machine itself installs from.
booted_mirror() { apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' | head -n 1; }

booted_base() {
  local tree=$1 mirror suite stamp
  shift
  stamp=$(printf '%s\n' "$@" | sha256sum | cut -c1-16)
  [ "$(cat "$tree/.complete" 2> /dev/null)" = "$stamp" ] && return 0
  rm -rf "$tree"
  mkdir -p "$tree"
  read -r mirror suite < <(booted_mirror)
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,procps,kmod \
    "$suite" "$tree" "$mirror" > "$tree.log" 2>&1 || { tail -n 5 "$tree.log" >&2; return 1; }
  # The packages and all that they need, as this tree's own apt chooses them.
  cp /etc/resolv.conf "$tree/etc/resolv.conf"
  {
    chroot "$tree" apt-get update &&
      chroot "$tree" apt-get clean &&
      chroot "$tree" apt-get install -y --no-install-recommends --download-only "$@"
  } >> "$tree.log" 2>&1 || { tail -n 5 "$tree.log" >&2; return 1; }
  mkdir -p "$tree/srv/mirror"
  mv "$tree"/var/cache/apt/archives/*.deb "$tree/srv/mirror/"
  (cd "$tree/srv/mirror" && dpkg-scanpackages -m . > Packages 2> /dev/null) || return 1
  rm -rf "$tree"/var/lib/apt/lists/* "$tree/etc/resolv.conf" "$tree"/etc/apt/sources.list.d/*
  echo 'deb [trusted=yes] file:/srv/mirror ./' > "$tree/etc/apt/sources.list"
  chroot "$tree" apt-get update >> "$tree.log" 2>&1 || return 1
  rm -f "$tree"/etc/ssh/ssh_host_* "$tree/etc/machine-id"
  systemctl --root="$tree" enable systemd-networkd > /dev/null 2>&1
  systemctl --root="$tree" mask systemd-firstboot.service nvmf-autoconnect.service apt-daily.timer apt-daily-upgrade.timer > /dev/null 2>&1
  mkdir -p "$tree/etc/default"
  echo 'DAEMON_OPTS="-F 1 -x"' > "$tree/etc/default/chrony"
  booted_write_sysctl_unit "$tree"
  echo "$stamp" > "$tree/.complete"
}

# Kernel parameters as files of each node: /proc/sys is read-only in a container, but for its network.
booted_write_sysctl_unit() {
  local tree=$1
  cat > "$tree/usr/local/sbin/own-sysctl" << 'SCRIPT'
#!/bin/sh
# name=value ...: each becomes a file over the kernel's own.
for pair in $(cat /etc/own-sysctl); do
  name=${pair%%=*}
  mkdir -p /run/own-sysctl
  echo "${pair#*=}" > "/run/own-sysctl/$name"
  mount --bind "/run/own-sysctl/$name" "/proc/sys/$(echo "$name" | tr . /)"
done
SCRIPT
  chmod 755 "$tree/usr/local/sbin/own-sysctl"
  echo "${KFAB_BOOTED_SYSCTL:-vm.max_map_count=65530 vm.swappiness=60 kernel.numa_balancing=1}" > "$tree/etc/own-sysctl"
  cat > "$tree/etc/systemd/system/own-sysctl.service" << 'UNIT'
[Unit]
DefaultDependencies=no
Before=systemd-sysctl.service sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/own-sysctl
[Install]
WantedBy=sysinit.target
UNIT
  systemctl --root="$tree" enable own-sysctl.service > /dev/null 2>&1
}

booted_address() { echo "10.199.0.$((booted_first_address - 1 + ${1#n}))"; }

booted_run() {
  local dir=$1
  shift
  nsenter --net="/run/netns/$(cat "$dir/net")" "$@"
}

booted_start() {
  local dir=$1 tree=$2 count=$3 net i
  mkdir -p "$dir"
  chmod 700 "$dir"
  net="kfab$$x$RANDOM"
  ip netns add "$net" || return 1
  echo "$net" > "$dir/net"
  ip -n "$net" link set lo up &&
    ip -n "$net" link add br0 type bridge &&
    ip -n "$net" addr add 10.199.0.1/24 dev br0 &&
    ip -n "$net" link set br0 up || return 1
  ssh-keygen -q -t ed25519 -N '' -C test -f "$dir/id" || return 1
  : > "$dir/known_hosts"
  for i in $(seq 1 "$count"); do
    booted_make "$dir" "$tree" "n$i" && booted_power_on "$dir" "n$i" || return 1
  done
  for i in $(seq 1 "$count"); do booted_wait "$dir" "n$i" || return 1; done
}

booted_make() {
  local dir=$1 tree=$2 node=$3 root=$1/$3/root
  mkdir -p "$dir/$node/memory"
  mount -t tmpfs -o "size=${KFAB_BOOTED_SIZE:-512m}" "kfab-$node" "$dir/$node/memory" || return 1
  mkdir -p "$dir/$node/memory/upper" "$dir/$node/memory/work" "$root"
  mount -t overlay -o "lowerdir=$tree,upperdir=$dir/$node/memory/upper,workdir=$dir/$node/memory/work" overlay "$root" || return 1
  mkdir -p "$root/etc/systemd/network" "$root/root/.ssh"
  printf '[Match]\nName=host0\n[Network]\nAddress=%s/24\nLinkLocalAddressing=no\n' "$(booted_address "$node")" > "$root/etc/systemd/network/10-host0.network"
  tr -d - < /proc/sys/kernel/random/uuid > "$root/etc/machine-id"
  echo "$node" > "$root/etc/hostname"
  echo "127.0.0.1 localhost $node" > "$root/etc/hosts"
  cp "$dir/id.pub" "$root/root/.ssh/authorized_keys"
  ssh-keygen -q -t ed25519 -N '' -C "$node" -f "$root/etc/ssh/ssh_host_ed25519_key" || return 1
  echo "$(booted_address "$node") $(cut -d' ' -f1,2 "$root/etc/ssh/ssh_host_ed25519_key.pub")" >> "$dir/known_hosts"
}

# A machine that reboots ends nspawn with status 133, and whoever started it starts it again: here as on a host.
booted_power_on() {
  local dir=$1 node=$2
  (
    for _ in $(seq 1 100); do
      booted_run "$dir" setsid --wait systemd-nspawn --register=no --keep-unit --quiet --boot --machine="$node" \
        --directory="$dir/$node/root" --network-bridge=br0 --capability=CAP_SYS_TIME --console=read-only
      [ $? = 133 ] || break
    done
  ) < /dev/null > "$dir/$node/console" 2>&1 &
  echo $! > "$dir/$node/pid"
  disown
}

booted_wait() {
  local dir=$1 node=$2
  for _ in $(seq 1 240); do
    booted_run "$dir" bash -c "exec 3<> /dev/tcp/$(booted_address "$node")/22" 2> /dev/null && return 0
    sleep 0.25
  done
  echo "$node does not boot:" >&2
  tail -n 5 "$dir/$node/console" >&2
  return 1
}

# The pids below a process, itself first.
booted_family() {
  local child
  echo "$1"
  # shellcheck disable=SC2013 # pids are words
  for child in $(cat "/proc/$1/task/$1/children" 2> /dev/null); do booted_family "$child"; done
}

# From the outermost process on, so that nothing is started again; the end of the machine's first process is the end of
# all in it, at once.
booted_power_off() {
  local dir=$1 node=$2 pid family
  pid=$(cat "$dir/$node/pid" 2> /dev/null) || return 0
  family=$(booted_family "$pid")
  for pid in $family; do kill -9 "$pid" 2> /dev/null; done
  for pid in $family; do
    for _ in $(seq 1 100); do
      # shellcheck disable=SC2015 # not an if: a zombie counts as gone
      [ -d "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status" 2> /dev/null || break
      sleep 0.1
    done
  done
  rm -f "$dir/$node/pid"
}

booted_stop() {
  local dir=$1 node net
  for node in "$dir"/n*; do
    [ -d "$node" ] || continue
    booted_power_off "$dir" "${node##*/}"
    for _ in $(seq 1 50); do
      umount "$node/root" 2> /dev/null && break
      mountpoint -q "$node/root" || break
      sleep 0.1
    done
    umount "$node/memory" 2> /dev/null
  done
  net=$(cat "$dir/net" 2> /dev/null) && ip netns del "$net" 2> /dev/null
  rm -rf --one-file-system "$dir"
}
