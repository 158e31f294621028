"""Makes one result of what the agent, the self-test and the sanitizers said, and judges whether the run was clean.

  result.py FOLDER KIND RESULT VERSION     FOLDER: what tests/gpu/run left; RESULT empty: tests/gpu/results/<gpu>-<date>.json
"""
import datetime
import json
import os
import re
import statistics
import sys

folder, kind, path, version = sys.argv[1:5]
messages = []
for line in open(os.path.join(folder, "messages")):
    try:
        messages.append(json.loads(line))
    except ValueError:
        pass   # the agent's own last words, if it had any, show in what is missing
expected_codes = {"KF4011"}   # what the chip does not have

bad = []
for m in messages:
    if m["type"] == "measurement" and m["metric"].endswith((".mismatches", "_mismatches", ".errors")) and m["value"]:
        bad.append(m["metric"])
    if m["type"] == "measurement" and m["metric"].startswith("selftest.") and m["value"] != 1:
        bad.append(m["metric"])
    if m["type"] == "mismatch":
        bad.append(f'{m["test"]} at {m["where"]}')
    if m["type"] == "test_done" and m["status"] != "ran" and m["code"] not in expected_codes:
        bad.append(f'{m["test"]}: {m["status"]}, {m["reason"]} ({m["code"]})')
if not any(m["type"] == "test_done" and m["status"] == "ran" for m in messages):
    bad.append("no test ran")
if not messages or messages[-1].get("type") != "done" or not messages[-1]["ok"]:
    bad.append("the agent did not come to its end")

sanitizer = {}
if os.path.exists(os.path.join(folder, "sanitizer")):
    for line in open(os.path.join(folder, "sanitizer")):
        tool, status, errors, logs = line.split()
        clean = status == "0" and errors == "0" and int(logs) > 0
        sanitizer[tool] = "clean" if clean else f"{errors} errors, exit status {status}, {logs} processes"
        if not clean:
            bad.append(f"{tool}: {sanitizer[tool]}")
selftest = json.load(open(os.path.join(folder, "selftest")))
if selftest == "FAILED":
    bad.append("kfab selftest failed")

accelerators = [m for m in messages if m["type"] == "accelerator"]
of = {a["id"]: [m for m in messages if m["type"] == "measurement" and m["accelerator"] == a["id"]] for a in accelerators}


def figure(metric):
    """The median over the GPUs that have it, or None."""
    values = [m["value"] for all_of in of.values() for m in all_of if m["metric"] == metric and m["value"] is not None]
    return statistics.median(values) if values else None


copy, memory = figure("bandwidth.hbm_copy_rw_gbps"), figure("memory.gbps")
comparisons = {"memory_to_device_copy": memory / copy if memory and copy else None}
for m in messages:
    if m["type"] == "measurement" and m["metric"].endswith("own_to_cublaslt"):
        comparisons[m["metric"]] = figure(m["metric"])

date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
names = sorted({a["model"] for a in accelerators})
result = {
    "schema": 1, "date": date, "gpu": names[0] if len(names) == 1 else ", ".join(names), "count": len(accelerators), "emulated": kind == "emulated",
    "agent": version, "accelerators": [{k: a[k] for k in ("model", "compute_capability", "driver", "memory_bytes", "detail")} for a in accelerators],
    "figures": {m["metric"] + (f' {m["link"]}' if m["link"] else ""): {"value": figure(m["metric"]) if not m["link"] else m["value"], "unit": m["unit"], "detail": m["detail"]}
                for all_of in of.values() for m in all_of},
    "comparisons": comparisons, "selftest": selftest, "sanitizer": sanitizer or "not on this machine", "bad": bad,
}
for name, one in sorted(result["figures"].items()):
    if one["value"] is not None:
        print(f'  {name[:86]:86} {one["value"]:16.4f} {one["unit"]}')
for name, ratio in comparisons.items():
    print(f'  {name:86} {"not measured" if ratio is None else f"{ratio:16.3f}"}')
print(f"  sanitizers: {result['sanitizer']}; selftest: {selftest}")
if not path:
    slug = re.sub(r"[^a-z0-9]+", "-", result["gpu"].lower()).strip("-") or "none"
    path = f"tests/gpu/results/{slug}-{date}.json"
os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
with open(path, "w") as out:
    json.dump(result, out, indent=1)
    out.write("\n")
for line in bad:
    print("BAD", line)
print(f"{len(bad)} bad; the result is in {path}")
sys.exit(1 if bad else 0)
