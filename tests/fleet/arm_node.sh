#!/bin/bash
# A node with Arm processors, stood for by this machine under an emulator: it is sent the agent of its own, which tells its facts, tests
# what it stands on and finds what it plants. The emulator is known to the kernel in namespaces of this test alone. Usage: arm_node.sh KFAB
set -u
self=$(realpath "$0")
kfab=$(realpath "$1")
emulator=$(command -v qemu-aarch64-static) || { echo "skipped: no qemu-aarch64-static"; exit 77; }
libraries=/usr/aarch64-linux-gnu
[ -e $libraries/lib/libc.so.6 ] || { echo "skipped: no C library for Arm in $libraries"; exit 77; }
"$kfab" version | grep -q '^agent *aarch64:' || { echo "skipped: this kfab has no agent for Arm processors"; exit 77; }

# As the first process of namespaces of its own, in which the kernel starts programs for Arm by the emulator.
if [ "${2:-}" != inside ]; then
  unshare --user --map-root-user --mount --pid --fork --mount-proc sh -c 'mount -t binfmt_misc none /proc/sys/fs/binfmt_misc' 2> /dev/null ||
    { echo "skipped: no binfmt_misc of our own here (user namespaces, and Linux 6.7)"; exit 77; }
  exec unshare --user --map-root-user --mount --pid --fork --mount-proc "$self" "$kfab" inside "$emulator"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 1
# An ELF file of 64 bits, little-endian, a program (2, or 3 where it lies anywhere), for machine 183. The shell keeps the escapes for the kernel.
printf '%s' ':kfab-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:'"$3"':F' \
  > /proc/sys/fs/binfmt_misc/register || exit 1
export QEMU_LD_PREFIX=$libraries HOME=$work/home KFAB_STATE_DIR=$work/state
unset XDG_CACHE_HOME
mkdir -p "$HOME" "$work/bin"
printf '#!/bin/sh\n[ "$1" = -m ] && echo aarch64\n' > "$work/bin/uname"
chmod 755 "$work/bin/uname"
export PATH=$work/bin:$PATH

cat > "$work/site.yaml" <<'YAML'
apiVersion: kfab/v1
kind: Site
metadata: {name: arm, title: A node with Arm processors, country: KR, as_of: 2026-11-21}
spec:
  kind: edge
  ssh: {transport: local}
  tranches:
    - {name: first, due: 2027-03-31, targets: [{profile: p, nodes: 1, accelerators: 1}], ready_when: {level: quick}}
  nodes:
    - {group: near, tranche: first, profile: p, list: [{name: near, address: localhost}], identity: name}
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: p, version: "1", title: a node without accelerators}
spec: {vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW, criteria: c}
---
apiVersion: kfab/v1
kind: Criteria
metadata: {name: c, version: "1", title: nothing but sound bits}
spec:
  criteria:
    - {id: no-memory-error, metric: memory.errors, device: cpu, unit: count, direction: equal, limit: 0, source: "memory that works"}
    - {id: no-wrong-copy, metric: bandwidth.stream.mismatches, device: cpu, unit: count, direction: equal, limit: 0, source: "copies that arrive"}
    - {id: no-wrong-product, metric: burnin.gemm_fp32.mismatches, device: cpu, unit: count, direction: equal, limit: 0, source: "products that are right"}
YAML
failures=0
# has NAME EXIT_CODE PYTHON_EXPRESSION KFAB_ARGUMENTS...: kfab ends so, and the expression is true of `data` in its JSON.
has() {
  local name=$1 want=$2 expression=$3 status
  shift 3
  "$kfab" "$@" -o json > "$work/out" 2> "$work/err"
  status=$?
  if [ $status != "$want" ] || ! python3 -c 'import json,sys; data=json.load(open(sys.argv[1]))["data"]; sys.exit(not eval(sys.argv[2]))' "$work/out" "$expression"; then
    echo "FAIL $name: exit $status"
    head -c 4000 "$work/out"
    cat "$work/err"
    failures=$((failures + 1))
  fi
}
agents=$("$kfab" version -o json | python3 -c 'import json,sys; print(*(a["sha256"] for a in json.load(sys.stdin)["data"]["agents"] if a["machine"] == "aarch64"))')
has "facts, of which nothing is expected," 3 "'\"architecture\": \"aarch64\"' in json.dumps(data)" inventory "$work/site.yaml"
[ -e "$HOME/.cache/kfab/agent-$agents" ] || { echo "FAIL the agent in the cache is not that for Arm"; ls "$HOME/.cache/kfab"; failures=$((failures + 1)); }
has "tests" 0 "'NEON' in json.dumps(data)" validate "$work/site.yaml" --level quick --duration 8s --yes
has "self-test" 0 "True" selftest "$work/site.yaml"
[ $failures = 0 ] && echo "the agent for Arm processors was sent, told its facts, tested and found what it planted"
exit $failures
