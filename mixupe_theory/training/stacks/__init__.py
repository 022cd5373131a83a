"""Many small networks of one shape, trained at once.

A step of a small network is overhead: hundreds of operations on tensors too small to be worth their call. Here the
parameters of all networks are stacked along a first axis, and each operation serves them all. The runs stay what they
are: each draws what it would have drawn alone, and ends where it would have ended, to rounding.

- ``trainer``: the steps of a stack of runs; ``graphs``: graph networks, whose batches differ in size.
- ``execution``: a stack's checkpoints and the records of its runs.
"""
