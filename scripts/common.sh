# shellcheck shell=bash
# What scripts/demo, scripts/test and scripts/bench share: the packages, the build, and how to speak.
# Source it from a script that has set -euo pipefail and stands in the checkout's root.

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
[ -t 2 ] || say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$1" >&2; [ $# -lt 2 ] || printf '  try: %s\n' "$2" >&2; exit 2; }

# Runs as root: as it is, or by sudo.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null 2>&1; then sudo -- "$@"
  else die "installing packages needs root, and there is no sudo" "run: $* as root, then this script again"
  fi
}

# install_packages KIND...: what scripts/packages.txt lists under these kinds and is missing. Quick when nothing is.
install_packages() {
  local wanted=() missing=() kind name had_sshd=no
  while read -r kind name; do
    case " $* " in *" $kind "*) wanted+=("$name") ;; esac
  done < <(grep -v '^#' scripts/packages.txt)
  if ! command -v dpkg-query >/dev/null 2>&1; then
    say "this is no Debian: install these by the distribution's own names: ${wanted[*]}"
    return 0
  fi
  for name in "${wanted[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${#missing[@]} packages: ${missing[*]}"
  command -v /usr/sbin/sshd >/dev/null 2>&1 && had_sshd=yes
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  # The demo and the tests start an sshd of their own on loopback; the machine's must not open because of them.
  if [ $had_sshd = no ] && [ -d /run/systemd/system ] && [ -x /usr/sbin/sshd ]; then
    as_root systemctl disable --now ssh.service ssh.socket >/dev/null 2>&1 || true
  fi
}

# build PRESET [-DNAME=VALUE...] [TARGET...]: configures when needed and builds. What is printed goes to build/PRESET.log, and the
# end of it to the terminal when it fails.
build() {
  local preset=$1 settings=(); shift
  while [[ ${1:-} == -D* ]]; do settings+=("$1"); shift; done
  local log=build/$preset.log targets=()
  mkdir -p build
  [ $# -eq 0 ] || targets=(--target "$@")
  say "building preset $preset"
  if ! { cmake --preset "$preset" "${settings[@]}" && cmake --build --preset "$preset" "${targets[@]}"; } >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    die "the build failed" "the whole log is $log"
  fi
}
