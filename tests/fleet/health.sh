#!/usr/bin/env bash
# Health the whole way: kfab, the agent on this machine, stand-ins for libcuda and libnvidia-ml, and a maker's tool in shell.
#   health.sh KFAB BUILD_DIR
set -u
kfab=$1 build=$2
for library in fake_cuda fake_nvml; do
  [ -e "$build/libkfab_$library.so" ] || { echo "skipped: libkfab_$library.so is not built"; exit 77; }
done
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
ln -s "$build/libkfab_fake_cuda.so" "$work/libcuda.so.1"
ln -s "$build/libkfab_fake_nvml.so" "$work/libnvidia-ml.so.1"
cat > "$work/rbln-smi" <<'EOF'
#!/bin/sh
cat <<X
{"KMD_version":"3.0.0","devices":[{"npu":0,"name":"RBLN-CA22","sid":"0000000022513338","status":"normal","fw_ver":"3.0.0","pci":{"dev":"0x1220",
"bus_id":"0000:03:00.0","link_speed":"32.0GT/s","link_width":"16"},"temperature":"31C","card_power":"17521800uW","pstate":"${KFAB_TEST_PSTATE:-P14}",
"memory":{"used":"0","total":"16877879296"}}],"contexts":[]}
X
EOF
chmod +x "$work/rbln-smi"
cat > "$work/site.yaml" <<'EOF'
apiVersion: kfab/v1
kind: Site
metadata: {name: health, title: This machine as two nodes, country: KR, as_of: 2026-11-22}
spec:
  kind: edge
  ssh: {transport: local}
  tranches:
    - {name: first, due: 2027-03-31, targets: [{profile: gpu, nodes: 1, accelerators: 2}], ready_when: {level: quick}}
  nodes:
    - {group: g, tranche: first, profile: gpu, list: [{name: gpu, address: localhost}], identity: name}
    - {group: h, tranche: first, profile: npu, list: [{name: npu, address: localhost}], identity: name}
---
apiVersion: kfab/v1
kind: Criteria
metadata: {name: here, version: "1"}
spec:
  extends: [nvidia-any]
  without: [kernel-log, kernel-log-whole, pcie-generation, pcie-width]     # of this machine nobody can promise them
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: gpu, version: "1", title: two GPUs}
spec: {vendor: nvidia, accelerator: unknown, per_node: 2, nameplate: 1 kW, pins: {driver: "570.133.20"}, criteria: here}
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: npu, version: "1", title: one NPU}
spec: {vendor: rebellions, accelerator: RBLN-CA22, per_node: 1, nameplate: 1 kW, pcie: {gen: 5, width: 16}, criteria: rebellions-atom}
EOF
export LD_LIBRARY_PATH=$work${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PATH=$work:$PATH KFAB_STATE_DIR=$work/state KFAB_JOBS_DIR=$work/jobs KFAB_FAKE_CUDA=devices=2
site=$work/site.yaml failed=0
# check NAME EXIT WORDS SCRIPT COMMAND...: the exit code, and words that the output must hold.
check() {
  local name=$1 wanted=$2 words=$3 script=$4 status=0
  shift 4
  KFAB_FAKE_NVML=$script timeout 60 "$kfab" "$@" > "$work/out" 2>&1 || status=$?
  if [ "$status" = "$wanted" ] && grep -qF -- "$words" "$work/out"; then
    echo "ok: $name"
    return
  fi
  echo "FAILED: $name: exit $status instead of $wanted, or without '$words'"
  head -20 "$work/out"
  failed=1
}
check "sound GPUs pass" 0 pass devices=2 health "$site" -w gpu
check "a pending remapping fails its GPU and says what to do" 1 "criterion remap-pending); reset the GPU" devices=2,0.remapped_rows_pending=1 health "$site" -w gpu
check "another driver than the pinned one" 1 "driver 535.1 is not the pinned 570.133.20" devices=2,driver=535.1 health "$site" -w gpu
check "a GPU that fell off the bus costs its neighbour nothing" 1 "pass     GPU-00112233" devices=2,1.off_the_bus=1 health "$site" -w gpu
check "a GPU that NVML has lost" 1 KF4006 devices=2,lost=12 health "$site" -w gpu
check "a sound NPU passes by its maker's tool" 0 pass devices=2 health "$site" -w npu
export KFAB_FAKE_CUDA=devices=2,sick=1 CUDA_VISIBLE_DEVICES=1
check "a GPU that keeps CUDA from starting costs its neighbour nothing" 3 "memory.coverage_pct 75 < 95" devices=2 memtest "$site" -w gpu --duration 2s
check "where CUDA does not start health is read by NVML" 1 "criterion remap-pending); reset the GPU" devices=2,1.remapped_rows_pending=1 health "$site" -w gpu
export KFAB_FAKE_CUDA=devices=2
check "what CUDA_VISIBLE_DEVICES hides is tested all the same" 0 pass devices=2 health "$site" -w gpu
unset CUDA_VISIBLE_DEVICES
export KFAB_TEST_PSTATE=P12
check "an NPU that hangs" 1 "criterion not-hung): P12" devices=2 health "$site" -w npu
check "what was measured can be judged again" 1 "criterion not-hung" devices=2 judge "$site" -w npu
check "an error that arises during a test is tied to it" 1 "memory +2" devices=2,ecc_volatile_uncorrected=0,ecc_volatile_uncorrected=2@3 memtest "$site" -w gpu --duration 2s
export KFAB_FAKE_CUDA=devices=2,oom
check "a self-test whose GPUs planted nothing does not pass" 3 "none of its tests planted a fault" devices=2 selftest "$site" -w gpu --seed 7
exit $failed
