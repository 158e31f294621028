"""Makes one result of what the agent, the self-test and the sanitizers said, and judges it.

A result is made of parts (PARTS), each of which holds all that is told of it, so that a later run adds or replaces parts of an
earlier result. `bad` is what must not be: wrong bits, what failed, refused kernels, XIDs, uncorrected errors. `not_run` is what
this machine did not allow, each with its reason. `told` is what a reader wants to know beside the figures."""
import datetime
import json
import os
import statistics

SCHEMA = 2
TOOLS = ("memcheck", "initcheck", "synccheck", "racecheck")
PARTS = ("measured", "comparison", "selftest") + TOOLS
DOES_NOT_APPLY = ("KF4011", "KF4155")   # what the chip does not have, and what kfab has no kernel for on it
MOST = 2000                 # of each list, so that a result stays small whatever a machine says

# name, metric or what it is made of, at least, unit
FIGURES = (
    ("burn-in bf16 beside cuBLASLt, full mantissas", "burnin.gemm_bf16.random_own_to_cublaslt", 0.90, ""),
    ("burn-in bf16 beside cuBLASLt, exact data", "burnin.gemm_bf16.own_to_cublaslt", 0.90, ""),
    ("burn-in fp8 beside cuBLASLt, full mantissas", "burnin.gemm_fp8.random_own_to_cublaslt", 0.90, ""),
    ("burn-in fp8 beside cuBLASLt, exact data", "burnin.gemm_fp8.own_to_cublaslt", 0.90, ""),
    ("power of the burn-in, of the enforced limit", "burnin.power_of_limit_pct", 95, " %"),
    ("memory test beside a device copy", "memory_to_device_copy", 0.85, ""),
    ("memory covered by the memory test", "memory.coverage_pct", 95, " %"),
    ("faults planted by the self-test and found", "planted_found_pct", 100, " %"),
)
SAME_REASON = {"burnin.power_of_limit_pct": "burnin.power_w"}   # it is left out where this one has no value
STATES_THAT_TELL = ("ecc_volatile_uncorrected", "remapped_rows_pending", "remapped_rows_failed", "retired_pages", "retired_pages_pending", "sram_threshold_exceeded", "repair_pending", "nvlinks_down",
                    "inforom_invalid", "fabric_incomplete", "fabric_unhealthy", "recovery_action", "foreign_processes", "confidential_computing")


def is_event(metric):
    return metric.startswith(("xid.", "sxid."))


# What a measurement above zero means; the first row that fits. None: it is a figure and nothing else.
MEANINGS = (
    ("bad", lambda m: m["metric"].endswith((".mismatches", "_mismatches", ".errors"))),
    ("bad", lambda m: m["metric"].endswith(("kernels_refused", "kernels_wrong"))),
    ("told", lambda m: m["metric"].endswith("cublaslt_inexact_pct")),
    ("told", lambda m: is_event(m["metric"]) and m["test"] == "health"),   # of the time before
    ("bad", lambda m: is_event(m["metric"])),
    (None, lambda m: m["metric"] == "counters.xids"),                        # the sum of those
    ("bad", lambda m: m["metric"].startswith("counters.") and ("uncorrect" in m["metric"] or m["metric"].endswith("_double_bit"))),
    ("bad", lambda m: m["metric"].endswith(".ecc_uncorrected")),
    ("told", lambda m: m["metric"].startswith("counters.")),
    ("told", lambda m: ".throttle." in m["metric"]),
    ("told", lambda m: m["metric"].startswith("health.") and m["metric"][7:] in STATES_THAT_TELL),
    ("told", lambda m: m["metric"].endswith("_missing") or m["metric"] == "bandwidth.tests_left_out"),
)


def words_of(m):
    detail = f': {m["detail"]}' if m.get("detail") else ""
    return f'{m["test"]}: {m["metric"]} is {m["value"]:g}{detail}'[:600]


