"""A small made-up table in the form of OpenML's files."""

import gzip
import hashlib
from dataclasses import replace

from mixupe_theory.training.data.tabular_sets import TabularSet

# a number, a name, a number that is missing in two rows, a constant; 28, 9 and 1 rows of the classes
MADE_UP = TabularSet("made-up", "Made up", 1, rows=38, features=4, classes=3, nominal=(1,), missing=2)


def made_up_text(change=lambda i, row: row):
    rows = [
        [i**2, ("blue", "red", "green")[i % 3], "" if i in (3, 17) else i / 4, 7, 10 if i < 28 else 9 if i < 37 else 11]
        for i in range(38)
    ]
    lines = [",".join(map(str, change(i, row))) for i, row in enumerate(rows)]
    return "\n".join(["size,colour,weight,one,target", *lines, ""])


def put(folder, table, text):
    """Write a table's file; the declaration that knows its digest."""
    path = folder / table.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()))
    return replace(table, sha256=hashlib.sha256(text.encode()).hexdigest())
