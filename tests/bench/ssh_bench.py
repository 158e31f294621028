#!/usr/bin/env python3
"""`true` on many nodes by pdsh, clush, Ansible and kfab in turn, against the same sshd of our own on loopback.

  ssh_bench.py KFAB SSHD_DIR [--nodes N] [--runs N] [--window N] [--ansible-nodes N]

SSHD_DIR is one that tests/fleet/sshd.sh has started. CPU is user and system time of the tool and of every process that
it started; sshd is not among them. Rounds alternate between the tools, the first round warms up and is not counted,
and what is compared are medians. Ends with 1 when a figure is not met.
"""
import argparse
import getpass
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TARGETS = {"cpu_ms": 1.5, "cpu_ratio": 40.0, "wall_ratio": 4.0}


def measured(argv, env, limit_s):
    """Runs argv; returns (wall in s, CPU in s of it and its children, exit status)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    with open(os.devnull, "wb") as null:
        done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=null, stderr=subprocess.PIPE, timeout=limit_s, check=False)
    wall = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, done


def write(path, text):
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    return path


def tools(args, work, port):
    """Each tool: its name, its argv, how many nodes it does, its environment."""
    sshd, env = args.sshd_dir, dict(os.environ, LC_ALL="C.UTF-8", ANSIBLE_HOST_KEY_CHECKING="True", ANSIBLE_NOCOWS="1")
    env.pop("SSH_AUTH_SOCK", None)
    user = getpass.getuser()
    config = write(f"{work}/ssh_config", f"""Host n*
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {sshd}/id_ed25519
  IdentitiesOnly yes
  UserKnownHostsFile {sshd}/known_hosts
  StrictHostKeyChecking yes
""")
    width = len(str(args.nodes))
    names = f"n[{1:0{width}d}-{args.nodes}]"
    inventory = write(f"{work}/inventory.ini", "[all]\n" + "".join(f"n{i:0{width}d}\n" for i in range(1, args.ansible_nodes + 1)))
    ansible_cfg = write(f"{work}/ansible.cfg", f"[defaults]\nforks = {args.window}\ninterpreter_python = {sys.executable}\n"
                        f"[ssh_connection]\nssh_args = -F {config} -o ControlMaster=no\npipelining = True\n")
    kfab = [args.kfab, "exec", "-w", names, "--ssh-config", config, "--state", f"{work}/state", "--window", str(args.window), "-q", "--", "true"]
    return [
        ("kfab", kfab, args.nodes, env),
        ("kfab --plain", kfab[:-2] + ["--plain", "--", "true"], args.nodes, env),
        ("pdsh", ["pdsh", "-R", "ssh", "-f", str(args.window), "-w", names, "true"], args.nodes,
         dict(env, PDSH_SSH_ARGS_APPEND=f"-F {config}")),
        ("clush", ["clush", "-q", "-f", str(args.window), "-o", f"-F {config}", "-w", names, "true"], args.nodes, env),
        ("ansible", ["ansible", "all", "-i", inventory, "-m", "raw", "-a", "true"], args.ansible_nodes, dict(env, ANSIBLE_CONFIG=ansible_cfg)),
    ]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kfab")
    parser.add_argument("sshd_dir")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--ansible-nodes", type=int, default=50)
    args = parser.parse_args()
    with open(f"{args.sshd_dir}/port", encoding="utf-8") as source:
        port = int(source.read())
    work = tempfile.mkdtemp(prefix="kfab-bench-")
    try:
        return compare(args, work, port)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def compare(args, work, port):
    rows = [tool for tool in tools(args, work, port) if tool[0].startswith("kfab") or shutil.which(tool[1][0])]
    walls, cpus = {row[0]: [] for row in rows}, {row[0]: [] for row in rows}
    for round_number in range(args.runs + 1):
        for name, argv, nodes, env in rows:
            wall, cpu, done = measured(argv, env, limit_s=1800)
            if done.returncode != 0:
                print(f"{name} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-400:]}", file=sys.stderr)
                return 1
            print(f"  round {round_number}{' (warm-up)' if round_number == 0 else ''}: {name}: {nodes} nodes, wall {wall:.2f} s, CPU {cpu:.2f} s",
                  file=sys.stderr, flush=True)
            if round_number > 0:
                walls[name].append(wall / nodes)
                cpus[name].append(cpu / nodes)
    print(f"`true` on nodes behind one sshd, window {args.window}, medians of {args.runs}, per node")
    print(f"{'':14}{'nodes':>7}{'wall ms':>10}{'CPU ms':>10}{'wall x kfab':>13}{'CPU x kfab':>12}")
    base_wall, base_cpu = statistics.median(walls["kfab"]), statistics.median(cpus["kfab"])
    for name, _, nodes, _ in rows:
        wall, cpu = statistics.median(walls[name]), statistics.median(cpus[name])
        print(f"{name:14}{nodes:7d}{wall * 1000:10.2f}{cpu * 1000:10.2f}{wall / base_wall:13.1f}{cpu / base_cpu:12.1f}")
    return verdicts(walls, cpus)


def login_floor_ms():
    """What no client can do without: a key pair and a shared secret (X25519), the host's signature verified, one made
    (Ed25519). A machine that is slower today shows here. None where openssl does not tell."""
    try:
        text = subprocess.run(["openssl", "speed", "-seconds", "1", "ecdhx25519", "ed25519"], capture_output=True, text=True, timeout=60).stdout
        agree = float(re.search(r"X25519\)\s+\S+\s+([0-9.]+)", text).group(1))
        sign, verify = map(float, re.search(r"Ed25519\)(?:\s+\S+s){2}\s+([0-9.]+)\s+([0-9.]+)", text).groups())
        return 1000 * (2 / agree + 1 / sign + 1 / verify)
    except (OSError, subprocess.SubprocessError, AttributeError, ZeroDivisionError):
        return None


def verdicts(walls, cpus):
    def median(values):
        return statistics.median(values)

    met = True

    def say(what, value, target, ok):
        nonlocal met
        met = met and ok
        print(f"{'met    ' if ok else 'NOT MET'}  {what}: {value} (asked: {target})")

    floor = login_floor_ms()
    if floor is not None:
        print(f"of the client's CPU, {floor:.2f} ms are the public-key operations of one login on this machine as it is now (openssl speed)")
    for name in ("kfab", "kfab --plain"):
        cpu = median(cpus[name]) * 1000
        say(f"client CPU of {name} per node", f"{cpu:.2f} ms", f"<= {TARGETS['cpu_ms']} ms", cpu <= TARGETS["cpu_ms"])
    for peer in ("pdsh", "clush"):
        if peer not in walls:
            print(f"not measured: {peer} is not installed")
            met = False
            continue
        cpu = median(cpus[peer]) / median(cpus["kfab"])
        wall = median(walls[peer]) / median(walls["kfab"])
        say(f"CPU of {peer} against kfab", f"{cpu:.1f}x", f">= {TARGETS['cpu_ratio']:.0f}x", cpu >= TARGETS["cpu_ratio"])
        say(f"wall of {peer} against kfab", f"{wall:.1f}x", f">= {TARGETS['wall_ratio']:.0f}x", wall >= TARGETS["wall_ratio"])
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
