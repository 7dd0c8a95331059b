"""`poz demo`: learns visibly, works with any objective and any data, and prints none of the data."""

import gzip
import itertools
import json
import math
import random

import numpy as np
import pytest

import poz
from poz import _demo_pairs, _demo_trainer, demo, preferences
from poz.columns import check_columns
from poz.demo_settings import PARAMS
from poz.integrations.trl.reward import check_scores
from poz.torch.scored import check_pairs

OUTPUTS = {"chosen", "rejected", "chosen_embedding", "rejected_embedding"}
"""What a tiny reward model gives."""
REFUSED = {
    "tpo": "needs 3 completions, gold, chosen and rejected",
    "mdpo": "needs 3 .*got K = 2",
    "mapl": "needs 4 log-probs, chosen and rejected under the better prompt",
    "tis_dpo": "reads the column 'chosen_weights', which",  # nobody knows what each token is worth
    "ddpo": "reads .*_changed",
    "tdpo": "reads .*_kl",
    "sampo": "reads the column 'chosen_weights', which",
    "gr_dpo": "reads the column 'annotator', which",
    "nash_md": "reads the column 'label', which",
    **{name: "reads" for name, spec in poz.zoo.items() if spec.family is poz.Denoising},
    **{
        name: "reads"
        for name, spec in poz.zoo.items()
        if spec.family is poz.RewardPairs and spec.reads - OUTPUTS - {"margin"}
    },
}
"""The objectives that the shipped pairs cannot serve, and why."""


@pytest.fixture
def lines():
    return []


def test_learns_the_shipped_preference_on_held_out_pairs(tmp_path, lines, capsys):
    result = demo.run("simpo", steps=16, out=tmp_path / "new" / "curves.png", show=lines.append)
    assert (result.train_pairs, result.held_out_pairs) == (96, 24)
    assert result.after.accuracy >= 0.9 > 0.7 >= result.before.accuracy
    assert result.after.margin > result.before.margin + 0.2
    assert result.after.loss < result.before.loss
    assert result.held_out[0] == (0, result.before)
    assert result.held_out[-1] == (16, result.after)
    assert [step for step, _ in result.training] == list(range(1, 17))
    assert result.picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert lines[0].startswith(
        "Simple Preference Optimization (arXiv:2405.14734), 16 steps of 16 pairs, learning rate 0.003"
    )
    assert [line.split()[0] for line in lines[4:7]] == list(demo.Measured._fields)
    low, high = demo.interval(result.after.accuracy, 24)
    assert lines[6].endswith(f"{result.after.accuracy:.4g} ({low:.2f} to {high:.2f})")
    assert lines[8] == "accuracy: how often that is positive (Wilson's 95 % interval); chance is 1/2"
    printed = capsys.readouterr()
    assert "16/16" in printed.err  # TRL's progress bar
    assert printed.out == ""


@pytest.fixture
def some(tmp_path):
    """The first shipped pairs, short, with weights of their tokens, which then are bytes, and the end."""
    pairs = [
        {**pair, **{side: pair[side][:40].rstrip() for side in ("chosen", "rejected")}}
        for pair in preferences.load()[:8]
    ]
    for pair in pairs:
        for side in ("chosen", "rejected"):
            pair[f"{side}_weights"] = [1 + 0.01 * i for i in range(len(pair[side].encode()) + 1)]
    path = tmp_path / "some.jsonl"
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    return path


# Pairs without and with a margin, an entropy, calibration; a list; tokens with collisions and weights.
@pytest.mark.parametrize("name", ["vpo", "odpo", "mallows_dpo", "pro", "wpo", "tis_dpo"])
def test_a_step(tmp_path, lines, some, name):
    result = demo.run(name, some, steps=1, batch_size=2, out=tmp_path / "curves.png", show=lines.append)
    assert all(map(math.isfinite, (*result.before, *result.after)))
    assert result.before != result.after
    assumed = {"odpo": "margin", "mallows_dpo": "entropy"}.get(name)
    said = [line for line in lines if "for every pair" in line]
    assert len(said) == (assumed is not None)
    assert all(f"{name} reads {assumed}, which the pairs do not have" in line for line in said)
    if not poz.zoo[name].reference_free:
        assert (result.before.margin, result.before.accuracy) == (0, 0.5)  # the policy is its own reference


