"""The ledger as text: for the terminal, for README, for a notebook, and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partialmethod
from multiprocessing import get_context

import torch
from tabulate import tabulate
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from mixupe_theory.claims import CLAIMS, Claim, Row, recompute

MARKERS = ("<!-- ledger: begin (mixupe-theory claims --readme) -->", "<!-- ledger: end -->")


def one_thread() -> None:
    """Keep torch and BLAS to one thread in this process: problems this small leave a second one waiting."""
    torch.set_num_threads(1)
    threadpool_limits(1)


def as_worker() -> None:
    """One thread in this process, and no progress bars: they would write over the caller's."""
    one_thread()
    tqdm.__init__ = partialmethod(tqdm.__init__, disable=True)


def recompute_all(claims: list[Claim], workers: int = 1) -> Iterator[Row]:
    """Recompute claims, in parallel processes of one thread each, yielding rows in the order of ``claims``."""
    if workers == 1:
        yield from map(recompute, claims)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), as_worker) as pool:
        yield from map(_with_claim, pool.map(_recompute_by_id, [claim.id for claim in claims]))


def _recompute_by_id(id: str) -> tuple:
    row = recompute(CLAIMS[id])
    return id, row.evidence, row.control  # a claim's functions cannot be sent between processes


def _with_claim(result: tuple) -> Row:
    id, evidence, control = result
    return Row(CLAIMS[id], evidence, control)


def terminal_table(rows: Iterable[Row]) -> str:
    """Verdicts, whether the numbers support them, and the evidence."""
    table = [
        (
            row.claim.id,
            row.claim.kind,
            "-" if row.claim.is_open else "yes" if row.evidence.passed else "NO",
            "-" if row.claim.is_open else "noticed" if not row.control.passed else "MISSED",
            "" if row.claim.is_open else str(row.evidence),
        )
        for row in rows
    ]
    headers = ("claim", "verdict", "supported", "planted error", "evidence")
    return tabulate(table, headers, maxcolwidths=[None, None, None, None, 70])


def verdict_markdown(rows: Iterable[Row]) -> str:
    """Recomputed verdicts without digits, for notebooks: the same text on every machine while the ledger is sound."""
    table = []
    for row in rows:
        claim = row.claim
        state = ("–", "–") if claim.is_open else (_yes(row.evidence.passed), _yes(not row.control.passed))
        table.append((claim.title, claim.statement, _bold(claim), *state))
    return _pipe(table, ("claim", "statement", "verdict", "numbers support it", "planted error noticed"))


def evidence_markdown(rows: Iterable[Row]) -> str:
    """What was measured, and the tolerance with its source, for the rows that have evidence."""
    table = [
        (row.claim.title, name, _short(value), row.evidence.tolerance if first == 0 else "")
        for row in rows
        if not row.claim.is_open
        for first, (name, value) in enumerate(row.evidence.measured.items())
    ]
    return _pipe(table, ("claim", "measured", "value", "tolerance"))


def list_table(claims: Iterable[Claim]) -> str:
    """Claims as published, nothing recomputed."""
    table = [(claim.id, claim.kind, claim.title, claim.slide) for claim in claims]
    return tabulate(table, ("claim", "verdict", "title", "slide"), maxcolwidths=[None, None, 45, 35])


def markdown_table(claims: Iterable[Claim]) -> str:
    """The published verdicts as a Markdown table, open claims as one line below it."""
    claims = list(claims)
    checked = [claim for claim in claims if not claim.is_open]
    rows = [
        (
            claim.title,
            _bold(claim) + (f"; corrected: {claim.corrected.title}" if claim.corrected else ""),
            claim.finding,
        )
        for claim in checked
    ]
    table = _pipe(rows, ("claim of the deck", "verdict", "what we found"))
    still_open = len(claims) - len(checked)
    return table + (f"\n\n{still_open} further claims of the deck are open: not checked yet." if still_open else "")


def _pipe(rows, headers) -> str:
    """A Markdown table without padding, so that one longer row does not touch the others."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    table = tabulate(cells, headers, tablefmt="pipe", disable_numparse=True)
    return re.sub(r" {2,}", " ", re.sub(r"-{3,}", "---", table))


def _yes(answer: bool) -> str:
    return "yes" if answer else "NO"


def _short(value) -> str:
    """Two digits; what is mere rounding differs between machines and is shown by its bound."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2g}" if value == 0 or abs(value) >= 1e-9 else "< 1e-9"


def _bold(claim: Claim) -> str:
    return f"**{claim.kind}**" + claim.verdict.removeprefix(claim.kind)


def with_ledger(text: str) -> str:
    """A Markdown text with the published verdicts between its two markers.

    Raises:
        ValueError: If the text lacks the markers.
    """
    begin, end = (text.find(marker) for marker in MARKERS)
    if begin < 0 or end < begin:
        raise ValueError(f"the text must hold the lines {MARKERS[0]!r} and {MARKERS[1]!r}")
    return text[: begin + len(MARKERS[0])] + "\n" + markdown_table(CLAIMS.values()) + "\n" + text[end:]


def as_json(rows: Iterable[Row]) -> str:
    """The rows with evidence and controls, one JSON document."""
    return json.dumps([row.as_dict() for row in rows], indent=1)
