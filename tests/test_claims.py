"""The ledger's rules, and that it notices broken mathematics in the library's source."""

import json
import re
import subprocess
import sys

import pytest

from mixupe_theory import paths, report
from mixupe_theory.claims import CLAIMS, Claim, Evidence, Row, recompute, select


def PASSES():
    return Evidence(True, {"x": 1.0}, "none")


def RAISES():
    raise ValueError("not today")


def FAILS():
    return Evidence(False, {"x": 1.0}, "none")


CHECKED = [claim.id for claim in CLAIMS.values() if not claim.is_open]

# Mutants of the library: the mathematics broken in one place, and claims that must notice.
MUTANTS = {
    "a variance for a standard error": (
        "training/paired_tests.py",
        "spread * math.sqrt(variance_factor)",
        "spread * variance_factor",
        "training.tabular",
    ),
    "an epoch chosen on the test fold": (
        "training/outcomes.py",
        "zip(curves, partners,",
        "zip(curves, entries,",
        "training.graphs",
    ),
    "differences over all rows the other way round": (
        "training/replication.py",
        "return paired_test(first, second, float(",
        "return paired_test(second, first, float(",
        "training.speech-above-erm",
    ),
    "losses of the first epoch": (
        "training/measures.py",
        'lambda entry: entry["epochs"][-1][name]',
        'lambda entry: entry["epochs"][0][name]',
        "training.losses-against-erm",
    ),
    "not all of the deformations": (
        "training/measures.py",
        '["deformations"].values())',
        '["deformations"].values())[:4]',
        "training.robustness-small",
    ),
    "sign of the y term": (
        "theorem1.py",
        "-(delta * targets).sum(-1), 1)",
        "(delta * targets).sum(-1), 1)",
        "theorem1.factors",
    ),
    "a factorial dropped": ("theorem1.py", "product.sum(-1) / r)", "product.sum(-1))", "theorem1.factors"),
    "a factorial dropped in the jets": (
        "recurrences.py",
        "for j in range(1, k + 1)) / k\n",
        "for j in range(1, k + 1))\n",
        "theorem1.factors",
    ),
    "pairs run from x_j to x_i": (
        "tracing.py",
        "return (end[None] - value[self.i : self.i + self.anchors, None]).flatten(0, 1)",
        "return (value[self.i : self.i + self.anchors, None] - end[None]).flatten(0, 1)",
        "theorem1.first-order",
    ),
    "the smallest root for the largest": (
        "radius.py",
        ".abs().amax(-1)\n",
        ".abs().amin(-1)\n",
        "theorem1.radius-network",
    ),
    "a winding number lost": (
        "radius.py",
        "np.where(right, z.imag, 0)",
        "np.where(right, 0, 0)",
        "theorem1.radius-network",
    ),
    "a factorial dropped in the certificate": (
        "certificates.py",
        "w / total / math.factorial(r) * d**r",
        "w / total * d**r",
        "theorem1.certificate",
    ),
    "Beta(alpha, beta) for D_lambda": (
        "mixing.py",
        "math.fsum(p * law.reflected().moment(k) for p, law in self.components)",
        "self.base.reflected().moment(k)",
        "theorem1.first-order",
    ),
    "D_lambda's components exchanged": (
        "mixing.py",
        "(alpha / (alpha + beta), BetaLaw(alpha + 1, beta))",
        "(alpha / (alpha + beta), BetaLaw(beta + 1, alpha))",
        "mixup_loss.change-of-law",
    ),
    "a^k shifted by one": ("theorem1.py", "a_moment(k) for k", "a_moment(k + 1) for k", "theorem1.first-order"),
    "a^k shifted by one inside": ("theorem1.py", "(total, h_r, r)", "(total, h_r, r - 1)", "theorem1.factors"),
    "off-diagonal pairs once": ("losses.py", "2 * off_diagonal)", "off_diagonal)", "mixup_loss.change-of-law"),
    "sign of y in q": (
        "first_order.py",
        "((mean_response(logits, head) - check",
        "((mean_response(logits, head) + check",
        "objective.first-order",
    ),
    "E[x'] left out of q": ("first_order.py", "x_mean.to(x.dtype) - x\n", "-x\n", "objective.first-order"),
    "sign of g in q_hat": ("first_order.py", "head) - mean_response", "head) + mean_response", "objective.entropy"),
    "official q differentiated through y - g": (
        "first_order.py",
        "logits, head)).detach()",
        "logits, head))",
        "objective.official-variants",
    ),
    "BatchNorm's statistics move": (
        "directional.py",
        "if func is not functional.batch_norm:",
        "if True:",
        "objective.batch-norm",
    ),
    "E[lambda] for E[a]": (
        "objective.py",
        "self.law.tilted().a_moment(1)",
        "1 - self.law.tilted().a_moment(1)",
        "objective.official-variants",
    ),
    "threshold from the other side": ("objective.py", "values >= self", "values < self", "objective.official-variants"),
    "official_v3 with the deck's sign": (
        "objective.py",
        'Variant("q_hat", sign=-1, below',
        'Variant("q_hat", below',
        "objective.v3-opposite",
    ),
    "official_v4 not detached": (
        "objective.py",
        'Variant("q_hat", sign=-1, residual_detached=True)',
        'Variant("q_hat", sign=-1)',
        "objective.v4",
    ),
    "eta_hat not detached": ("objective.py", "eta).detach() *", "eta) *", "objective.eta-hat"),
    "eta_hat upside down": (
        "objective.py",
        "mixup.abs() / torch.where(nothing, 1.0, total)",
        "total / mixup.abs()",
        "objective.eta-hat",
    ),
    "the deck's residual detached": (
        "objective.py",
        'Variant("q_hat", absolute=True)',
        'Variant("q_hat", absolute=True, residual_detached=True)',
        "objective.rewards",
    ),
    "a third product in forward mode": (
        "directional.py",
        "own_rule = func in _LINEAR or",
        "own_rule = func not in _LINEAR and",
        "objective.jacobian-cost",
    ),
    "sign of the official q": (
        "first_order.py",
        "products = gradient.to",
        "products = -gradient.to",
        "objective.v1-opposite",
    ),
    "sign of g in q_hat again": (
        "first_order.py",
        "head) - mean_response",
        "head) + mean_response",
        "objective.negativity",
    ),
    "opposite classes mixed as one": (
        "readings.py",
        'if reading in ("same_class", "label_absorbed")',
        'if reading in ("same_class", "label_absorbed", "full")',
        "implicit_bias.finite-minimizer",
    ),
    "Beta(alpha, alpha) for D_lambda on a linear model": (
        "readings.py",
        "BetaLaw(law.alpha + 1, law.alpha)",
        "BetaLaw(law.alpha, law.alpha)",
        "implicit_bias.finite-minimizer",
    ),
    "sign of the partner in the Hessian": (
        "readings.py",
        "cross = lam * (1 - lam) * curvature * self.signs",
        "cross = lam * (1 - lam) * curvature",
        "implicit_bias.linear-convergence",
    ),
    "sign of the partner in the compiled gradient": (
        "kernels.py",
        "pull[j] += pairs[i, j] * signs[i, j] * (total - own)",
        "pull[j] += pairs[i, j] * (total - own)",
        "implicit_bias.linear-convergence",
    ),
    "sign of m in the slope of |q_hat|": (
        "kernels.py",
        "wrong * (1.0 - margins[i] * (1.0 - wrong))",
        "wrong * (1.0 + margins[i] * (1.0 - wrong))",
        "implicit_bias.mixupe",
    ),
    "every point a support vector": (
        "separable.py",
        "active = combination > 0",
        "active = combination >= 0",
        "implicit_bias.hard-margin",
    ),
    "sign of the offset": (
        "asymptotics.py",
        "self.w_hat) + self.offset",
        "self.w_hat) - self.offset",
        "implicit_bias.erm-constants",
    ),
    "entropy added in the cost of mixing": (
        "asymptotics.py",
        "(m + k - xlogy(m + k, m + k)",
        "(m + k + xlogy(m + k, m + k)",
        "implicit_bias.small-alpha",
    ),
    "one lambda for all where each sample has its own": (
        "asymptotics.py",
        "spread / n**3",
        "spread / n**2",
        "implicit_bias.stochastic",
    ),
    "unmixed pairs forgotten": (
        "distributions.py",
        "(1 - 1 / n) * np.outer(self.p, self.p) + np.diag(self.p) / n",
        "np.outer(self.p, self.p)",
        "theorem2.left-side",
    ),
    "eta_hat forgotten": (
        "coverage.py",
        "return np.abs(mixup) / np.where(total == 0, 1.0, total)",
        "return np.abs(mixup) * 0 + 1.0",
        "theorem2.bound",
    ),
    "n too small by one": ("theorem2.py", "math.floor(inverse**2) + 1", "math.floor(inverse**2)", "theorem2.bound"),
    "sign of A' in the models' q_hat": (
        "glm.py",
        "return (y - self.mean_response(u)) * u",
        "return (y + self.mean_response(u)) * u",
        "theorem2.qhat-converse",
    ),
    "s for s r": (
        "generalization.py",
        "complexity = 2 * glm.slope(bound_u) * bound_u *",
        "complexity = 2 * glm.slope(bound_u) * theta_bound *",
        "theorem2.invariant",
    ),
    "half of kappa": (
        "generalization.py",
        "return min((largest + missed) / (high - low), 1.0)",
        "return min((largest + missed) / (2 * (high - low)), 1.0)",
        "theorem2.proof-steps",
    ),
    "kappa given up": (
        "generalization.py",
        "return min((largest + missed) / (high - low), 1.0)",
        "return 1.0",
        "theorem2.tighter",
    ),
    "square root of n in the Rademacher complexity": (
        "rademacher.py",
        "return math.sqrt(xi) / n * float(",
        "return math.sqrt(xi / n) * float(",
        "theorem2.rademacher",
    ),
    "Bonferroni undone": ("summary_tests.py", "* np.arange(len(p), 0, -1)", "* 1", "tables.tabular"),
    "Bonferroni for Holm": ("summary_tests.py", "* np.arange(len(p), 0, -1)", "* len(p)", "tables.images"),
    "higher error is better": (
        "tables.py",
        "return difference < 0 if",
        "return difference > 0 if",
        "tables.images",
    ),
    "fractions taken for percents": ("tables.py", '"fraction": 100.0', '"fraction": 1.0', "tables.graphs"),
    "one-sided signed ranks": ("tables.py", "2 * min(law[: positive", "min(law[: positive", "tables.tabular-together"),
    "an error too many in a fold": (
        "fold_spread.py",
        "more * (errors + 1) ** 2",
        "more * (errors + 2) ** 2",
        "tables.graph-units",
    ),
    "h without its log": ("losses.py", "logits.logsumexp(-1)", "logits.exp().sum(-1)", "theorem1.factors"),
}