def judge(messages):
    """(bad, not_run, told) of what the agent said."""
    out = {"bad": [], "not_run": [], "told": []}
    for m in messages:
        kind = m.get("type")
        if kind == "measurement" and isinstance(m["value"], (int, float)):
            if m["metric"].startswith("selftest."):
                if m["value"] != 1:
                    out["bad"].append(words_of(m))
            elif m["value"] > 0:
                meaning = next((what for what, fits in MEANINGS if fits(m)), None)
                if meaning:
                    out[meaning].append(words_of(m))
        elif kind == "mismatch":
            out["bad"].append(f'{m["test"]}: wrong bits at {m["where"]}')
        elif kind == "test_done" and m["status"] != "ran" and m["code"] not in DOES_NOT_APPLY:
            words = f'{m["test"]}: {m["status"]}, {m["reason"]} ({m["code"]})'
            out["bad" if m["status"] == "failed" else "not_run"].append(words)
        elif kind == "planted" and not m["found"]:
            out["bad"].append(f'self-test: missed {m["where"]}: {m["fault"]} ({m.get("detail") or ""})')
        elif kind == "not_tried":
            out["not_run"].append(f'self-test: {m["where"]}: {m["reason"]}')
    return tuple(list(dict.fromkeys(out[name]))[:MOST] for name in ("bad", "not_run", "told"))


def figures(messages):
    """{metric[ link]: {value, unit, detail}}; of GPUs the median, of links each."""
    values, rows = {}, {}
    for m in messages:
        if m.get("type") != "measurement":
            continue
        name = m["metric"] + (f' {m["link"]}' if m["link"] else "")
        values.setdefault(name, [])
        if m["value"] is not None:
            values[name].append(m["value"])
        if name not in rows or rows[name]["value"] is None:
            rows[name] = {"value": m["value"], "unit": m["unit"], "detail": (m["detail"] or "")[:600]}
    for name, row in rows.items():
        if values[name]:
            row["value"] = statistics.median(values[name])
    return dict(list(rows.items())[:2 * MOST])


def read(path):
    try:
        with open(path) as file:
            out = json.load(file)
        return out if isinstance(out, dict) and out.get("schema") == SCHEMA and isinstance(out.get("parts"), dict) else None
    except (OSError, ValueError):
        return None


