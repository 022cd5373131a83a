"""The machine and the software that a record was made with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import torch

from mixupe_theory import paths

VERSIONS = ("torch", "numpy", "numba", "jax", "jaxlib", "jet-for-pytorch")
_CPU = Path("/sys/devices/system/cpu/cpu0/cache")


def environment(threads: int, device: str, versions: tuple[str, ...] = VERSIONS) -> dict:
    """The machine and the software, without names of hosts, users or folders.

    Args:
        threads: Threads that torch and numba were given.
        device: "cpu" or "cuda".
        versions: Packages whose versions are told.

    Returns:
        A dict of strings and numbers; what cannot be read is "unknown".
    """
    blas = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    return {
        "cpu": _cpu_model(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else "none used",
        "cores": available_cores(),
        "threads": threads,
        "caches": _caches(),
        "system": _system(),
        "python": platform.python_version(),
        **{name: _version(name) for name in versions},
        "blas of torch": blas.group(1) if blas else "unknown",
        "load before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else "unknown",
        "revision": _revision(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def described(environment: dict) -> str:
    """The environment in a line or two."""
    e = environment
    versions = ", ".join(f"{name} {e[name]}" for name in VERSIONS if e[name] != "not installed")
    gpu = "" if e["gpu"] == "none used" else f"{e['gpu']}, "
    return (
        f"{gpu}{e['cpu']}, {e['threads']} threads on {e['cores']} cores ({e['caches']}), {e['system']}, Python "
        f"{e['python']}, {versions}, BLAS {e['blas of torch']}; revision {e['revision']}, {e['date']}, load before "
        f"{e['load before']}"
    )


def available_cores() -> int:
    """Number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine() or "unknown"


def _caches() -> str:
    """Such as "L1 Data 32K, L2 Unified 1024K"; of one core."""
    try:
        levels = [
            " ".join((folder / entry).read_text().strip() for entry in ("level", "type", "size"))
            for folder in sorted(_CPU.glob("index*"))
        ]
    except OSError:
        levels = []
    return ", ".join(f"L{level}" for level in levels) or "caches unknown"


def _system() -> str:
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']} {platform.machine()}"
    except OSError:
        return f"{platform.system()} {platform.machine()}"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _revision() -> str:
    """The commit, "+ changes" if the package's code differs from it."""

    def git(*arguments: str) -> str:
        command = ("git", "-C", str(paths.ROOT), *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changes = git("status", "--porcelain", "--", "mixupe_theory")
        return git("rev-parse", "--short=10", "HEAD") + (" + changes" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
