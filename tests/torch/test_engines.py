"""Four processes, started once, under the layouts of training engines; engines.py is what they do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
    "two dimensions, own": RIGHT,
    "two dimensions, root": RIGHT,
}
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
    worker = Path(__file__).with_name("engines.py")
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
