#!/usr/bin/env bash
# What the compiler says of the kernels that must be fast: no register spilled to memory, and no products of Hopper's warpgroups
# made to wait for each other, which costs half of the rate and is seen in no result.
#   kernels.sh ROOT NVCC
set -u
root=$1 nvcc=$2
command -v "$nvcc" > /dev/null || { echo "skipped: no nvcc"; exit 125; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# judge LOG: the lines that tell of what must not be, with the kernel before them. Status 0 when there are none.
judge() {
  awk '/Compiling entry function/ { kernel = $0; sub(/.*function ./, "", kernel); sub(/. for.*/, "", kernel) }
       /spill stores/ && !/ 0 bytes spill stores, 0 bytes spill loads/ { print kernel ": " $0; bad = 1 }
       /C75[0-9][0-9]/ { print; bad = 1 }
       END { exit bad }' "$1"
}

failures=0
for pair in hopper:90a blackwell:100a blackwell:103a; do
  source=${pair%:*} arch=${pair#*:}
  if ! "$nvcc" -std=c++17 -O3 -cubin -gencode "arch=compute_$arch,code=sm_$arch" -Xptxas -v -o "$work/out" "$root/lib/agent/kernels/$source.cu" > "$work/log" 2>&1; then
    echo "FAIL $source.cu does not compile for sm_$arch"; tail -5 "$work/log"; failures=1; continue
  fi
  found=$(grep -c 'Compiling entry function' "$work/log")
  if [ "$found" -eq 0 ]; then echo "FAIL the compiler told of no kernel in $source.cu"; failures=1
  elif judge "$work/log"; then echo "ok   $found kernels of $source.cu for sm_$arch"
  else echo "FAIL $source.cu for sm_$arch"; failures=1; fi
done

# That it can fail: what the compiler says of such kernels.
printf '%s\n' "ptxas info    : Compiling entry function 'k' for 'sm_90a'" "    8 bytes stack frame, 8 bytes spill stores, 0 bytes spill loads" > "$work/spilled"
printf '%s\n' "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to it in function 'k'" > "$work/serial"
for bad in spilled serial; do
  if judge "$work/$bad" > /dev/null; then echo "FAIL what is $bad was not seen"; failures=1; fi
done
exit $failures