# Those on rollouts read no pairs: test_demo_rollouts.
@pytest.mark.parametrize("name", [n for n, o in poz.zoo.items() if n not in REFUSED and o.family is not poz.Rollouts])
def test_the_shipped_pairs_serve(name):
    objective, _ = demo._bound(name, {})
    pairs, assumed = _demo_pairs.completed(preferences.load(), objective)
    (check_scores if objective.family is poz.RewardPairs else check_pairs)(objective)
    check_columns(objective, list(pairs[0]), "the data")
    assert [pair for pair in pairs if any(pair[column] != demo.ASSUMED[column] for column in assumed)] == []
    # What the file says stays.
    given = dict.fromkeys(assumed, 0.25)
    assert _demo_pairs.completed([given], objective) == ([given], [])


@pytest.mark.parametrize("name", list(REFUSED))
def test_refused_before_any_training(tmp_path, lines, name):
    with pytest.raises(ValueError, match=f"`{name}` {REFUSED[name]}"):
        demo.run(name, out=tmp_path / "x.png", show=lines.append)
    assert lines == []
    assert not (tmp_path / "x.png").exists()


def test_hh_rlhf(root, tmp_path, lines, capsys, monkeypatch):
    """Its first dialogues; `test_preferences` reads them all."""
    path = root.parent / "shared" / "data" / "hh_rlhf_harmless_base_test.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not part of the repository and not beside it")
    with gzip.open(path, "rb") as whole:
        few = gzip.compress(b"".join(itertools.islice(whole, 60)))
    path = tmp_path / path.name
    path.write_bytes(few)
    assert demo.HELD_OUT == 400
    monkeypatch.setattr(demo, "HELD_OUT", 8)
    result = demo.run(
        poz.mnpo.bind(eta=0.1, tau=0.05), path, 2, tmp_path / "curves.png", batch_size=4, show=lines.append
    )
    assert (result.train_pairs, result.held_out_pairs) == (8, 8)
    assert result.before.margin == 0 != result.after.margin
    shown = "".join(lines) + "".join(capsys.readouterr())
    assert "Human" not in shown
    assert "Assistant" not in shown


def test_long_texts_keep_the_end_of_the_prompt_and_the_beginning_of_the_completions():
    pair = {"prompt": "é" * 40 + "end?", "chosen": "Yes." + "b" * 60, "rejected": "No.", "margin": 1.0}
    short = _demo_trainer.shortened(pair, 40)
    assert short == {"prompt": "é" * 3 + "end?", "chosen": "Yes." + "b" * 26, "rejected": "No.", "margin": 1.0}
    roomy = _demo_trainer.shortened({**pair, "chosen": "Yes."}, 40)
    assert roomy["prompt"].endswith("é" * 16 + "end?")
    assert len(roomy["prompt"].encode()) == 36
    assert _demo_trainer.shortened(pair, 1000) == pair


def test_a_loss_that_is_no_number_fails(tmp_path, lines):
    with pytest.raises(FloatingPointError, match="The loss on held-out pairs is nan after 2 steps"):
        demo.run("simpo", steps=2, out=tmp_path / "x.png", learning_rate=1e30, show=lines.append)
    assert not (tmp_path / "x.png").exists()


def test_prompts_that_are_held_out_are_not_trained_on(tmp_path, lines):
    path = tmp_path / "lists.json"
    lists = [{"prompt": f"No. {i}?", "responses": list("abcd"), "scores": [3, 1, 2, 0]} for i in range(10)]
    path.write_text(json.dumps(lists))
    result = demo.run("simpo", path, 1, tmp_path / "x.png", batch_size=60, show=lines.append)
    assert result.held_out_pairs == 12
    assert 0 < result.train_pairs < 60 - 12
    assert result.train_pairs % 6 == 0  # whole lists
    path.write_text(json.dumps([{**one, "prompt": "Which?"} for one in lists]))
    with pytest.raises(ValueError, match="All 60 pairs share the prompts of those to hold out"):
        demo.run("simpo", path, 1, tmp_path / "x.png", show=lines.append)


