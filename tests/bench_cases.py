"""What a new process is asked to allocate; it imports nothing heavy."""

import numpy as np

MIB = 2**20


def allocations(before: int, during: int):
    """One allocation of so many MiB kept from before the run, then three in turn, each dropped."""
    kept = []

    def run():
        for _ in range(3):
            np.ones(during * MIB // 8)

    return (lambda: kept.append(np.ones(before * MIB // 8))), run
