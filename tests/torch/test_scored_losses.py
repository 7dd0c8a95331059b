"""A trainer of one's own: token log-probs of chosen and rejected completions go in, losses of any objective come out."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

import poz
from poz.columns import check_columns, columns_read, needs_reference
from poz.torch import LCPO, Scored, implicit_rewards, scored_losses

PAIRS, TOKENS, VOCABULARY = 3, 5, 11


def model(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Embedding(VOCABULARY, 8), torch.nn.Linear(8, VOCABULARY)).double()


IDS = torch.randint(VOCABULARY, (2 * PAIRS, TOKENS + 1), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([5, 3, 4, 2, 5, 1])
MASK = torch.arange(TOKENS) < LENGTHS[:, None]


def log_probs(policy):
    """(2 * pairs, tokens), also where they are masked."""
    return policy(IDS[:, :-1]).log_softmax(-1).gather(-1, IDS[:, 1:, None])[..., 0]


def sums(policy):
    return (log_probs(policy) * MASK).sum(1).chunk(2)


def scored(policy, reference=None, **more):
    with torch.no_grad():
        ref_logps = None if reference is None else log_probs(reference)
    return Scored(log_probs(policy), MASK, ref_logps=ref_logps, **more)


def test_a_loop_of_ones_own_trains():
    policy, reference = model(0), model(0)
    objective = poz.dpo.bind(beta=0.5)
    assert needs_reference(objective)
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.5)
    losses = []
    for _ in range(5):
        loss = scored_losses(objective, scored(policy, reference)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(torch.tensor(2.0).log().item(), rel=1e-7)  # the policy is its reference
    assert losses == sorted(losses, reverse=True)
    chosen, rejected = implicit_rewards(objective, scored(policy, reference))
    (ours, theirs), (ref_ours, ref_theirs) = sums(policy), sums(reference)
    torch.testing.assert_close(chosen - rejected, (0.5 * (ours - theirs - ref_ours + ref_theirs)).detach())


@pytest.mark.parametrize("name", ["dpo", "simpo", "cpl", "bco", "npo", "pro"])
def test_losses_are_those_of_the_formula(name):
    policy, reference = model(1), model(2)
    (chosen, rejected), (ref_chosen, ref_rejected) = sums(policy), sums(reference)
    long, short = LENGTHS.chunk(2)
    right, wrong = chosen - ref_chosen, rejected - ref_rejected
    cases = {
        "dpo": (poz.dpo.bind(beta=0.3), softplus(0.3 * (wrong - right))),
        "simpo": (poz.simpo.bind(beta=2.0, gamma=0.5), softplus(0.5 - 2 * (chosen / long - rejected / short))),
        "cpl": (poz.cpl.bind(alpha=0.3, bias=0.5), softplus(0.3 * (0.5 * rejected - chosen))),
        "bco": (poz.bco.bind(beta=0.3), torch.cat((softplus(-0.3 * right), softplus(0.3 * wrong)))),
        "npo": (poz.npo.bind(beta=0.3), 2 / 0.3 * softplus(0.3 * wrong)),
        "pro": (poz.pro.bind(sft_weight=0.0), None),
    }
    objective, expected = cases[name]
    given = scored(policy, reference if needs_reference(objective) else None)
    losses = scored_losses(objective, given)
    if expected is None:  # a list of two
        expected = poz.pro.bind(sft_weight=0.0)(
            poz.Ranked(
                torch.stack((chosen, rejected), -1),
                lengths=torch.stack((long, short), -1),
                scores=torch.tensor([[1.0, 0.0]] * PAIRS),
            )
        )
    torch.testing.assert_close(losses, expected)
    slopes, hand = (torch.autograd.grad(x.sum(), list(policy.parameters())) for x in (losses, expected))
    torch.testing.assert_close(slopes, hand)


def test_columns_reach_the_objective():
    policy, reference, margin = model(1), model(2), torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    assert columns_read(poz.rebel) == (("margin",), ())
    (chosen, rejected), (ref_chosen, ref_rejected) = sums(policy), sums(reference)
    losses = scored_losses(poz.rebel.bind(eta=2.0), scored(policy, reference, columns={"margin": margin}))
    torch.testing.assert_close(losses, (chosen - ref_chosen - rejected + ref_rejected - 2 * margin) ** 2)
    with pytest.raises(ValueError, match="`rebel` reads the column 'margin', which the scored batch does not have"):
        scored_losses(poz.rebel, scored(policy, reference))
    with pytest.raises(
        ValueError, match=r"which rows\.jsonl does not have; it has chosen, rejected\. Add it, the known"
    ):
        check_columns(poz.rebel, ["chosen", "rejected"], "rows.jsonl")


def test_lcpo_learns_in_a_loop_of_ones_own():
    objective = LCPO(num_annotators=2)
    annotators = {"annotator": torch.tensor([0, 1, 1])}
    before = objective.reliability.clone()
    scored_losses(objective, scored(model(1), model(2), columns=annotators)).mean().backward()
    objective.step()
    assert not torch.equal(objective.reliability, before)


@pytest.mark.parametrize(("change", "said"), [
    ({"logps": torch.zeros(5, TOKENS)}, r"logps must be \(2 \* batch, tokens\).*got \(5, 5\)"),
    ({"logps": torch.zeros(6)}, r"logps must be \(2 \* batch, tokens\).*got \(6,\)"),
    ({"mask": MASK[:, :-1]}, r"mask must be \(6, 5\), as logps are \(6, 5\); got \(6, 4\)"),
    ({"mask": MASK.double()}, r"mask must be true or false at each token; got torch.float64. Give mask.bool"),
    ({"lengths": LENGTHS[:3]}, r"lengths must be \(6,\), as logps are \(6, 5\); got \(3,\)"),
    ({"ref_logps": torch.zeros(3)}, r"ref_logps must be \(6, 5\) or \(6,\), as logps are \(6, 5\); got \(3,\)"),
    ({"ref_logps": None}, r"`dpo` .*ref_chosen"),
    ({"logps": np.zeros((6, TOKENS))}, r"logps must be a torch tensor; got a ndarray"),
    ({"mask": MASK.numpy()}, r"mask must be a torch tensor; got a ndarray"),
    ({"columns": {"label": [1.0] * 3}}, r"The column 'label' must be a torch tensor; got a list"),
    ({"logps": torch.zeros(6, TOKENS, dtype=torch.long)}, r"logps must be floating-point numbers; got torch.int64"),
    ({"ref_logps": torch.zeros(6, dtype=torch.long)}, r"ref_logps must be floating-point numbers; got torch.int64"),
    ({"columns": {"lable": torch.ones(3)}}, r"'lable' is no column that an objective reads; those are .*label"),
    ({"columns": {"label": torch.ones(6)}}, r"'label' must have a row for each of the 3 pairs; got \(6,\)"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(change, said):
    with pytest.raises((TypeError, ValueError), match=said):
        scored_losses(poz.dpo, scored(model(1), model(2))._replace(**change))


def test_an_objective_by_its_name():
    batch = scored(model(1), model(2))
    torch.testing.assert_close(scored_losses("ipo", batch), scored_losses(poz.ipo, batch), rtol=0, atol=0)
    with pytest.raises(KeyError, match="Did you mean"):
        scored_losses("simp", batch)
    with pytest.raises(TypeError, match=r"objective must be a name, a poz\.Objective or a poz\.torch\.LCPO; got int"):
        scored_losses(3, batch)


def test_calibration_is_one_of_three():
    with pytest.raises(ValueError, match=r"calibration must be one of .*; got 'all'"):
        scored_losses(poz.vpo, scored(model(1), model(2)), calibration="all")


def test_it_needs_no_trl():
    code = """
import sys
sys.modules.update(dict.fromkeys(("trl", "transformers", "peft", "accelerate", "datasets")))  # None there: no import
from poz.torch import Scored, scored_losses, implicit_rewards
from poz.columns import columns_read
import poz, torch
logps = torch.zeros(2, 3)
print(scored_losses(poz.dpo, Scored(logps, logps == 0, ref_logps=logps)).item())
"""
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert float(found.stdout) == pytest.approx(0.6931, abs=1e-4)