def test_refuses(tmp_path):
    few = tmp_path / "few.jsonl"
    few.write_text("".join(preferences.SHIPPED.read_text().splitlines(keepends=True)[:4]))
    with pytest.raises(ValueError, match="at least 5 pairs, to hold some out; got 4"):
        demo.run(data=few, out=tmp_path / "x.png")
    with pytest.raises(ValueError, match="at least 1 step; got 0"):
        demo.run(steps=0, out=tmp_path / "x.png")
    with pytest.raises(KeyError, match="no objective 'nothing'"):
        demo.run("nothing", out=tmp_path / "x.png")


@pytest.mark.parametrize("pairs", [4, 18, 50])
def test_the_interval_of_an_accuracy_holds_the_share_19_times_in_20(pairs):
    rng = np.random.default_rng(0)
    shares = rng.random(20_000)
    low, high = np.array([demo.interval(count / pairs, pairs) for count in range(pairs + 1)]).T
    right = rng.binomial(pairs, shares)
    # Wilson's holds 95 % on average over shares, within half a percent or so; 20,000 draws are off by .15 %.
    assert ((low[right] <= shares) & (shares <= high[right])).mean() == pytest.approx(0.95, abs=0.01)


def test_the_interval_of_an_accuracy_of_1_has_a_width():
    """Where (1 - p)² = z² p (1 - p) / n: p = n / (n + z²), 4 / (4 + 1.96²)."""
    assert demo.interval(1.0, 4) == pytest.approx((0.5101, 1), abs=1e-4)
    assert demo.interval(0.0, 4) == pytest.approx((0, 0.4899), abs=1e-4)


def test_kto_takes_the_kl_to_be_zero_and_says_so(tmp_path, lines, some):
    result = demo.run("kto", some, 1, tmp_path / "x.png", batch_size=2, show=lines.append)
    assert sum("K, the KL of policy and reference, which pairs do not bring: K is 0" in line for line in lines) == 1
    assert any("estimator='zero'" in line for line in lines)
    assert result.before.loss == pytest.approx(0.5)  # the value of a log-ratio that is the point of reference, 0
    with pytest.raises(ValueError, match=r"kto` reads kl_logps.* needs none.$"):
        demo.run("kto", out=tmp_path / "x.png", params={"estimator": "mean"})


def by(path, tmp_path, annotators):
    """The same pairs with an annotator each."""
    pairs = [
        {**json.loads(line), "annotator": name}
        for line, name in zip(path.read_text().splitlines(), annotators, strict=True)
    ]
    target = tmp_path / "by.jsonl"
    target.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    return target


