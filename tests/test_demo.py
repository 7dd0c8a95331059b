"""`poz demo`: learns visibly, works with any objective and any data, and prints none of the data."""

import json
import math

import pytest

import poz
from poz import demo, preferences
from poz.integrations import batches

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
    "kto": "reads kl_logps.* needs none.$",
    **{name: "reads" for name, spec in poz.zoo.items() if spec.family in (poz.Samples, poz.Denoising)},
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
    assert lines[0].startswith("Simple Preference Optimization (arXiv:2405.14734), 16 steps of 8 pairs")
    assert [line.split()[0] for line in lines[3:6]] == list(demo.Measured._fields)
    printed = capsys.readouterr()
    assert "16/16" in printed.err  # TRL's progress bar
    assert printed.out == ""


@pytest.fixture
def some(tmp_path):
    """The first shipped pairs, short, with weights of their tokens: bytes, and the end, which swallows spaces."""
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


@pytest.mark.parametrize("name", [name for name in poz.zoo if name not in REFUSED])
def test_the_shipped_pairs_serve(name):
    objective = poz.zoo[name]
    pairs, assumed = demo._completed(preferences.load(), objective)
    batches.check(objective)
    batches.check_columns(objective, list(pairs[0]), "the data")
    assert [pair for pair in pairs if any(pair[column] != demo.ASSUMED[column] for column in assumed)] == []
    # What the file says stays.
    given = dict.fromkeys(assumed, 0.25)
    assert demo._completed([given], objective) == ([given], [])


@pytest.mark.parametrize("name", list(REFUSED))
def test_refused_before_any_training(tmp_path, lines, name):
    with pytest.raises(ValueError, match=f"`{name}` {REFUSED[name]}"):
        demo.run(name, out=tmp_path / "x.png", show=lines.append)
    assert lines == []
    assert not (tmp_path / "x.png").exists()


def test_hh_rlhf(root, tmp_path, lines, capsys):
    path = root.parent / "shared" / "data" / "hh_rlhf_harmless_base_test.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not part of the repository and not beside it")
    result = demo.run(
        poz.mnpo.bind(eta=0.1, tau=0.05), path, 2, tmp_path / "curves.png", batch_size=4, show=lines.append
    )
    assert (result.train_pairs, result.held_out_pairs) == (8, 64)
    assert result.before.margin == 0 != result.after.margin
    shown = "".join(lines) + "".join(capsys.readouterr())
    assert "Human" not in shown
    assert "Assistant" not in shown


def test_long_texts_keep_the_end_of_the_prompt_and_the_beginning_of_the_completions():
    pair = {"prompt": "é" * 40 + "end?", "chosen": "Yes." + "b" * 60, "rejected": "No.", "margin": 1.0}
    short = demo._shortened(pair, 40)
    assert short == {"prompt": "é" * 8 + "end?", "chosen": "Yes." + "b" * 16, "rejected": "No.", "margin": 1.0}
    roomy = demo._shortened({**pair, "chosen": "Yes."}, 40)
    assert roomy["prompt"].endswith("é" * 16 + "end?")
    assert len(roomy["prompt"].encode()) == 36
    assert demo._shortened(pair, 1000) == pair


def test_a_loss_that_is_no_number_fails(tmp_path, lines):
    with pytest.raises(ValueError, match="The loss on held-out pairs is nan after 2 steps"):
        demo.run("simpo", steps=2, out=tmp_path / "x.png", learning_rate=1e30, show=lines.append)
    assert not (tmp_path / "x.png").exists()


def test_refuses(tmp_path):
    few = tmp_path / "few.jsonl"
    few.write_text("".join(preferences.SHIPPED.read_text().splitlines(keepends=True)[:4]))
    with pytest.raises(ValueError, match="at least 5 pairs, to hold some out; got 4"):
        demo.run(data=few, out=tmp_path / "x.png")
    with pytest.raises(ValueError, match="at least 1 step; got 0"):
        demo.run(steps=0, out=tmp_path / "x.png")
    with pytest.raises(KeyError, match="no objective 'nothing'"):
        demo.run("nothing", out=tmp_path / "x.png")
