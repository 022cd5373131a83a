"""Training by ERM, mixup, manifold mixup and MixupE: methods, models, real data, records, exact resume.

- ``data``: data sets in their official layouts, verified; ``models``: the networks of the deck's tables.
- ``methods``: what each method does with a batch; ``recipes``: optimizers and schedules, as data.
- ``runs``: one run, as data; ``trainer``: its steps; ``execution``: its checkpoints and its record.
- ``grids``: many runs, and the choice of hyper-parameters on held-out data; ``sweeps``: many runs side by side.
- ``command``: ``mixupe-theory train`` and ``mixupe-theory data``.
"""