def shuffled(count, seed=0):
    """Where `demo` puts the rows of a file: those first are held out."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order


@pytest.mark.parametrize("name", ["lcpo_em", "re_po", "lcpo"])
def test_em_runs_and_says_what_it_learnt(tmp_path, lines, some, name):
    data = by(some, tmp_path, ["al", "bo"] * 4)
    result = demo.run(name, data, 2, tmp_path / "x.png", batch_size=4, show=lines.append)
    assert result.objective == name
    assert result.reliability.keys() == {"al", "bo"}
    assert 0.9 not in result.reliability.values()
    for annotator, found in result.reliability.items():
        assert f"reliability of annotator {annotator}: {found:.3f}" in lines
    assert any(line.endswith("whose reliability is learnt") for line in lines)


def test_em_learns_over_the_base_that_is_given(tmp_path, lines, some):
    data = by(some, tmp_path, ["al", "bo"] * 4)
    params = {"base": poz.simpo.bind(beta=1.5), "mode": "weighted"}
    result = demo.run("lcpo_em", data, 2, tmp_path / "x.png", batch_size=4, params=params, show=lines.append)
    assert result.reliability.keys() == {"al", "bo"}
    assert 0.9 not in result.reliability.values()
    assert any("poz.simpo" in line and line.endswith("whose reliability is learnt") for line in lines)
    assert result.before.margin != 0  # DPO's is 0, of a policy that is its own reference


def test_em_without_annotators_learns_one_reliability(tmp_path, lines, some):
    result = demo.run("lcpo_em", some, 1, tmp_path / "x.png", batch_size=2, show=lines.append)
    assert list(result.reliability) == [None]
    assert f"reliability of the labels: {result.reliability[None]:.3f}" in lines


def test_lcpo_with_hyper_parameters_is_the_loss_of_a_given_reliability(tmp_path, lines, some):
    result = demo.run("lcpo", some, 1, tmp_path / "x.png", batch_size=2, params={"reliability": 0.8}, show=lines.append)
    assert result.reliability == {}
    assert not any(line.endswith("whose reliability is learnt") for line in lines)
    assert "the reliability is the given one; leave it out, and it is learnt" in lines
    assert any("reliability=0.8" in line for line in lines)


def test_held_out_pairs_are_by_annotators_that_training_has_seen(tmp_path, lines):
    names = ["al"] * 120
    held_out = shuffled(120)[:24]
    for row in held_out[:3]:
        names[row] = f"stranger {row}"
    result = demo.run(
        "lcpo_em", by(preferences.SHIPPED, tmp_path, names), 1, tmp_path / "x.png", batch_size=2, show=lines.append
    )
    assert (result.train_pairs, result.held_out_pairs) == (5, 21)
    assert "3 held-out pairs, by annotators of no other pair, are moved to training" in lines
    assert len(result.reliability) == 4


def test_of_many_annotators_the_ends_are_shown(tmp_path, lines):
    data = by(preferences.SHIPPED, tmp_path, [i % 30 for i in range(120)])
    result = demo.run("lcpo_em", data, 2, tmp_path / "x.png", batch_size=48, show=lines.append)
    found = result.reliability.values()
    assert len(found) == 30
    shown = [line for line in lines if line.startswith("reliability")]
    assert len(shown) == 1
    assert shown[0].startswith(f"reliability of 30 annotators: least {min(found):.3f}, mean ")
    assert shown[0].endswith(f"greatest {max(found):.3f}")


def test_annotators_of_one_pair_each_are_refused(tmp_path, some):
    with pytest.raises(ValueError, match="No annotator of a held-out pair labelled a pair to train on"):
        demo.run("lcpo_em", by(some, tmp_path, range(8)), 1, tmp_path / "x.png")


def test_a_nan_in_the_data_is_found_by_the_reader(tmp_path):
    path = tmp_path / "nan.jsonl"
    lines = preferences.SHIPPED.read_text().splitlines()
    path.write_text("".join(f'{line[:-1]}, "margin": {"NaN" if i == 16 else 1}}}\n' for i, line in enumerate(lines)))
    with pytest.raises(ValueError, match=r"line 17: 'margin' must hold finite numbers"):
        demo.run("odpo", path, out=tmp_path / "x.png")


@pytest.mark.parametrize("name", PARAMS)
def test_settings_differ_from_the_defaults(name):
    bound, default = (poz.zoo[name].bind(**more).values for more in (PARAMS[name], {}))
    assert all(bound[key] == value != default[key] for key, value in PARAMS[name].items())
    (said,) = demo._bound(name, {})[1]
    assert said.startswith("set for a tiny model and few steps: ")
    assert all(f"{key}={value!r} (default {default[key]!r})" in said for key, value in PARAMS[name].items())
    assert demo._bound(name, PARAMS[name])[1] == []  # what the caller asked for is no news


def test_hyper_parameters_go_before_the_settings(tmp_path, lines, some):
    demo.run("inpo", some, 1, tmp_path / "x.png", batch_size=2, params={"eta": 0.7}, show=lines.append)
    assert any(line.startswith("poz.inpo.bind(eta=0.7") for line in lines)
