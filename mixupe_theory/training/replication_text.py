"""The deck's tables trained again as text: for terminals, and in Markdown for notebooks."""

from __future__ import annotations

import textwrap

from tabulate import tabulate

from mixupe_theory.training.replication import COLUMNS, CONTROL, Replication

WIDTH = 150  # of the text, in characters
_SIGNS = {"ERM": "e", "mixup": "m", "manifold mixup": "h", CONTROL: "c"}


def as_text(replication: Replication) -> str:
    """The table and what the tests say, for a terminal."""
    heads = [f"{origin}\n{head}" for origin, head in _heads(replication)]
    table = tabulate(_cells(replication), ["", *heads, "runs"], disable_numparse=True)
    notes = (textwrap.fill(note, WIDTH, subsequent_indent="  ") for note in _notes(replication))
    return "\n".join([f"{replication.table.title}, {replication.table.unit}", table, *notes])


def as_markdown(replication: Replication) -> str:
    """The same as a table in Markdown, followed by a list."""
    heads = [f"{origin} {head}" for origin, head in _heads(replication)]
    table = tabulate(_cells(replication), ["", *heads, "runs"], "github", disable_numparse=True)
    return "\n".join([table, "", *(f"- {note}" for note in _notes(replication))])


def _heads(replication: Replication) -> list[tuple[str, str]]:
    deck = [("deck", column) for column in replication.table.methods]
    return deck + [("ours", COLUMNS.get(title, title)) for title in replication.titles]


def _cells(replication: Replication) -> list[list[str]]:
    marks: dict[tuple[str, str], str] = {}
    for c in replication.comparisons:
        if c.significant:
            sign = "−" if c.test.difference < 0 else "+"
            marks[c.row, c.title] = marks.get((c.row, c.title), " ") + sign + _SIGNS[c.baseline]
    table, spec = [], _spec(replication)
    for name, cells in replication.ours.items():
        deck = replication.deck[name]
        printed = [f"{deck[column]:{spec}}" if column in deck else "–" for column in replication.table.methods]
        own = [f"{cells[t]:{spec}}{marks.get((name, t), '')}" if t in cells else "–" for t in replication.titles]
        counts = {str(cell.n) for cell in cells.values()}
        table.append([name, *printed, *own, "".join(counts) or "–"])
    return table


def _spec(replication: Replication) -> str:
    """Two decimals of percents, three of anything else."""
    return ".2f" if replication.table.difference_unit == "points" else ".3f"


def _notes(replication: Replication) -> list[str]:
    notes = []
    if replication.titles:
        deck = "deck: ± as printed, in points; " if replication.table.spread_unit else ""
        notes.append(f"{deck}ours: epoch by {replication.selection!r}, ± half a 95 % interval (Student)")
    if found := replication.comparisons:
        against = {c.baseline: f"{_SIGNS[c.baseline]} {COLUMNS[c.baseline]}" for c in found}
        notes.append(
            f"paired t tests, significant at 5 % after Holm over {len(found)} comparisons: − below, + above that of "
            f"{', '.join(against.values())}"
        )
        pairs = dict.fromkeys((c.title, c.baseline) for c in found)
        notes += [_against(replication, *pair) for pair in sorted(pairs, key=lambda pair: pair[1])]
    rankable = replication.apart and replication.table.lower_is_better is not None
    if rankable and len(replication.ranked) > 2 and len(replication.means(replication.ranked)) > 1:
        by_rank = replication.ranks()
        listed = ", ".join(f"{COLUMNS.get(t, t)} {r:.2f}" for t, r in zip(by_rank.titles, by_rank.average, strict=True))
        notes.append(
            f"average ranks over {by_rank.rows} rows: {listed}; p = {by_rank.p:.2g} (Friedman), "
            f"critical difference {by_rank.critical_difference:.2f} (Nemenyi)"
        )
    reasons: dict[str, list[str]] = {}
    for name, row in replication.rows.items():
        if row.absent:
            reasons.setdefault(row.absent, []).append(name)
    return notes + [f"no numbers of ours: {', '.join(names)} ({reason})" for reason, names in reasons.items()]


def _against(replication: Replication, title: str, baseline: str) -> str:
    found = [c for c in replication.comparisons if (c.title, c.baseline) == (title, baseline)]
    below, above = (sum(c.significant and sign * c.test.difference > 0 for c in found) for sign in (-1, 1))
    text = f"{title} against {baseline}: {below} significantly below, {above} above, of {len(found)} rows"
    if replication.apart and len(found) > 1:
        text += f"; over rows p = {replication.signed_rank(title, baseline):.2g} (Wilcoxon)"
    if test := replication.on_average(title, baseline):
        spec = _spec(replication)
        difference = f"{test.difference:+{spec}}".replace("-", "−")
        unit = "" if replication.table.difference_unit == "1" else f" {replication.table.difference_unit}"
        text += f"; on average over rows {difference} ± {test.half_width:{spec}}{unit}, p = {test.p:.2g}"
    return text
