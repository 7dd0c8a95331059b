"""Pictures of objectives for a page: what is drawn are the objective's own numbers, and what is said of them is true."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest

import poz
from poz.plotting import alt, lines, svg, thumbnail

SVG = "{http://www.w3.org/2000/svg}"
REFUSED = {"auxiliary", "gpm", "reward_contrastive"}
TOLD = [  # of every family, and of every kind of course
    "sft", "dpo", "ipo", "simpo", "dpop", "cpo", "exo", "apo_down", "arpo", "discopop", "aql",
    "beta_dpo", "padll", "confpo", "bradley_terry", "mapo", "kto", "sppo", "qrpo", "rrhf", "pro", "exo_k",
    "listnet", "lipo_lambda", "reward_partition", "ddo_rm", "ppo_clip", "grpo", "cispo", "aspo", "dppo_kl", "vespo",
]  # fmt: skip
DRAWN = [name for name in poz.zoo if name not in REFUSED]


@pytest.mark.parametrize("name", DRAWN)
def test_lines_are_those_of_the_objective(name):
    for line in lines(poz.zoo[name]):
        low, high = line.ends
        xs, step = np.linspace(low, high, 9)[1:-1] + 5e-4 * (high - low), 5e-6 * (high - low)
        losses, slopes = line.at(xs)
        parts = [line.batch(np.array([x])) for x in xs] if line.objective.coupled else [line.batch(xs)]
        own = [line.objective(part)[: len(xs) // len(parts)] for part in parts]  # those beside it stand still
        np.testing.assert_allclose(losses, np.concatenate(own), rtol=1e-11, atol=1e-12)
        assert not line.held or line.objective.gradient_stops
        if not line.held:
            # Central differences: the square of the step, 1e-8 for nats, times the third derivative; rounding over the step.
            around = (line.at(xs + step)[0] - line.at(xs - step)[0]) / (2 * step)
            size = max(1.0, np.abs(losses).max(), np.abs(slopes).max())
            np.testing.assert_allclose(slopes, around, rtol=1e-6, atol=1e-6 * size)


def test_gradients_that_are_no_slopes_are_told_from_others():
    """r of CISPO and of its kin is a constant weight, and so are the weights of WPO and Nash-MD; PPO's ratio is not."""
    said = "not the slope of that loss, parts of which are held constant"
    assert all(said in alt(poz.zoo[name]) for name in ("cispo", "dppo_tv", "vespo", "wpo", "nash_md", "beta_dpo"))
    assert not any(said in alt(poz.zoo[name]) for name in ("ppo_clip", "gspo", "sapo", "kto", "dpop", "simpo"))


@pytest.mark.parametrize("name", sorted(REFUSED))
@pytest.mark.parametrize("make", [svg, alt, thumbnail])
def test_what_has_no_line_says_why(name, make):
    with pytest.raises(ValueError, match=f"`{name}` reads no score, so there is no margin to draw it against"):
        make(poz.zoo[name])


@pytest.mark.parametrize("name", ["dpo", "ppo_clip", "mapl", "dil"])
def test_an_inline_picture_stands_alone(name):
    text = svg(poz.zoo[name])
    root = ET.fromstring(text)
    assert root.get("role") == "img"
    assert root.find(f"{SVG}desc").text == alt(poz.zoo[name])
    assert name in root.find(f"{SVG}title").text
    assert {"loss", "gradient"} <= {words.text for words in root.iter(f"{SVG}text")}  # a loss may be in nats squared
    assert not re.search(r'\bid="|href|<style|<script', text)
    assert len(text) < 8000
    drawn = [path for path in root.iter(f"{SVG}path") if path.get("stroke-width") == "2"]
    looks = {(path.get("stroke"), path.get("stroke-dasharray")) for path in drawn}
    count = len(lines(poz.zoo[name]))
    assert len({dashes for _, dashes in looks}) == len(looks) == count  # no two differ by colour alone
    assert {path.get("stroke") for path in root.iter(f"{SVG}path")} <= {None, *(colour for colour, _ in looks)}
    assert ET.fromstring(thumbnail(poz.zoo[name])).find(f"{SVG}title").text.startswith(f"Loss of {name} ")


