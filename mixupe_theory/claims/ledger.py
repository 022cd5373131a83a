"""What a claim is, and how its verdict is recomputed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

VERDICTS = ("holds", "holds if", "fails as printed", "open")  # a longer one after its beginning


@dataclass(frozen=True)
class Evidence:
    """What a check measured.

    Attributes:
        passed: Whether the measurements support the claim's published verdict.
        measured: Named numbers (or short texts) behind it.
        tolerance: The tolerance and the theory it comes from.
    """

    passed: bool
    measured: dict[str, float | int | str]
    tolerance: str

    def __str__(self) -> str:
        return "; ".join(f"{name} {_short(value)}" for name, value in self.measured.items())


@dataclass(frozen=True)
class Claim:
    """One claim of the deck (or its correction), with our verdict and the check behind it.

    Attributes:
        id: Topic and name, "theorem1.remainder-order".
        title: The claim in a few plain words.
        slide: Title of the deck's slide; for a correction, the slide that it corrects.
        statement: The claim, as the deck has it (Markdown with LaTeX).
        verdict: One of "holds", "holds if ...", "fails as printed", "open" (not yet checked).
        finding: One sentence: what we found.
        check: Measures, and says whether the verdict is supported; None for an open claim.
        control: The same measurement with a planted error, which must not pass; None for an open claim.
        corrected: The true statement, a claim of its own, where the printed one fails.
    """

    id: str
    title: str
    slide: str
    statement: str
    verdict: str
    finding: str = ""
    check: Callable[[], Evidence] | None = None
    control: Callable[[], Evidence] | None = None
    corrected: Claim | None = None

    def __post_init__(self):
        if not self.verdict.startswith(VERDICTS):
            raise ValueError(f"verdict of {self.id} must start with one of {VERDICTS}, got {self.verdict!r}")
        if self.is_open != (self.check is None) or self.is_open != (self.control is None):
            raise ValueError(f"{self.id}: an open claim has neither check nor control, any other has both")
        if (self.verdict == "fails as printed") != (self.corrected is not None):
            raise ValueError(f"{self.id}: a claim that fails, and no other, needs a corrected one")

    @property
    def kind(self) -> str:
        """The verdict without its condition."""
        return next(kind for kind in reversed(VERDICTS) if self.verdict.startswith(kind))

    @property
    def is_open(self) -> bool:
        """Whether nobody has checked the claim yet."""
        return self.verdict == "open"

    @property
    def topic(self) -> str:
        """The part of the id before the dot."""
        return self.id.split(".")[0]


@dataclass(frozen=True)
class Row:
    """A recomputed claim: its evidence and its control's."""

    claim: Claim
    evidence: Evidence | None
    control: Evidence | None

    @property
    def sound(self) -> bool:
        """The measurements support the published verdict and the planted error was noticed; or the row is open."""
        return self.claim.is_open or (self.evidence.passed and not self.control.passed)

    @property
    def complaint(self) -> str:
        """What is wrong with the row, or an empty string."""
        if self.sound:
            return ""
        if not self.evidence.passed:
            return f"{self.claim.id}: the measurements do not support {self.claim.verdict!r}: {self.evidence}"
        return f"{self.claim.id}: the control passed, so the check cannot fail: {self.control}"

    def as_dict(self) -> dict:
        """Plain data for JSON."""
        claim = self.claim
        row = {key: getattr(claim, key) for key in ("id", "title", "slide", "statement", "verdict", "finding")}
        row["corrected"] = claim.corrected.id if claim.corrected else None
        row["sound"] = self.sound
        for name, evidence in (("evidence", self.evidence), ("control", self.control)):
            row[name] = evidence and {
                "passed": bool(evidence.passed),
                "measured": evidence.measured,
                "tolerance": evidence.tolerance,
            }
        return row


def recompute(claim: Claim) -> Row:
    """Run a claim's check and control; one that raises makes the row unsound."""
    if claim.is_open:
        return Row(claim, None, None)
    return Row(claim, _measure(claim.check, if_raised=False), _measure(claim.control, if_raised=True))


def _measure(function: Callable[[], Evidence], if_raised: bool) -> Evidence:
    try:
        return function()
    except Exception as error:  # broken mathematics may also show as a refusal of the library
        return Evidence(if_raised, {"raised": f"{type(error).__name__}: {error}"}, "none")


def any_of(parts: dict[str, Evidence]) -> Evidence:
    """Evidence that passes if any named part does: for controls with several planted errors."""
    measured = {f"{name}: {k}": v for name, part in parts.items() for k, v in part.measured.items()}
    tolerances = dict.fromkeys(part.tolerance for part in parts.values())
    return Evidence(any(part.passed for part in parts.values()), measured, "; ".join(tolerances))


def _short(value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
