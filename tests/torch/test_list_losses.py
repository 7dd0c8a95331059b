"""Lists of completions in a loop of one's own: token log-probs of K completions of each prompt go in, losses come out."""

import importlib

import numpy as np
import pytest
import torch

import poz
from poz.columns import list_columns
from poz.testing import draw_values
from poz.torch import PreferenceLoss, ScoredLists, list_losses, list_rewards

TOKENS = 5
LISTS = [name for name, spec in poz.zoo.items() if spec.family in (poz.Ranked, poz.Samples)]
ONE_LENGTH = {"tpo": 3, "mdpo": 3, "mapl": 4}


def scored(objective, sizes, seed=0):
    """Lists whose scores fall, rise and fall again, with an equal pair where the objective reads scores."""
    draw = torch.Generator().manual_seed(seed)
    rows = sum(sizes)
    lengths = torch.randint(1, TOKENS + 1, (rows,), generator=draw)
    numbers = torch.rand(rows, generator=draw, dtype=torch.float64)
    if "scores" in list_columns(objective):
        numbers[1] = numbers[0]
    return ScoredLists(
        -3 * torch.rand(rows, TOKENS, generator=draw, dtype=torch.float64),
        torch.arange(TOKENS) < lengths[:, None],
        sizes,
        ref_logps=-3 * torch.rand(rows, TOKENS, generator=draw, dtype=torch.float64),
        columns=dict.fromkeys(list_columns(objective), numbers),
    )


def expected(objective, lists, order):
    """Losses and slopes of each token's log-prob by the float64 reference, one list after the other."""
    losses, slopes = [], np.zeros(lists.logps.shape)
    for rows in order:
        policy, reference = ((x * lists.mask)[rows].sum(1)[None].numpy() for x in (lists.logps, lists.ref_logps))
        given = {"logps": policy, "ref_logps": reference, "anchor_logps": reference}
        given["lengths"] = lists.mask[rows].sum(1)[None].numpy()
        given |= {name: column[rows][None].numpy() for name, column in lists.columns.items()}
        read = {name: x for name, x in given.items() if name in objective.reads}
        function = getattr(importlib.import_module("poz.reference"), objective.name)
        loss, gradients = function(**read, **objective.values)
        losses.append(loss[0])
        slopes[rows] = gradients["logps"][0][:, None] * lists.mask[rows].numpy()
    return losses, slopes


@pytest.mark.parametrize("name", LISTS)
def test_losses_and_slopes_are_the_references(name):
    spec = poz.zoo[name]
    held = {"nll": "mean"} if name == "tpo" else {}  # over the tokens of a batch, lists are not apart
    values = draw_values(spec, np.random.default_rng(3), held=held)
    objective = spec.bind(**{**values, **held})
    size = ONE_LENGTH.get(name, 4)
    sizes = [4, 2, 3] if "mask" in spec.optional else [size, size]
    lists = scored(objective, sizes)
    starts = np.cumsum([0, *sizes])
    order = [list(range(start, start + size)) for start, size in zip(starts, sizes, strict=False)]
    if "scores" in lists.columns:
        order = [sorted(rows, key=lambda row: -float(lists.columns["scores"][row])) for rows in order]
    logps = lists.logps.clone().requires_grad_()
    losses = list_losses(objective, lists._replace(logps=logps))
    (slopes,) = torch.autograd.grad(losses.sum(), logps)
    wanted, gradient = expected(objective, lists, order)
    # float64 against float64, whose sums are in another order
    np.testing.assert_allclose(losses.detach().numpy(), wanted, rtol=1e-11)
    np.testing.assert_allclose(slopes.numpy(), gradient, rtol=1e-9, atol=1e-11 * np.abs(gradient).max())
    assert np.abs(gradient).max() > 0


def test_an_order_alone_is_that_of_the_scores_where_there_are_some():
    objective = poz.plackett_luce
    lists = scored(objective, [3, 3])
    upside_down = torch.tensor([1.0, 2.0, 3.0, 1.0, 3.0, 2.0])
    rows = torch.tensor([2, 1, 0, 4, 5, 3])
    sorted_lists = lists._replace(**{name: getattr(lists, name)[rows] for name in ("logps", "mask", "ref_logps")})
    by_score = list_losses(objective, lists._replace(columns={"scores": upside_down}))
    torch.testing.assert_close(by_score, list_losses(objective, sorted_lists), rtol=0, atol=0)
    assert not torch.equal(by_score, list_losses(objective, lists))


@pytest.mark.parametrize("name", ["dpo_of_two", "pro", "rrhf", "reward_partition", "plackett_luce", "combined"])
def test_rewards_are_what_the_objective_sees(name):
    lists = scored(poz.pro, [2, 3])._replace(columns={})
    policy, reference = ((x * lists.mask).sum(1) for x in (lists.logps, lists.ref_logps))
    means = policy / lists.mask.sum(1)
    wanted = {
        "dpo_of_two": (poz.s_dpo.bind(beta=0.3), 0.3 * (policy - reference)),
        "plackett_luce": (poz.plackett_luce.bind(beta=0.3), 0.3 * (policy - reference)),
        "pro": (poz.pro, means),
        "rrhf": (poz.rrhf, means),
        "reward_partition": (poz.reward_partition, means - reference / lists.mask.sum(1)),
        "combined": (poz.combine([("pro", 1.0), (poz.s_dpo.bind(beta=0.3), 2.0)]), 0.3 * (policy - reference)),
    }
    objective, rows = wanted[name]
    columns = dict.fromkeys(list_columns(objective), torch.tensor([0.6, 0.5, 0.9, 0.8, 0.7]))
    found = list_rewards(objective, lists._replace(columns=columns))
    torch.testing.assert_close(found, torch.stack((torch.cat((rows[:2], torch.zeros(1))), rows[2:])))