@pytest.mark.parametrize("name", ["dpo", "ppo_clip", "mapo"])
def test_numbers_below_a_panel_stand_apart(name):
    """With the letters of a phone, 16 high and as wide as those of DejaVu, 10."""
    below = [t for t in ET.fromstring(svg(poz.zoo[name])).iter(f"{SVG}text") if re.fullmatch(r"−?[\d.]+", t.text)]
    below = [(float(t.get("x")), 10 * len(t.text.replace(".", ""))) for t in below if t.get("text-anchor") == "middle"]
    assert len(below) >= 6
    assert all(b - a > (wide + next_) / 2 for (a, wide), (b, next_) in pairwise(below))


def test_points_of_a_picture_are_the_objectives_numbers():
    """Read off the path, by the ticks of the axes: hinge is (1 - β z)+, β = 2."""
    root = ET.fromstring(svg(poz.hinge.bind(beta=2.0)))
    path = next(p for p in root.iter(f"{SVG}path") if p.get("stroke-width") == "2")
    corners = np.array(re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path.get("d")), float)
    ticks = [t for t in root.iter(f"{SVG}text") if float(t.get("x")) < 270 and re.fullmatch(r"−?\d+", t.text)]
    across, up = ([t for t in ticks if t.get("text-anchor") == anchor] for anchor in ("middle", "end"))
    x, z = np.array([(float(t.get("x")), float(t.text.replace("−", "-"))) for t in across]).T
    y, level = np.array([(float(t.get("y")) - 4, float(t.text)) for t in up]).T  # words stand 4 below their tick
    z = np.polyval(np.polyfit(x, z, 1), corners[:, 0])
    loss = np.polyval(np.polyfit(y, level, 1), corners[:, 1])
    np.testing.assert_allclose(loss, np.maximum(1 - 2 * z, 0), atol=0.03)  # a tenth of a unit of the picture is 0.013
    assert np.abs(z - 0.5).min() < 0.01  # its kink is a corner


@pytest.mark.parametrize(
    ("objective", "sentences"),
    [
        # (z - 1 / (2 β))², by hand
        (poz.ipo, ["falls from 225 to 0 at 5, then rises to 25; at 0 it is 25", "is −10 at 0 and 0 at 5"]),
        (poz.ipo.bind(tau=0.25), ["against the margin of chosen over rejected, from −10 to 10 nats", "ipo (tau=0.25)",
                                   "falls from 144 to 0 at 2, then rises to 64; at 0 it is 4", "is −4 at 0 and 0 at 2"]),
        # log(1 + e^(-z / 10)): log(1 + e) and log(1 + 1/e)
        (poz.dpo, ["falls from 1.31 to 0.313; at 0 it is 0.693", "is −0.05 at 0 and never 0"]),
        (poz.hinge.bind(beta=0.5), ["falls from 6 to 0 at 2, then stays there until 10; at 0 it is 1",
                                    "is −0.5 at 0 and 0 from 2 to 10, with a jump at 2"]),
        # -min(r, 1.2) and max(r, 0.8): clipped at log 1.2 and log 0.8
        (poz.ppo_clip, ["With advantage +1, the loss falls from −0.135 to −1.2 at 0.182, then stays there until 2; at 0 it is −1",
                        "is −1 at 0 and 0 from 0.182 to 2, with a jump at 0.182",
                        "With advantage −1, the loss is 0.8 until −0.223, then rises to 7.39; at 0 it is 1",
                        "is 1 at 0 and 0 from −2 to −0.223, with a jump at −0.223"]),
        # σ of a tenth at ±10
        (poz.kto, ["For a desirable completion, the loss falls from 0.731 to 0.269; at 0 it is 0.5",
                   "For an undesirable completion, the loss rises from 0.269 to 0.731"]),
        # the penalty of DPOP, 50 times the shortfall of chosen, is in the logit: log(1 + e^(β (10 + 500)))
        (poz.dpop.bind(beta=0.1), ["When only the chosen completion moves, the loss falls from 51 to 0.313; at 0 it is 0.693"]),
        (poz.simpo, ["all else stands at −10; each completion is 1 token long."]),
        # each of a list of three by its place
        (poz.exo_k, ["When only the first completion moves, the", "When only the third completion moves, the"]),
        (poz.s_dpo, ["When only the second or third completion moves, the"]),
        (poz.mapo, ["When only the chosen image moves, the"]),
        # log(1 + e^-10), and -β/2
        (poz.dpo.bind(beta=1.0), ["falls from 10 to 0.0000454"]),
        (poz.dpo.bind(beta=1e-5), ["is −0.000005 at 0 and never 0"]),
        (poz.dpo.bind(beta=1e-8), ["is −5 × 10⁻⁹ at 0 and never 0"]),
    ],
)  # fmt: skip
def test_what_is_said_of_a_picture_is_so(objective, sentences):
    said = alt(objective)
    assert all(sentence in said for sentence in sentences), said