@pytest.mark.parametrize("id", CHECKED)
def test_claim_is_sound(id):
    row = recompute(CLAIMS[id])
    assert row.sound, row.complaint
    json.dumps(row.as_dict())


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_turns_the_ledger_red(name, tmp_path):
    """The command on a copy of the library with one thing broken exits 1 and names the claim."""
    file, right, wrong, claim = MUTANTS[name]
    package = tmp_path / "mixupe_theory"
    subprocess.run(["cp", "-r", str(paths.ROOT / "mixupe_theory"), str(package)], check=True)
    (tmp_path / "figures").symlink_to(paths.FIGURES)  # for the committed records
    source = (package / file).read_text()
    assert right in source, "the mutant no longer fits the source"
    (package / file).write_text(source.replace(right, wrong))
    command = "import sys; sys.path.insert(0, '.'); from mixupe_theory.cli import main; sys.exit(main())"
    arguments = ["claims", "--only", claim, "--workers", "1"]
    run = subprocess.run([sys.executable, "-c", command, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 1, run.stderr
    assert f"{claim}: " in run.stderr


def test_every_row_is_complete():
    assert len(CLAIMS) == len(set(CLAIMS))
    for claim in CLAIMS.values():
        assert re.fullmatch(r"[a-z0-9_]+\.[a-z0-9-]+", claim.id)
        assert claim.title
        assert claim.slide
        assert claim.statement
        assert claim.is_open or claim.finding
        assert "|" not in claim.statement.replace("|u|", "")  # it would end a cell of a Markdown table
        assert claim.corrected is None or CLAIMS[claim.corrected.id] is claim.corrected


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "perhaps"},
        {"verdict": "open"},
        {"check": None},
        {"control": None},
        {"verdict": "fails as printed"},
    ],
    ids=str,
)
def test_a_claim_without_its_parts_is_refused(change):
    whole = {
        "id": "a.b",
        "title": "t",
        "slide": "s",
        "statement": "x",
        "verdict": "holds",
        "check": PASSES,
        "control": FAILS,
    }
    Claim(**whole)
    with pytest.raises(ValueError, match=r"a\.b"):
        Claim(**whole | change)


