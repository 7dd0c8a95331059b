"""`poz plot`: what is drawn of several objectives, on which scale, under which names; and the files."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import poz
from poz.cli import app
from poz.plotting import alt, approaching, compare, plot, svg

SVG = "{http://www.w3.org/2000/svg}"
PLAIN = "dpo", "simpo", "ipo"


def value(curve, column, x):
    return float(np.interp(x, curve.at.x, curve.at[column]))


def test_unequal_scales_are_normalised_and_said():
    """IPO, (z - 5)², is steepest at -10, by 30; DPO, log(1 + e^(-z/10)), there by σ(1) / 10."""
    shown = compare([poz.dpo, poz.ipo])
    assert (shown.scale, shown.names) == ("normalised", ("dpo", "ipo"))
    assert (shown.loss, shown.gradient) == (
        "loss − loss at 0, each by its largest slope", "gradient, each by its largest slope",
    )  # fmt: skip
    assert "225 times as high" in shown.why  # 225 over log(1 + e) - log(1 + 1/e) = 1
    dpo, ipo = shown.curves
    steep = 0.1 / (1 + np.exp(-1))
    for x in (-9.0, -3.0, 0.0, 4.0, 9.0):  # pieces between points are within 4 thousandths of a curve's height, 14
        assert value(ipo, 1, x) == pytest.approx(((x - 5) ** 2 - 25) / 30, abs=0.06)
        assert value(ipo, 2, x) == pytest.approx(2 * (x - 5) / 30, abs=1e-12)  # it is straight
        assert value(dpo, 1, x) == pytest.approx((np.log1p(np.exp(-x / 10)) - np.log(2)) / steep, abs=0.06)
        assert value(dpo, 2, x) == pytest.approx(-0.1 / (1 + np.exp(x / 10)) / steep, abs=0.004)
    assert max(np.ptp(ipo.at.loss), np.ptp(dpo.at.loss)) < 2 * min(np.ptp(ipo.at.loss), np.ptp(dpo.at.loss))


@pytest.mark.parametrize(("scale", "said"), [("shared", "one axis for all"), ("own", "an axis of its own")])
def test_other_scales_draw_the_numbers_of_the_reference(scale, said):
    shown = compare([poz.dpo, poz.ipo], scale=scale)
    assert shown.loss == f"loss, {said}"
    for curve in shown.curves:
        losses, slopes = curve.line.at(curve.at.x)
        assert np.array_equal(curve.at.loss, losses)
        assert np.array_equal(curve.at.slope, slopes)
    assert compare([poz.dpo, poz.hinge]).scale == "shared"
    assert compare([poz.dpo]).loss == "loss"


def test_names_say_what_differs():
    shown = compare([poz.dpo, poz.dpo.bind(beta=0.5), poz.simpo.bind(gamma=1.0), poz.hinge], (-2.0, 5.0), "shared")
    assert shown.names == ("dpo (beta=0.1)", "dpo (beta=0.5)", "simpo (gamma=1)", "hinge")
    assert {(curve.at.x[0], curve.at.x[-1]) for curve in shown.curves} == {(-2.0, 5.0)}
    assert [curve.label for curve in compare([poz.kto, poz.npo]).curves] == [
        "kto, desirable",
        "kto, undesirable",
        "npo",
    ]
    assert compare([poz.dpo, poz.plackett_luce]).along == "margin (nats)"


def test_limits_are_approached():
    shown = compare(approaching(poz.robust_dpo), scale="shared")
    assert shown.names == (
        "robust_dpo", "robust_dpo (label_smoothing=0.05)", "robust_dpo (label_smoothing=0.01)", "dpo, where ε = 0: no flips",
    )  # fmt: skip
    far = [abs(value(curve, 2, 0.0) + 0.05) for curve in shown.curves]  # DPO's slope at 0 is -β/2
    assert far == sorted(far, reverse=True)
    assert far[-1] < 1e-12 < far[-2]
    with pytest.raises(ValueError, match="`sft` becomes no other objective along what is drawn"):
        approaching(poz.sft)
    with pytest.raises(ValueError, match=r"On other data it does: dpo \(K = 2\)"):
        approaching(poz.ranklist)


def test_files_are_the_same_each_time_and_say_what_they_show(tmp_path):
    given = [poz.dpo, poz.simpo, poz.ipo]
    first, second, letters, raster = (tmp_path / name for name in ("a.svg", "b.svg", "a.pdf", "a.png"))
    plot(given, first, scale="shared", title="Three")
    command = ["plot", "dpo", "simpo", "ipo", "--scale", "shared", "--title", "Three", "-o", str(second)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert first.read_bytes() == second.read_bytes()
    root = ET.fromstring(first.read_text(encoding="utf-8"))
    assert root.get("role") == "img"
    assert root.find("{*}title").text == "Three"
    assert "ipo: The loss falls from 225 to 0 at 5, then rises to 25" in root.find("{*}desc").text
    words = {text.text: text for text in root.iter(f"{SVG}text")}
    assert {"dpo", "ipo", "simpo", "margin of chosen over rejected (nats)", "one axis for all"} <= set(words)
    assert tuple(root.get(side) for side in ("width", "height")) == ("396pt", "151.2pt")  # 5.5 and 2.1 inches
    names = sorted(float(words[name].get("y")) for name in PLAIN)
    assert np.diff(names).min() > 8  # points, which letters are high, though DPO and SimPO end at 0 on the scale of IPO
    plot(given, letters, what="loss", style="slide")
    made = letters.read_bytes()
    assert b"/CreationDate" not in made
    assert b"/Type3" not in made
    assert b"/FontFile2" in made  # TrueType, as it is
    plot(given[:1], raster, what="gradient")
    assert raster.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_no_two_curves_differ_by_colour_alone(tmp_path):
    target = tmp_path / "many.svg"
    every = [poz.dpo.bind(beta=0.1 + 0.1 * i) for i in range(9)]
    plot(every, target, what="loss", scale="shared")
    root = ET.fromstring(target.read_text(encoding="utf-8"))
    curves = [
        g for g in root.iter(f"{SVG}g") if (g.get("id") or "").startswith("line2d") and g.find(f"{SVG}path") is not None
    ]
    dashes = [re.search(r"stroke-dasharray: ([\d., ]+)", g.find(f"{SVG}path").get("style")) for g in curves]
    assert len({one and one[1] for one in dashes}) == 6
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert [f"dpo (beta={0.1 + 0.1 * i:g})" in words for i in range(9)] == [True] * 9
    marked = {re.search(r"stroke: (#\w+)", one.get("style"))[1] for one in root.iter(f"{SVG}use")} - {"#000000"}
    assert len(marked) == 3  # the dashes come again from the seventh on, with markers


def test_a_picture_of_one_names_it_and_says_what_stands_still(tmp_path):
    """With what is bound; a title that is given stands in its place."""
    for command, title, there in (
        (["simpo:gamma=1"], "simpo (gamma=1)", True),
        (["dpo", "--title", "Mine"], "Mine", True),
        (["dpo", "--title", "Mine"], "dpo", False),
        (["dpo", "hinge"], "dpo, hinge", False),
    ):
        target = tmp_path / "one.svg"
        result = CliRunner().invoke(app, ["plot", *command, "-o", str(target)])
        assert result.exit_code == 0, result.output
        assert "All else stands at -10" in result.output
        root = ET.fromstring(target.read_text(encoding="utf-8"))
        assert (title in [text.text for text in root.iter(f"{SVG}text")]) == there
        assert re.match(r"All else stands at −10[^.]*\. (dpo: )?The loss falls", root.find("{*}desc").text)


def test_a_gradient_that_is_no_slope_is_said(tmp_path):
    """LCPO weighs the gradient of its base by a constant; DPO holds nothing."""
    said = "the gradient is not the slope of the loss, parts of which are held constant."
    for names, sentence in (
        (["lcpo:base=simpo"], f"Of lcpo (base=simpo) {said}"),
        (["dpo", "lcpo:base=simpo", "wpo"], f"Of lcpo (base=simpo), wpo {said}"),
        (["dpo"], ""),
    ):
        result = CliRunner().invoke(app, ["plot", *names, "-o", str(tmp_path / "x.svg")])
        assert result.exit_code == 0, result.output
        assert [line for line in result.output.splitlines() if "slope" in line] == [sentence] * bool(sentence)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("dpoo", "There is no objective 'dpoo'. Did you mean 'dpo'"),
        ("dpo:betta=2", "`dpo` has no hyper-parameter 'betta'"),
        ("dpo:beta=-1", "`dpo` needs a number in (0, inf) for beta; got -1."),
        ("dpo:beta", "dpo: takes a name and a value, as in beta=0.5; got 'beta'."),
        ("dpo:beta=1,beta=2", "dpo: gives beta twice. Leave one out."),
        ("dpo dpo", "dpo is there twice. Leave one out, or give it another hyper-parameter."),
        ("dpo ppo_clip", "`ppo_clip` against the log-ratio of a token to the old policy. Plot them apart."),
        ("gpm", "`gpm` reads no score, so there is no margin to draw it against."),
        ("sft --limits", "`sft` becomes no other objective along what is drawn. Leave --limits out."),
        ("dpo --scale normalized", "There is no scale 'normalized'. Did you mean 'normalised'?"),
        ("dpo --what slope", "There is no panel 'slope'."),
        ("dpo --style papers", "There is no style 'papers'. Did you mean 'paper'?"),
        ("dpo --xlim 2 1", "--xlim takes two numbers, the smaller one first, as in --xlim -5 5; got 2 1."),
        ("dpo --xlim -5,5", "--xlim takes two numbers, the smaller one first, as in --xlim -5 5; got -5,5 -o."),
        ("dpo --xlim -inf inf", "--xlim takes two numbers, the smaller one first, as in --xlim -5 5; got -inf inf."),
        ("dpo --xlim 1 2 --widest 3", "--widest and --xlim say the same. Leave one out."),
    ],
)
def test_what_cannot_be_drawn_is_said(command, sentence, tmp_path):
    result = CliRunner().invoke(app, ["plot", *command.split(), "-o", str(tmp_path / "x.png")])
    assert result.exit_code == 2, result.output
    assert sentence in " ".join(result.stderr.split())
    assert not list(tmp_path.iterdir())


def test_a_value_may_have_commas_in_it(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("poz.plotting.plot", lambda given, *args, **more: drawn.extend(given) or compare(drawn))
    command = ["plot", "mnpo:weights=0.25,0.75,eta=1", "--xlim", "-2", "5", "-o", str(tmp_path / "x.pdf")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert (drawn[0].values["weights"], drawn[0].values["eta"]) == ((0.25, 0.75), 1)
    assert "All else stands at -10." in " ".join(result.output.split())


def test_no_log_prob_is_positive_however_far_it_goes():
    for name, ends in (
        ("orpo", (-30.0, 20.0)),
        ("rrhf", (-5.0, 15.0)),
        ("dppo_tv", (-2.0, 3.0)),
        ("mapo", (-0.01, 0.3)),
    ):
        for curve in compare([poz.zoo[name]], ends).curves:
            batch = curve.line.batch(np.array(ends))
            sides = [
                getattr(batch, field) for field in ("chosen", "rejected", "logps", "old_logps") if hasattr(batch, field)
            ]
            signs = np.sign(np.concatenate([side.ravel() for side in sides if side is not None]))
            assert set(signs) <= ({0.0, 1.0} if name == "mapo" else {0.0, -1.0})
            assert np.isfinite(curve.at.loss).all()
    assert compare([poz.dpo], (-30.0, 5.0)).still == "All else stands at -30."


@pytest.mark.parametrize(
    ("do", "error", "said"),
    [
        (lambda: svg("dpo"), TypeError, "svg needs an Objective for objective; got 'dpo'"),
        (lambda: alt(poz.Pairs), TypeError, "alt needs an Objective for objective"),
        (lambda: compare([]), ValueError, "compare needs an objective; got none"),
        (lambda: compare("dpo"), TypeError, "for objectives; got 'dpo'"),
        (lambda: compare([poz.dpo], scale="log"), ValueError, "There is no scale 'log'"),
        (lambda: compare([poz.dpo], (1.0, float("nan"))), ValueError, "two numbers for ends, the smaller one first"),
        (lambda: plot([poz.dpo], Path("x.svg"), style="slides"), ValueError, "no style 'slides'. Did you mean 'slide'"),
        (lambda: plot([poz.dpo], Path("x.gif")), ValueError, "must end in .png, .pdf, .svg"),
    ],
)
def test_what_is_given_is_looked_at(do, error, said):
    with pytest.raises(error, match=re.escape(said)):
        do()
