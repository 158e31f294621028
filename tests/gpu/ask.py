"""Asks the agent for all that the cuda device can do and prints its messages.

  ask.py AGENT KIND SECONDS [WRAPPER...]     KIND: "" on a GPU, "emulated", or "sanitized" for every kernel at small sizes
"""
import json
import subprocess
import sys

agent, kind, seconds, wrapper = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:]
request = {"type": "request", "protocol": 1, "run_id": "gpu-tests", "deadline_s": 3000, "heartbeat_s": 3000, "task": "test",
           "device": "cuda", "level": "standard", "duration_s": seconds, "samples": 12}
if kind == "emulated":   # its health is tested over a libnvidia-ml of its own
    request.update(level="quick", buffer_mib=1, samples=10, families=["memory", "bandwidth", "burnin"])
if kind == "sanitized":
    request.update(buffer_mib=1, samples=1, memory_cap_mib=64, silence_s=800, families=["memory", "bandwidth", "burnin"])
# The agent ends when its input does, so the pipe stays open until it is done.
child = subprocess.Popen(wrapper + [agent, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
child.stdin.write(json.dumps(request) + "\n")
child.stdin.flush()
for line in child.stdout:
    sys.stdout.write(line)
sys.exit(child.wait())
