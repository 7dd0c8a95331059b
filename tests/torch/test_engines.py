"""Four processes, started once, under the layouts of training engines; engines/ is what they do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

RIGHT = 2e-6
"""Sums of 11 float32 rows in another order, 16 eps of the largest."""
HALF = 3 * 2**-8
"""Three roundings to bfloat16 in a row: of hidden states, of the slopes of log-probs, of gradients."""

GRADIENTS = {
    "root": RIGHT,
    "root, head after": RIGHT,
    "root, frozen head": RIGHT,
    "root, frozen body": RIGHT,
    "root, tied": RIGHT,
    "root, 16 bit": HALF,
    "root, twice": RIGHT,
    "own": RIGHT,
    "own, head after": RIGHT,
    "own, head after a frozen body": RIGHT,
    "own, with entropies": RIGHT,
    "own, unsharded, no gradient": RIGHT,
    "own, frozen head": RIGHT,
    "own, 16 bit": HALF,
    "own, twice": RIGHT,
    "own, accumulated": RIGHT,
    "together, tied": RIGHT,
    "together, tied, 16 bit": HALF,
    "replicated and sharded": RIGHT,
    "DDP": RIGHT,
    "DDP, tied": RIGHT,
    "token_logps, root": RIGHT,
    "token_logps, own": RIGHT,
    "token_logps, DDP": RIGHT,
    "two dimensions, own": RIGHT,
    "two dimensions, root": RIGHT,
}
for layout in ("ulysses", "zigzag"):
    for world in (2, 4):
        GRADIENTS |= {f"context, {layout}, {world}, {gradients}": RIGHT for gradients in ("summed", "averaged")}
GRADIENTS |= {"context, FSDP2 over all": RIGHT, "context, whole rows": RIGHT}
REFUSED = {
    "own, tied": "use fully_shard",  # torch's own words
    "own, weight alone": "`weight` is a DTensor",
    "resharded, head after": "let the head be a poz.torch.LogpsHead, shard that and call it",
    "two dimensions, whole head": "all of them hold the same 38 tokens",
    "two dimensions, logits": "Logits need the whole vocabulary, of which this process holds a part",
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines")
    worker = Path(__file__).with_name("engines")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", worker, folder], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(4)]


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_are_those_of_one_process(answers, name):
    found = [answer[name] for answer in answers]
    assert all(isinstance(apart, float) for apart in found), found
    assert max(found) <= GRADIENTS[name]


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_work_is_a_sentence(answers, name):
    for answer in answers:
        assert REFUSED[name] in str(answer[name])


@pytest.mark.parametrize(("name", "said"), [
    ("shape", "got float32 (3,) with a gradient, summed on process 0 and float32 (2,) with a gradient, summed on 1"),
    ("gradient", "got float32 (3,), summed on process 0 and float32 (3,) with a gradient, summed on 1"),
    ("number", "and float32 (3,) with a gradient, float32 (3,) with a gradient, summed on 1"),
    ("word", "gradients must be 'summed' or 'averaged', what the engine does with them; got 'mean'"),
    ("words", "with a gradient, averaged on 1"),
    ("kind", "sum_over needs tensors; got list"),
])  # fmt: skip
def test_all_processes_refuse_sums_that_differ(answers, name, said):
    for rank, answer in enumerate(answers):
        assert said in answer[f"sum_over, {name}"], rank


def test_processes_that_go_on_differently_have_the_mean_of_their_losses(answers):
    assert [answer["sum_over, one loss"] for answer in answers] == [[0.5] * 3] * 4  # 2 / 4


@pytest.mark.parametrize(
    ("layout", "world", "wrong"), [("ulysses", 2, 1), ("ulysses", 4, 3), ("zigzag", 2, 2), ("zigzag", 4, 6)]
)
def test_labels_shifted_after_sharding_are_wrong_at_the_edges(answers, layout, world, wrong):
    """The last of each piece has none, or the first token of a piece from elsewhere, unless nothing or its own next follows."""
    assert {answer[f"context, {layout}, {world}, wrong"] for answer in answers} == {wrong}


def test_state_saved_by_two_processes_is_loaded_by_one(answers):
    """At the midpoint of an extragradient step; it goes on to the parameters of the two, to the order of sums."""
    want, found = answers[0]["saved"], answers[0]["loaded"]
    assert "saved with 20 tensors and holds 0. Load into an Extragradient whose" in found["fresh"]
    assert "saved with 20 tensors and holds 15. Load" in found["stepped"]
    assert "stepped, and which is at the midpoint by look_ahead()" in found["stepped"]
    for name, p in want["model"].items():
        torch.testing.assert_close(torch.tensor(found["model"][name]), torch.tensor(p), rtol=1e-5, atol=1e-6)
    assert found["reliability"] == want["reliability"] != [0.9] * 3
    assert found["baseline"] == want["baseline"]
