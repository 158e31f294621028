"""Where a machine keeps libraries that the loader does not find by their name: toolkits, drivers of containers, Python packages."""
import glob
import os
import subprocess
import sys
import time

CUBLASLT = ("libcublasLt.so.13", "libcublasLt.so.12")
DRIVER = ("libcuda.so.1", "libnvidia-ml.so.1")
TOOLKITS = ("/usr/local/cuda/lib64", "/usr/local/cuda-*/lib64", "/usr/local/cuda*/targets/*/lib")
DRIVER_FOLDERS = ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib/wsl/lib")
TREES = ("/opt", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/root", "/home")
MOST_DEPTH, MOST_S = 10, 12.0   # of a search through trees


def loads(name):
    """Whether the loader takes it, tried in a process that ends with it."""
    try:
        return subprocess.run([sys.executable, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", name], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=60).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def site_packages():
    """Those of the python3 that people call here, and of this one."""
    out = []
    for python in ("python3", sys.executable):
        try:
            said = subprocess.run([python, "-c", "import sys; print('\\n'.join(sys.path))"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=20).stdout
        except (OSError, subprocess.TimeoutExpired):
            continue
        out += [line for line in said.splitlines() if line.endswith("-packages") and line not in out]
    return out


def of_packages(folder):
    return sorted(glob.glob(os.path.join(folder, "nvidia", "*", "lib")), reverse=True) + [os.path.join(folder, "torch", "lib")]


def walk(root, until):
    """Folders below, not for ever; of Python packages only those that bring libraries of CUDA."""
    depth = root.rstrip("/").count("/")
    for folder, below, _ in os.walk(root):
        if time.monotonic() > until:
            return
        yield folder
        if folder.rstrip("/").count("/") - depth >= MOST_DEPTH:
            below[:] = []
        if folder.endswith("-packages"):
            yield from of_packages(folder)
            below[:] = []


def search(folders, found):
    """Of each name the first that can be loaded."""
    for folder in folders:
        for name in CUBLASLT:
            path = os.path.join(folder, name)
            if name not in found and os.path.exists(path) and loads(path):
                found[name] = path
        if len(found) == len(CUBLASLT):
            return


def find_cublaslt(first=(), only=False):
    """{name: where it was found}. `first`: trees to look through before all other places, or alone. The agent tries the newer of two."""
    found = {}
    for tree in first:
        search(walk(tree, time.monotonic() + MOST_S), found)
    if only:
        return found
    for name in CUBLASLT:
        if name not in found and loads(name):
            found[name] = "by the loader"
    search([folder for pattern in TOOLKITS for folder in sorted(glob.glob(pattern), reverse=True)], found)
    search([folder for one in site_packages() for folder in of_packages(one)], found)
    if not found:   # only then through all that may be there
        until = time.monotonic() + MOST_S
        search((folder for root in TREES for folder in walk(root, until)), found)
    return found


def find_driver():
    """The same for the driver's libraries, where the loader does not know its folder."""
    found = {}
    for name in DRIVER:
        if loads(name):
            continue
        for folder in DRIVER_FOLDERS:
            path = os.path.join(folder, name)
            if os.path.exists(path) and loads(path):
                found[name] = path
                break
    return found


def prepend(environment, found):
    """The environment with the folders of what was found before those where the loader looks."""
    folders = [os.path.dirname(path) for path in found.values() if path.startswith("/")]
    known = [one for one in environment.get("LD_LIBRARY_PATH", "").split(":") if one]
    return dict(environment, LD_LIBRARY_PATH=":".join(dict.fromkeys(folders + known))) if folders else dict(environment)