def test_lengths_and_sums_may_be_given():
    lists = scored(poz.reward_partition, 3 * [2])
    sums = (lists.ref_logps * lists.mask).sum(1)
    given = lists._replace(ref_logps=sums, sizes=2, lengths=lists.mask.sum(1))
    torch.testing.assert_close(
        list_losses("reward_partition", given), list_losses(poz.reward_partition, lists), rtol=0, atol=0
    )
    longer = list_losses("reward_partition", given._replace(lengths=lists.mask.sum(1) + 1))
    assert not torch.equal(longer, list_losses("reward_partition", given))
    assert list_losses("reward_partition", lists.first(0)).shape == (0,)
    assert list_rewards(poz.reward_partition, lists.first(0)).shape == (0, 2)
    first = lists.first(1)
    torch.testing.assert_close(list_losses("reward_partition", first), list_losses("reward_partition", given)[:1])


FOUR = scored(poz.pro, [2, 2])


NAN = torch.tensor([1.0, 2, torch.nan, 0])


@pytest.mark.parametrize(("objective", "change", "said"), [
    ("dpo", {}, r"`dpo` reads poz\.Pairs, not lists of completions\. .* such as `pro`; poz\.torch\.scored_losses serves"),
    ("lcpo", {}, r"`lcpo` reads poz\.Pairs, not lists"),
    ("pro", {"sizes": 3}, r"sizes=3 does not divide the 4 rows into lists"),
    ("pro", {"sizes": [3, 2]}, r"add up to the 4 rows; got \[3, 2\]"),
    ("pro", {"sizes": [4, 0]}, r"sizes must be 1 or more and add up to the 4 rows; got \[4, 0\]"),
    ("pro", {"sizes": [2.0, 2.0]}, r"sizes must be integers, one for each prompt"),
    ("pro", {"sizes": 2.0}, r"sizes must be integers, one for each prompt, or one for all; got 2\.0"),
    ("pro", {"sizes": None}, r"sizes must be integers, one for each prompt, or one for all; got None"),
    ("pro", {"sizes": torch.tensor(4)}, r"sizes must be integers, one for each prompt, or one for all; got tensor\(4\)"),
    ("pro", {"sizes": torch.ones(4, dtype=torch.bool)}, r"sizes must be integers, .*; got tensor\(\[True"),
    ("pro", {"sizes": True}, r"sizes must be integers, one for each prompt, or one for all; got True"),
    ("s_dpo", {"columns": {"scores": NAN}}, r"scores must be numbers; that of completion 2 is NaN"),
    ("lipo_lambda", {"columns": {"scores": NAN}}, r"scores must be numbers; that of completion 2 is NaN"),
    ("pro", {"columns": {}}, r"`pro` reads the column 'scores', which the scored lists do not have"),
    ("pro", {"columns": {"scores": torch.ones(2)}}, r"'scores' must have a number for each of the 4 completions; got \(2,\)"),
    ("pro", {"columns": {"score": torch.ones(4)}}, r"'score' is no column of lists that `pro` may read; those are scores"),
    ("s_dpo", {"columns": {"scores": torch.ones(4)}}, r"`s_dpo` reads the order of a list alone, and list 0 has equal"),
    (poz.combine({"listnet": 1.0, "s_dpo": 1.0}), {}, r"`s_dpo` reads the order of a list alone, and list 0 has equal"),
    ("s_dpo", {"columns": {}, "ref_logps": None}, r"`s_dpo` reads ref_logps"),
    ("tpo", {"sizes": [3, 1]}, r"`tpo` takes lists of one length; got 1 and 3 completions"),
    ("tpo", {"columns": {}}, r"`tpo` needs 3 completions, gold, chosen and rejected in this order; got K = 2"),
    ("pro", {"sizes": [3, 1], "mask": FOUR.mask.long()}, r"mask must be true or false at each token; got torch.int64"),
    ("pro", {"logps": torch.zeros(4)}, r"logps must be \(rows, tokens\), the completions of each prompt .*got \(4,\)"),
    ("pro", {"lengths": [1, 2, 3, 4]}, r"lengths must be a torch tensor; got a list"),
    ("sppo", {"columns": {}}, r"`sppo` reads the column 'winrates'"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(objective, change, said):
    with pytest.raises((TypeError, ValueError), match=said):
        list_losses(objective, FOUR._replace(**change))


def test_a_loss_of_pairs_says_where_lists_go():
    with pytest.raises(
        ValueError, match=r"`tpo` needs 3 .* poz\.integrations\.trl\.RankedTrainer takes lists of K, or call it"
    ):
        PreferenceLoss("tpo")
    with pytest.raises(ValueError, match=r"`mapl` needs 4 .* cannot serve it; call it"):
        PreferenceLoss("mapl")
