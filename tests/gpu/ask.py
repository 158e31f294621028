"""One request to the agent, as a node would get it, within a time of its own; what it says is given on as it comes."""
import json
import os
import select
import signal
import subprocess
import tempfile
import time

LAST_WORDS_S = 6.0   # before the limit the agent ends by itself, so that what it has measured so far is told


class End:
    def __init__(self):
        self.status, self.cut, self.ok, self.words = None, False, False, ""

    def why(self):
        """Empty when the agent came to its end as it should."""
        if self.ok and not self.cut and self.status == 0:
            return ""
        how = f"the agent ended with {self.status}"
        if self.cut:
            how = "cut off by the clock"
        elif self.status is not None and self.status < 0:
            how = f"the agent was killed by signal {-self.status}"
        return how + (": " + self.words if self.words else "")


def first_line(text):
    return next((" ".join(line.split())[:300] for line in text.splitlines() if line.strip()), "")


def ask(agent, request, limit_s, take, wrapper=(), environment=None, idle=lambda: None):
    """Sends the request, calls take(message, line) for each message, and idle() when there was none for a second. Returns an End; raises
    only what these raise."""
    began = time.monotonic()
    limit_s = max(limit_s, 1.0)
    request = dict({"type": "request", "protocol": 1, "run_id": "gpu-run", "deadline_s": max(0.8 * limit_s, limit_s - LAST_WORDS_S), "heartbeat_s": limit_s + 600}, **request)
    end = End()
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        try:
            child = subprocess.Popen(list(wrapper) + [agent, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment, start_new_session=True)
        except OSError as error:
            end.words = f"{(list(wrapper) + [agent])[0]} could not start: {error.strerror}"
            return end
        try:
            try:
                child.stdin.write(json.dumps(request).encode() + b"\n")
                child.stdin.flush()   # it stays open: the agent ends when its input does
            except BrokenPipeError:
                pass
            rest = b""
            while True:
                left = limit_s - (time.monotonic() - began)
                if left <= 0:
                    end.cut = True
                    break
                if not select.select([child.stdout], [], [], min(left, 1.0))[0]:
                    idle()
                    continue
                piece = os.read(child.stdout.fileno(), 1 << 16)
                if not piece:
                    break
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    try:
                        message = json.loads(line)
                    except ValueError:
                        continue   # no message; what is missing shows at the end
                    if not isinstance(message, dict):
                        continue
                    if message.get("type") == "done":
                        end.ok = bool(message.get("ok"))
                        problem = message.get("error") or {}
                        end.cut = end.cut or problem.get("code") == "KF2104"   # its deadline
                        end.words = " ".join(filter(None, (problem.get("code"), problem.get("message"))))
                    take(message, line.decode(errors="replace"))
        finally:
            end.status = leave(child)
            child.stdout.close()
        errors.seek(0)
        end.words = end.words or first_line(errors.read(20_000))
    return end


def leave(child):
    """Lets it go: its input ends, then all of its session."""
    try:
        child.stdin.close()
    except OSError:
        pass
    for signal_number, grace_s in ((None, 3.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
        if signal_number is not None:
            try:
                os.killpg(child.pid, signal_number)
            except ProcessLookupError:
                pass
        try:
            return child.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            continue
    return None