def test_lengths_are_said_where_they_are_read():
    """Of rollouts a single token is drawn, which the words say otherwise."""
    told = {name for name in DRAWN if "each completion is 1 token long" in lines(poz.zoo[name])[0].still}
    assert told == {name for name in DRAWN if {"lengths", "chosen_len", "rejected_len"} & poz.zoo[name].reads}
    assert {"simpo", "orpo", "pro"} <= told


def read(text):
    """A number as it is written, or None."""
    return None if text is None else 0.0 if text == "almost 0" else float(text.rstrip(",;.").replace("−", "-"))


@pytest.mark.parametrize("name", TOLD)
def test_each_loss_goes_as_its_picture_says(name):
    """Read back from the words, and held against the objective itself between the places that they name."""
    said = [part.split(". Its gradient")[0] for part in re.split(r"(?<=, t|\. T)he loss ", alt(poz.zoo[name]))[1:]]
    for line, words in zip(lines(poz.zoo[name]), said, strict=True):
        low, high = line.ends
        course, _, middle = words.partition("; at 0 it is ")
        xs = np.unique(np.append(np.linspace(low, high, 21), 0.0))
        parts = [line.batch(np.array([x])) for x in xs] if line.objective.coupled else [line.batch(xs)]
        losses = np.concatenate([line.objective(part)[: len(xs) // len(parts)] for part in parts])
        size = np.abs(losses).max()
        if middle:
            assert read(middle) == pytest.approx(losses[xs == 0][0], rel=6e-3, abs=1e-6 * size)
        if course.endswith("throughout"):
            assert np.ptp(losses) <= 1e-12 * size
            continue
        start = low
        for step in re.split(", then ", course):
            place = re.search(r" (?:at|until) (\S+)$", step)
            end = read(place[1]) if place else high
            inside = losses[(xs >= start + 0.01 * (high - low)) & (xs <= end - 0.01 * (high - low))]
            way = 1 if "rises" in step else -1 if "falls" in step else 0
            apart = np.diff(inside)
            assert (way * apart > -1e-9 * size).all() if way else (np.abs(apart) <= 1e-12 * size).all(), step
            if first := re.search(r"(?:from|^is) (almost 0|\S+)", step):
                assert read(first[1]) == pytest.approx(losses[0], rel=6e-3, abs=1e-6 * size)
            start = end
        if way and (last := re.search(r"to (almost 0|\S+)$", course)):
            assert read(last[1]) == pytest.approx(losses[-1], rel=6e-3, abs=1e-6 * size)