def write(path, result):
    """Whole or not at all: at any moment the file is one that can be read."""
    with open(path + ".new", "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


def planted(parts):
    of = parts.get("selftest", {})
    return 100.0 * of["found"] / of["planted"] if of.get("planted") else None


def gather(parts, emulated, libraries):
    """The result of the parts that there are."""
    merged, accelerators, bad, not_run, told, missing = {}, [], [], [], [], []
    for name in PARTS:
        part = parts.get(name)
        if not part or part["state"] != "done":
            missing.append({"part": name, "why": part["why"] if part else "it was not begun"})
        if not part:
            continue
        for metric, row in part.get("figures", {}).items():
            if row["value"] is not None or metric not in merged:   # the longer look at the same comes later
                merged[metric] = dict(row, part=name)
        accelerators = accelerators or part.get("accelerators", [])
        bad += [f"{name}: {words}" for words in part.get("bad", [])]
        not_run += [f"{name}: {words}" for words in part.get("not_run", [])]
        told += [f"{name}: {words}" for words in part.get("told", [])]
    value = {metric: row["value"] for metric, row in merged.items()}
    copy, memory = value.get("bandwidth.hbm_copy_rw_gbps"), value.get("memory.gbps")
    comparisons = {"memory_to_device_copy": memory / copy if memory and copy else None}
    comparisons.update({metric: value[metric] for metric in merged if metric.endswith("own_to_cublaslt")})
    if merged and not any(v for k, v in comparisons.items() if k.endswith("own_to_cublaslt")) and any(k.startswith("burnin.gemm") for k in merged):
        why = next((row["detail"] for metric, row in merged.items() if metric.endswith("own_to_cublaslt") and row["detail"]), "libcublasLt is not there")
        not_run.append(f"no comparison with cuBLASLt: {why}")
    models = sorted({one["model"] for one in accelerators})
    began = [part["began"] for part in parts.values()]
    result = {
        "schema": SCHEMA, "date": min(began)[:10] if began else datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "gpu": ", ".join(models), "count": len(accelerators), "emulated": emulated, "complete": not missing, "missing": missing,
        "agent": next((part["agent"] for part in parts.values()), None), "libraries": libraries, "accelerators": accelerators,
        "summary": summary(merged, dict(comparisons, planted_found_pct=planted(parts)), parts), "figures": merged, "comparisons": comparisons,
        "selftest": selftest_words(parts.get("selftest")), "sanitizer": sanitizer_words(parts), "bad": bad, "not_run": not_run, "told": told, "parts": parts,
    }
    return result


def selftest_words(part):
    if not part:
        return "not run"
    if not part.get("planted"):
        return f'not run: {part["why"]}'
    return f'{part["found"]} of {part["planted"]} planted faults found' + ("" if part["state"] == "done" else f', incomplete: {part["why"]}') + (
        f'; kfab {part["kfab"]}' if part.get("kfab") else "")


def sanitizer_words(parts):
    out = {}
    for tool in TOOLS:
        part = parts.get(tool)
        if not part:
            out[tool] = "not run"
            continue
        items = part.get("items", {})
        dirty = [f'{item}: {one["words"]}' for item, one in items.items() if one["outcome"] == "errors"]
        clean = [item for item, one in items.items() if one["outcome"] == "clean"]
        rest = [item for item, one in items.items() if one["outcome"] not in ("clean", "errors", "does not apply")]
        words = dirty + ([f"clean: {', '.join(clean)}"] if clean else []) + ([f"not run: {', '.join(rest)}"] if clean and rest else [])
        out[tool] = "; ".join(words) or f'not run: {part["why"]}'
    return out


def summary(merged, made, parts):
    """One row for each figure that the project promises."""
    rows = []
    for name, metric, least, unit in FIGURES:
        row = merged.get(metric, {})
        value = made.get(metric, row.get("value"))
        if value is not None:
            met = value >= least
            rows.append({"figure": name, "measured": value, "wanted": least, "unit": unit, "verdict": "met" if met else "not met", "why": "" if met else row.get("detail", "")})
            continue
        part = "selftest" if metric == "planted_found_pct" else "measured"
        of_part = parts[part]["why"] or "it told no such figure" if part in parts else f"the part {part} was not begun"
        why = row.get("detail") or merged.get(SAME_REASON.get(metric), {}).get("detail") or of_part
        rows.append({"figure": name, "measured": None, "wanted": least, "unit": unit, "verdict": "not measured", "why": why})
    return rows


def lines(result, path):
    """What a person reads at the end, the most important last: of long outputs the end is kept."""
    plain = ("selftest.", "health.", "counters.", "pcie.", "device.")
    shown = {name: one for name, one in result["figures"].items() if one["value"] is not None and not name.startswith(plain) and (one["value"] or one["unit"] != "count")}
    out = [f"  {name[:86]:86} {one['value']:16.4f} {one['unit']}" for name, one in sorted(shown.items())]
    out += [f"  {tool:12} {words}" for tool, words in result["sanitizer"].items()] + [f"  {'self-test':12} {result['selftest']}"]
    out += [f"  {'library':12} {name}: {where}" for name, where in result["libraries"].items()]
    for kind, word in (("told", "NOTE"), ("not_run", "NOT RUN"), ("bad", "BAD")):
        out += [f"{word} {one}"[:400] for one in result[kind][:40]]
        if len(result[kind]) > 40:
            out.append(f"{word} and {len(result[kind]) - 40} more, in the result")
    out += [f'MISSING {one["part"]}: {one["why"]}'[:400] for one in result["missing"]]
    for row in result["summary"]:
        measured = "-" if row["measured"] is None else f'{row["measured"]:.3g}{row["unit"]}' if row["unit"] else f'{row["measured"]:.3f}'
        why = f': {row["why"]}'[:200] if row["why"] else ""
        out.append(f'FIGURE {row["figure"]:46} measured {measured:>8}  wanted >= {row["wanted"]:g}{row["unit"]:4}{row["verdict"]}{why}')
    out.append(f'{"complete" if result["complete"] else "INCOMPLETE"}, {len(result["bad"])} bad, {len(result["not_run"])} not run; the result is in {path}')
    return out