@pytest.mark.parametrize(
    ("check", "control", "sound", "complaint"),
    [
        (PASSES, FAILS, True, ""),
        (FAILS, FAILS, False, "do not support"),
        (PASSES, PASSES, False, "the check cannot fail"),
        (RAISES, FAILS, False, "not today"),
        (PASSES, RAISES, False, "not today"),
    ],
)
def test_soundness(check, control, sound, complaint):
    row = recompute(Claim("a.b", "t", "s", "x", "holds", "f", check, control))
    assert row.sound is sound
    assert complaint in row.complaint


def test_select():
    assert select() == list(CLAIMS.values())
    assert all(claim.topic == "theorem1" for claim in select(["theorem1"]))
    with pytest.raises(ValueError, match="no claim begins with 'theorem9'"):
        select(["theorem1", "theorem9"])


def test_parallel_rows_equal_serial_ones_in_order():
    claims = select(["theorem1.gradient-of-h", "theorem1.every-order-counts", "training.images"])
    assert list(report.recompute_all(claims, 2)) == list(report.recompute_all(claims, 1))


@pytest.mark.parametrize(("settings", "quiet"), [("one_thread", False), ("as_worker", True)])
def test_workers_draw_no_bars(settings, quiet):
    """They would write over the caller's where a slow machine makes a claim last for seconds."""
    code = f"from mixupe_theory.report import {settings}; {settings}(); from tqdm import tqdm; list(tqdm(range(3)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (run.stderr == "") == quiet


def test_tables_show_what_is_wrong():
    broken = Row(Claim("a.b", "t", "s", "x", "holds", "f", FAILS, PASSES), FAILS(), PASSES())
    assert "NO" in report.terminal_table([broken])
    assert "MISSED" in report.terminal_table([broken])
    assert report.verdict_markdown([broken]).count("NO") == 2


def test_readme_shows_the_published_verdicts():
    readme = (paths.ROOT / "README.md").read_text()
    assert report.with_ledger(readme) == readme, "run: mixupe-theory claims --readme README.md"
    with pytest.raises(ValueError, match="must hold the lines"):
        report.with_ledger("nothing")
