#!/bin/bash
# Debian nodes that really boot, for tests: systemd, sshd, apt and reboots are the real ones. Each node is a
# systemd-nspawn machine on an overlay of one debootstrap tree, its writable half in memory; they and the control host's
# side live in a network namespace of their own, which no packet leaves. Root is needed. Source it for its functions.
#
#   booted_possible                   or 77 with the reason on stderr
#   booted_base TREE [PACKAGE...]     makes the tree once: Debian, and a package repository in /srv/mirror that the nodes
#                                     install PACKAGEs from. Some minutes; a finished tree is kept.
#   booted_enclose SCRIPT [ARG...]    starts the script again in namespaces of its own for processes and mounts, and does
#                                     not return; within them it does nothing. However the script ends, killed or not, the
#                                     kernel then ends every node with it and takes every mount and network away.
#   booted_start DIR TREE COUNT       boots n1 ... nCOUNT at 10.199.0.11 and following; DIR holds their keys and state
#   booted_run DIR COMMAND...         runs a command where the nodes can be reached
#   booted_power_off DIR NODE         as if the plug were pulled;  booted_power_on DIR NODE boots it again
#   booted_stop DIR                   ends all, by pid, and removes what was mounted
#
# What is not real: the kernel is this machine's, shared by all. The parameters of it that a container may not write, the
# paths in booted_kernel_files, are files of each node that stand in their place, with the same values at every boot. They
# are mounted by what is a node's first process before it becomes systemd, so nothing can come in between. chronyd is told
# not to touch the clock.

booted_first_address=11
booted_kernel_files="/proc/sys/vm/max_map_count=65530 /proc/sys/vm/swappiness=60 /proc/sys/kernel/numa_balancing=1
  /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages=0"

booted_possible() {
  local tool
  [ "$(id -u)" = 0 ] || { echo "skipped: booted nodes need root" >&2; return 77; }
  for tool in systemd-nspawn debootstrap ip nsenter unshare setpriv dpkg-scanpackages; do
    command -v "$tool" > /dev/null || { echo "skipped: booted nodes need $tool" >&2; return 77; }
  done
  unshare --mount --pid --net --fork mount -t tmpfs none /mnt 2> /dev/null || { echo "skipped: no namespaces and mounts can be made here" >&2; return 77; }
}

