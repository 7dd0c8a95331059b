"""Formulas as people read them: `help`, and `poz show`, have them in Unicode, with all that the LaTeX has."""

import io
import pydoc
import re
import unicodedata
from typing import Annotated

import numpy as np
import pytest

import poz
from poz.domains import Real
from poz.objective import objective

SMALL = "alpha beta gamma delta eta kappa mu pi rho sigma tau psi omega"
FUNCTIONS = "log max min arctan cos exp"
RELATIONS = {
    "le": "≤",
    "ge": "≥",
    "in": "∈",
    "notin": "∉",
    "succ": "≻",
    "sum": "∑",
    "prod": "∏",
    "pm": "±",
    "infty": "∞",
}


def text(spec):
    return re.search("^Formula: (.*)$", spec.__doc__, re.MULTILINE)[1]


@pytest.mark.parametrize("name", poz.zoo)
def test_nothing_of_latex_is_left_and_nothing_is_lost(name):
    latex, shown = poz.zoo[name].formula, text(poz.zoo[name])
    assert "\\" not in shown
    assert shown.count("{") == shown.count("}") == latex.count(r"\{")  # those of sets
    assert "  " not in shown.replace(",  ", "").replace(";  ", "")
    assert not re.search(r"\( | \)|\[ | \]| ,", shown)
    for one, other in ("()", "[]"):
        assert shown.count(one) == shown.count(other)

    def said(macro):
        return len(re.findall(rf"\\{macro}(?![a-z])", latex))

    for letter in SMALL.split():
        assert shown.count(unicodedata.lookup(f"GREEK SMALL LETTER {letter}")) == said(letter), letter
    for macro, sign in RELATIONS.items():
        assert shown.count(sign) == said(macro), macro
    plain = re.sub(r"\\text\{[^}]*\}", "", latex)
    words = re.sub("`.*?`", "", shown)
    for function in FUNCTIONS.split():
        least = said(function) + plain.count("e^") * (function == "exp")
        assert len(re.findall(rf"(?<![a-z]){function}(?![a-z])", words)) >= least, function
    slashes = sum(words.count(sign) for sign in "/½⅓¼¾")
    assert slashes == said("frac") + said("tfrac") + plain.count("/")
    for sign, raised in {"=": "", "<": "", ">": "", "+": "⁺₊", "-": "⁻₋"}.items():
        assert sum(words.count(one) for one in sign + raised) >= plain.count(sign), sign


@pytest.mark.parametrize(
    ("name", "shown"),
    {
        "dpo": "-(1 - ε) log σ(βh) - ε log σ(-βh),  h = log(π(y_w)/π_ref(y_w)) - log(π(y_l)/π_ref(y_l))",
        "ipo": "(h - 1/(2τ))²",
        "gpo_link": "f(βh),  f(z) ∈ {exp(-z), max(0, 1 - z)², (1 + exp(z))⁻², (z - 1)², -log σ(z), max(0, 1 - z)}",
        "simpo": "-log σ((β/|y_w|) log π(y_w) - (β/|y_l|) log π(y_l) - γ)",
        "plackett_luce": "∑_(k≤m) (log ∑_(j≥k) exp(sⱼ) - sₖ),  s = β log(π/π_ref)",
        "robust_dpo": "(-(1 - ε) log σ(βh) + ε log σ(-βh))/(1 - 2ε)",
        "dr_grpo": "(1/L) ∑ₜ -min(rA, clip(r, 1 - εₗ, 1 + εₕ)A),  r = π/π_old, A = advantage",
        "cell": "½ exp(-βh) - ½ log σ(βh)",
        "mnpo": "D(β[Δ_π - (τ/η)Δ_ref - (1 - τ/η) ∑_j λ_j Δ_(π_j)] ‖ b),  b ∈ {1/(2η), η(r*_w - r*_l), ∞}",
        "orpo": "-p̄_w - λ log σ(log(exp(p̄_w)/(1 - exp(p̄_w))) - log(exp(p̄_l)/(1 - exp(p̄_l)))),  p̄ = (1/|y|) log π(y)",
    }.items(),
)
def test_they_read_as_one_writes_them(name, shown):
    assert text(poz.zoo[name]) == shown


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        (r"\frac{a+b}{cd}\unheard{x}", "((a + b)/(cd)) unheard x"),
        ("-log sigma(beta h)", "-log sigma(beta h)"),  # no LaTeX
        (r"x+\frac{a}", r"x+\frac{a}"),  # a half is missing
    ],
)
def test_formulas_of_ones_own_are_never_refused(formula, shown):
    @objective(title="t", paper="p", equation="e", formula=formula, reads="chosen")
    def mine(xp, pairs: poz.Pairs, *, beta: Annotated[float, Real("weight", low=0)] = 1.0):
        """Mine."""
        return beta * pairs.chosen

    assert text(mine) == shown


def test_a_sum_has_the_formulas_of_its_parts():
    both = poz.combine([(poz.dpo.bind(beta=0.3), 1.0), ("sft", 0.2)])
    shown = text(both)
    assert shown.startswith("w_dpo (-(1 - ε) log σ(βh)")
    assert "w_sft (-(1/N) log π(y_w))" in shown
    assert "1.0 of dpo, Direct Preference Optimization: beta=0.3, label_smoothing=0.0\n" in both.__doc__
    assert "0.2 of sft, " in both.__doc__
    assert "Reads poz.Pairs: chosen, rejected, ref_chosen, ref_rejected" in both.__doc__
    weights = poz.combine([("dpo", np.ones(3))])
    assert "weights of shape (3,) of dpo" in pydoc.render_doc(weights)


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        ("βh ≤ αβ", "beta h <= alpha beta"),
        ("∑_(k≤m) γᵏ⁻¹ sᵢ₊ₖ", "sum_(k<=m) gamma^(k-1) s_(i+k)"),
        ("naïve Müller", "naive Muller"),
        ("ωₗ < (A - A\u0304)(log π - mean(log π))", "omega_l < (A - A_bar)(log pi - mean(log pi))"),
        ("t∈T, p̄_w", "t in T, p_bar_w"),
    ],
)
def test_what_a_stream_cannot_encode_is_spelled(given, spelled):
    from poz._output import spell_out

    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    spell_out(stream)
    stream.write(given)
    stream.flush()
    assert stream.buffer.getvalue().decode() == spelled