# The first repository that this machine itself installs from.
booted_mirror() { apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' | head -n 1; }

booted_base() {
  local tree=$1 status
  mkdir -p "$(dirname "$tree")"
  # Two tests may want it at once.
  { flock 9 && booted_make_base "$@"; status=$?; } 9> "$tree.lock"
  return $status
}
booted_make_base() {
  local tree=$1 mirror suite stamp
  shift
  stamp=$({ printf '%s\n' "$@"; declare -f booted_make_base booted_write_first_process; } | sha256sum | cut -c1-16)
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
  # A kernel that is none, for what holds a kernel's package at its version.
  mkdir -p "$tree.kernel/DEBIAN"
  printf 'Package: linux-image-kfab-test\nVersion: 1.0\nArchitecture: all\nMaintainer: kfab <kfab@localhost>\nDescription: stands for a kernel\n' > "$tree.kernel/DEBIAN/control"
  dpkg-deb --build "$tree.kernel" "$tree/srv/mirror/linux-image-kfab-test_1.0_all.deb" >> "$tree.log" 2>&1 || return 1
  rm -rf "$tree.kernel"
  (cd "$tree/srv/mirror" && dpkg-scanpackages -m . > Packages 2> /dev/null) || return 1
  rm -rf "$tree"/var/lib/apt/lists/* "$tree/etc/resolv.conf" "$tree"/etc/apt/sources.list.d/*
  echo 'deb [trusted=yes] file:/srv/mirror ./' > "$tree/etc/apt/sources.list"
  chroot "$tree" apt-get update >> "$tree.log" 2>&1 || return 1
  rm -f "$tree"/etc/ssh/ssh_host_* "$tree/etc/machine-id"
  systemctl --root="$tree" enable systemd-networkd > /dev/null 2>&1
  systemctl --root="$tree" mask systemd-firstboot.service nvmf-autoconnect.service apt-daily.timer apt-daily-upgrade.timer > /dev/null 2>&1
  mkdir -p "$tree/etc/default"
  echo 'DAEMON_OPTS="-F 1 -x"' > "$tree/etc/default/chrony"
  booted_write_first_process "$tree"
  echo "$stamp" > "$tree/.complete"
}

# /proc/sys and /sys are read-only in a container, but for its network. A parameter that cannot be stood for ends the boot:
# a node without it would not be what a test takes it for.
booted_write_first_process() {
  cat > "$1/usr/local/sbin/first-process" << 'SCRIPT'
#!/bin/sh
# The files named in /etc/own-kernel, PATH=VALUE, take the places of the kernel's; then this process is systemd.
mkdir -p /run/own-kernel || exit 1
count=0
for pair in $(cat /etc/own-kernel); do
  count=$((count + 1))
  echo "${pair#*=}" > "/run/own-kernel/$count" && mount --bind "/run/own-kernel/$count" "${pair%%=*}" || exit 1
done
exec /lib/systemd/systemd
SCRIPT
  chmod 755 "$1/usr/local/sbin/first-process"
}

# The parent of all is told by the kernel when this process ends, and the first process of its namespace when the parent
# does; nothing in that namespace outlives its first process.
booted_enclose() {
  local own
  own=$(readlink /proc/self/ns/pid)
  if [ -n "${KFAB_BOOTED_OUTSIDE:-}" ] && [ "$KFAB_BOOTED_OUTSIDE" != "$own" ]; then return 0; fi
  KFAB_BOOTED_OUTSIDE=$own exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc "$@"
}

booted_address() { echo "10.199.0.$((booted_first_address - 1 + ${1#n}))"; }

booted_run() {
  local dir=$1
  shift
  nsenter --net="/proc/$(cat "$dir/net")/ns/net" "$@"
}

booted_start() {
  local dir=$1 tree=$2 count=$3 i
  mkdir -p "$dir"
  chmod 700 "$dir"
  booted_sweep_cgroups
  echo "kfab-booted-$(cat /proc/sys/kernel/random/uuid)" > "$dir/cgroup"
  # Whose network it is: a process that does nothing else.
  unshare --net sleep infinity &
  echo $! > "$dir/net"
  disown
  for i in $(seq 1 50); do
    [ "$(readlink "/proc/$(cat "$dir/net")/ns/net")" = "$(readlink /proc/self/ns/net)" ] || break
    sleep 0.1
  done
  booted_run "$dir" sh -c 'ip link set lo up && ip link add br0 type bridge && ip addr add 10.199.0.1/24 dev br0 && ip link set br0 up' || return 1
  ssh-keygen -q -t ed25519 -N '' -C test -f "$dir/id" || return 1
  : > "$dir/known_hosts"
  for i in $(seq 1 "$count"); do
    booted_make "$dir" "$tree" "n$i" && booted_power_on "$dir" "n$i" || return 1
  done
  for i in $(seq 1 "$count"); do booted_wait "$dir" "n$i" || return 1; done
}

# The tree and a layer over it in memory, at DIR/NAME/root.
booted_layer() {
  local dir=$1 tree=$2 name=$3
  mkdir -p "$dir/$name/memory" "$dir/$name/root"
  mount -t tmpfs -o "size=${KFAB_BOOTED_SIZE:-512m}" "kfab-$name" "$dir/$name/memory" || return 1
  mkdir -p "$dir/$name/memory/upper" "$dir/$name/memory/work"
  mount -t overlay -o "lowerdir=$tree,upperdir=$dir/$name/memory/upper,workdir=$dir/$name/memory/work" overlay "$dir/$name/root"
}

booted_make() {
  local dir=$1 tree=$2 node=$3 root=$1/$3/root pair
  booted_layer "$dir" "$tree" "$node" || return 1
  mkdir -p "$root/etc/systemd/network" "$root/root/.ssh"
  printf '[Match]\nName=host0\n[Network]\nAddress=%s/24\nLinkLocalAddressing=no\n' "$(booted_address "$node")" > "$root/etc/systemd/network/10-host0.network"
  tr -d - < /proc/sys/kernel/random/uuid > "$root/etc/machine-id"
  echo "$node" > "$root/etc/hostname"
  echo "127.0.0.1 localhost $node" > "$root/etc/hosts"
  for pair in $booted_kernel_files; do [ ! -e "${pair%%=*}" ] || echo "$pair"; done > "$root/etc/own-kernel"
  cp "$dir/id.pub" "$root/root/.ssh/authorized_keys"
  ssh-keygen -q -t ed25519 -N '' -C "$node" -f "$root/etc/ssh/ssh_host_ed25519_key" || return 1
  echo "$(booted_address "$node") $(cut -d' ' -f1,2 "$root/etc/ssh/ssh_host_ed25519_key.pub")" >> "$dir/known_hosts"
}

# The control groups of this process in the hierarchies that systemd works with, as directories.
booted_cgroups() {
  awk 'NR == FNR { path[$2] = $3; next }
    $3 == "cgroup2" && ("" in path) { print $2 path[""] }
    $3 == "cgroup" && $4 ~ /(^|,)name=systemd(,|$)/ && ("name=systemd" in path) { print $2 path["name=systemd"] }' FS=: /proc/self/cgroup FS=' ' /proc/self/mounts
}

# Each node has groups of its own: in a common one the systemd of one node removes what that of another has just made, and then
# a unit of it fails (219/CGROUP). This process moves there, and what it starts comes along.
booted_enter_cgroups() {
  local dir=$1 node=$2 group
  for group in $(booted_cgroups); do
    group=${group%/}/$(cat "$dir/cgroup")-$node
    mkdir -p "$group" && echo 0 > "$group/cgroup.procs" || return 1
  done
}
# Those that a test left when it was killed. None lasts as long.
booted_sweep_cgroups() {
  local group old
  for group in $(booted_cgroups); do
    find "${group%/}" -maxdepth 1 -type d -name 'kfab-booted-*' -mmin +60 | while read -r old; do
      find "$old" -depth -type d -exec rmdir {} + 2> /dev/null
    done
  done
}
booted_remove_cgroups() {
  local dir=$1 node=$2 group
  for group in $(booted_cgroups); do
    group=${group%/}/$(cat "$dir/cgroup")-$node
    for _ in $(seq 1 50); do
      find "$group" -depth -type d -exec rmdir {} + 2> /dev/null
      [ -d "$group" ] || break
      sleep 0.1
    done
  done
}

# A machine that reboots ends nspawn with status 133, and whoever started it starts it again: here as on a host.
booted_power_on() {
  local dir=$1 node=$2
  (
    booted_enter_cgroups "$dir" "$node" || { echo "no control group can be made for $node"; exit 1; }
    for _ in $(seq 1 100); do
      booted_run "$dir" setsid --wait systemd-nspawn --register=no --keep-unit --quiet --machine="$node" \
        --directory="$dir/$node/root" --network-bridge=br0 --capability=CAP_SYS_TIME --console=read-only /usr/local/sbin/first-process
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
  local dir=$1 node pid
  for node in "$dir"/*/; do
    [ -d "$node/memory" ] || continue
    booted_power_off "$dir" "$(basename "$node")"
    booted_remove_cgroups "$dir" "$(basename "$node")"
    for _ in $(seq 1 50); do
      umount "$node/root" 2> /dev/null && break
      mountpoint -q "$node/root" || break
      sleep 0.1
    done
    umount "$node/memory" 2> /dev/null
  done
  pid=$(cat "$dir/net" 2> /dev/null) && kill "$pid" 2> /dev/null
  rm -rf --one-file-system "$dir"
}
