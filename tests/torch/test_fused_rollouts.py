"""The loss in the loop on rollouts, and any split of a batch that is only counted together, give what the whole batch gives."""

import dataclasses
import operator

import numpy as np
import pytest
import torch

import poz
from poz.families import SHAPES
from poz.testing import draw_values
from poz.testing.drawn import drawing
from poz.torch import fused_objective, linear_logps, slopes

BATCH, HIDDEN, VOCABULARY = 6, 16, 1001
NAMES = [name for name, objective in poz.zoo.items() if objective.family is poz.Rollouts]
APART = {"aggregation": "sequence_mean", "count_empty": True}
UNCOUNTED = [name for name in NAMES if poz.zoo[name].bind(**APART).coupled]
COUNTED = [name for name in NAMES if name not in UNCOUNTED]
SEEDS = range(3)
HELD = ("aggregation", "count_empty", "entropy_weight")
ENDINGS = (
    {"aggregation": "token_mean", "entropy_weight": 0.3},
    {"aggregation": "sequence_mean", "count_empty": False},
    {"aggregation": "sequence_sum", "entropy_weight": 0.1},
)
"""What completions add up to, beside the other hyper-parameters, which are drawn: one for each seed."""
# float64, and the same log-probs: sums of a hundred terms in another order. Below the largest entry, slopes cancel.
CLOSE = {"rtol": 1e-10, "atol": 1e-13}


def problem(name, seed):
    """An objective and a batch of hidden states, ragged, with an empty completion and one whose advantages are exactly 0."""
    rng, generator = np.random.default_rng([seed, 7]), torch.Generator().manual_seed(seed)
    objective = poz.zoo[name].bind(**draw_values(poz.zoo[name], rng, held=HELD)).bind(**ENDINGS[seed])
    drawn = drawing(objective.family)(objective, rng, BATCH, widest=10.0)._asdict()
    drawn["advantages"][3] = drawn["token_advantages"][3] = 0
    given = {key: torch.tensor(x) for key, x in drawn.items()}
    shape = given["logps"].shape
    hidden = torch.randn(*shape, HIDDEN, generator=generator, dtype=torch.float64)
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator, dtype=torch.float64) / 3
    targets = torch.randint(0, VOCABULARY, shape, generator=generator).where(given.pop("mask"), -100)
    near, logps = linear_logps(hidden, weight, targets), given.pop("logps")
    held = [key for key, (_, content) in SHAPES[objective.family].items() if content == "logp"]
    fields = {key: near + x - logps if key in held else x for key, x in given.items() if key != "entropy"}
    return objective, hidden, weight, targets, fields


def read_by(objective, fields):
    return {name: x for name, x in fields.items() if name in objective.reads | objective.optional}


def leaves(*tensors):
    return [tensor.clone().requires_grad_() for tensor in tensors]


def dense(objective, hidden, weight, targets, fields):
    made = linear_logps(hidden, weight, targets, outputs=("logps", "entropy"))
    return made.logps, objective(poz.Rollouts(made.logps, entropy=made.entropy, mask=targets != -100, **fields))


def close(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        scale = max(other.abs().max().item(), 1e-300)
        torch.testing.assert_close(one / scale, other / scale, **CLOSE)


def watched(objective, seen):
    def function(xp, batch, **values):
        seen.append(len(batch.logps))
        return objective.function(xp, batch, **values)

    return dataclasses.replace(objective, function=function)


@pytest.mark.parametrize(("seed", "memory"), [(0, "2MiB"), (1, "2MiB"), (1, "1GiB"), (2, "1GiB")])
@pytest.mark.parametrize("name", COUNTED)
def test_the_loop_gives_what_the_whole_batch_gives(name, seed, memory):
    objective, hidden, weight, targets, fields = problem(name, seed)
    fields, seen = read_by(objective, fields), []
    ours, theirs, gone = leaves(hidden, weight), leaves(hidden, weight), targets == -100
    given = {key: x.masked_fill(gone, np.nan) if x.shape == gone.shape else x for key, x in fields.items()}
    with torch.no_grad():
        ours[0][gone] = np.nan
    made = fused_objective(watched(objective, seen), *ours, targets, fields=given, memory=memory)
    # completion by completion, or in one chunk
    assert (len(seen) > 1) == (memory != "1GiB" and "entropy" not in objective.reads)
    (2 * made.loss).backward()
    logps, losses = dense(objective, *theirs, targets, fields)
    (2 * losses.mean()).backward()
    assert torch.equal(made.logps, logps)
    close([made.losses, made.loss, *(x.grad for x in ours)], [losses, losses.mean(), *(x.grad for x in theirs)])
    assert made.losses[0] == 0
    assert theirs[1].grad.any()


PARTS = (slice(0, 1), slice(1, 3), slice(3, 6))  # the first has no token at all


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", COUNTED)
def test_parts_of_a_batch_add_up_to_it_whatever_the_split(name, seed):
    """The counts of parts are added up, as processes and micro-batches do, before any part is computed."""
    objective, hidden, weight, targets, fields = problem(name, seed)
    fields = read_by(objective, fields)
    mask = targets != -100
    whole = sum((poz.Counts.of(mask[part]) for part in PARTS), poz.Counts(0, 0, 0))
    assert whole == poz.Counts.of(mask) == (BATCH, mask.sum(), (~mask.any(1)).sum())
    ours, theirs = leaves(hidden, weight), leaves(hidden, weight)
    _, losses = dense(objective, *theirs, targets, fields)
    losses.mean().backward()
    made, alone = [], []
    for part in PARTS:
        given = {key: x[part] for key, x in fields.items()}
        made.append(fused_objective(objective, ours[0][part], ours[1], targets[part], fields=given, whole=whole))
        made[-1].loss.backward()
        with torch.no_grad():
            alone.append(dense(objective.within(whole), hidden[part], weight, targets[part], given)[1])
    together = [torch.cat([one.losses for one in made]), torch.cat(alone), sum(one.loss for one in made)]
    close([*together, *(x.grad for x in ours)], [losses, losses, losses.mean(), *(x.grad for x in theirs)])


def test_counts_instead_of_a_pass_before_the_pass():
    """What `slopes` finds from the log-probs of all tokens, counts know beforehand; a micro-batch on its own does not."""
    _, hidden, weight, targets, fields = problem("dapo", 0)
    logps, mask = linear_logps(hidden, weight, targets), targets != -100
    batch = poz.Rollouts(logps, mask=mask, **{key: fields[key] for key in ("advantages", "old_logps")})
    losses, slope = slopes(poz.dapo, batch)
    part = poz.Rollouts(*(None if x is None else x[:2] for x in batch))
    leaf = part.logps.clone().requires_grad_()
    (poz.dapo.within(poz.Counts.of(mask))(part._replace(logps=leaf)).sum() / BATCH).backward()
    close([leaf.grad], [slope.logps[:2]])
    alone = poz.dapo(part)  # TRL's `bnpo`: a token weighs one over those of the micro-batch
    off = mask.sum().item() / BATCH * 2 / mask[:2].sum().item()
    close([alone], [losses[:2] * off])
    assert abs(off - 1) > 0.1


@pytest.mark.parametrize("library", ["numpy", "jax"])
def test_counts_serve_every_library(library):
    xp = pytest.importorskip("numpy" if library == "numpy" else "jax.numpy")
    mask = np.array([[1, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]])
    rng = np.random.default_rng(0)
    given = [xp.asarray(x) for x in (mask, rng.normal(-1, 0.3, (3, 4)), rng.normal(size=3))]

    def loss(mask, logps, advantages):
        total = 0.0
        for ending in ({"aggregation": "token_mean"}, {"count_empty": False}):
            objective = poz.reinforce.bind(**ending).within(poz.Counts.of(mask))
            parts = [
                poz.Rollouts(logps[i : i + 1], mask=mask[i : i + 1] > 0, advantages=advantages[i : i + 1])
                for i in range(3)
            ]
            total = total + sum(objective(part) for part in parts)
        return total / 3

    made = pytest.importorskip("jax").jit(loss)(*given) if library == "jax" else loss(*given)
    sums = (mask * np.asarray(given[1])).sum(1) * -np.asarray(given[2])
    # over 4 tokens, and over 2 completions; JAX computes in float32
    np.testing.assert_allclose(made, [sums.sum() / 4 + sums.sum() / 2], rtol=1e-12 if library == "numpy" else 1e-6)


def test_counts_that_cannot_be_read_are_divided_exactly():
    """As on a GPU; torch divides integers in float32."""
    mask = torch.ones(1, 3, 7, dtype=torch.int64)
    third = torch.func.vmap(lambda x: poz.dapo.within(poz.Counts.of(x) + poz.Counts(0, 1, 0)).values["length"])(mask)
    assert third.item() == 22 / 3
    assert poz.dapo.within(poz.Counts(*torch.tensor([3, 22, 0]))).values["length"] == 22 / 3


def test_a_sum_of_objectives_is_served_as_its_parts_are():
    _, hidden, weight, targets, fields = problem("dapo", 0)
    both = poz.combine([(poz.dapo, 1.0), (poz.reinforce.bind(count_empty=False, entropy_weight=0.1), 0.5)])
    given = {name: fields[name] for name in ("advantages", "old_logps")}
    _, losses = dense(both, hidden, weight, targets, given)
    whole = poz.Counts.of(targets != -100)
    made = [
        fused_objective(both, hidden[i], weight, targets[i], fields={k: x[i] for k, x in given.items()}, whole=whole)
        for i in PARTS
    ]
    close([torch.cat([one.losses for one in made])], [losses])


def call(objective=poz.dapo, shape=(3, 4), **more):
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(*shape, 8, generator=generator), torch.randn(17, 8, generator=generator)
    targets = torch.randint(0, 17, shape, generator=generator)
    return fused_objective(objective, hidden, weight, targets, **{"fields": {"advantages": torch.ones(3)}, **more})


MORE = {"advantages": torch.ones(3), "old_logps": torch.zeros(3, 4)}
ENTROPY = {"entropy": torch.ones(3, 4)}
PAIRS = (2, 3, 4)
REFERENCE = {"ref_chosen": torch.zeros(3), "ref_rejected": torch.zeros(3)}


LOOP = "cannot be computed inside the loop"
TOO_FEW = "must count this part too; got"


@pytest.mark.parametrize(("make", "error", "sentence"), [
    *[(lambda x=name: call(poz.zoo[x]), ValueError, f"`{name}` {LOOP}: it is defined over.*torch.linear") for name in UNCOUNTED],
    (lambda: call(poz.combine([(poz.dapo, 1.0), (poz.kl_cov, 0.1)])), ValueError, LOOP),
    (lambda: call(shape=(2, 3, 4)), ValueError, r"`dapo` needs `targets` of shape \(B, T\); got \(2, 3, 4\)"),
    (lambda: call(poz.dpo, fields=REFERENCE), ValueError, r"`dpo` needs `targets` of shape \(2, B, T\), chosen then"),
    (lambda: call(fields={**MORE, "mask": torch.ones(3, 4) > 0}), TypeError, "must not hold mask, which is made from"),
    (lambda: call(fields={**MORE, "old_logps": torch.zeros(3, 5)}), ValueError, r"old_logps of shape \(3, 5\), which does not"),
    (lambda: call(fields={**MORE, **ENTROPY}), TypeError, "`dapo` does not read entropy"),
    (lambda: call(poz.dapo.bind(entropy_weight=0.1), fields={**MORE, **ENTROPY}), TypeError, "must not hold entropy"),
    (lambda: call(fields={}), ValueError, "reads advantages, which is missing"),
    (lambda: call(whole=(3, 12, 0)), TypeError, r"`whole` must be what a batch counts.*Counts.of\(mask\).*got \(3, 12, 0\)"),
    (lambda: call(whole=poz.Counts(2, 12, 0)), ValueError, f"{TOO_FEW} completions=2, and `targets` alone have 3"),
    (lambda: call(whole=poz.Counts(9, 11, 0)), ValueError, f"{TOO_FEW} tokens=11, and `targets` alone have 12"),
    (lambda: call(whole=poz.Counts(30, 12, 0)), ValueError, "each other has a token; got .*completions=30, tokens=12"),
    (lambda: call(poz.dpo, PAIRS, fields=REFERENCE, whole=poz.Counts(6, 24, 0)), ValueError, "`whole` counts compl.*poz.Pairs"),
    (lambda: poz.kl_cov.within(poz.Counts(3, 12, 0)), ValueError, "`kl_cov` is defined over the whole batch .*whole_batch"),
    (lambda: poz.aot.within(poz.Counts(3, 12, 0)), ValueError, "`aot` is defined over the whole batch .*poz.torch.slopes"),
    (lambda: poz.dapo.within(12), TypeError, r"as poz.Counts.of\(mask\) gives it; got 12"),
    (lambda: poz.Counts.of(torch.ones(3, 4)), TypeError, "must be boolean, or integers, 0 and 1; got torch.float32"),
    (lambda: poz.Counts.of(np.ones(3) > 0), ValueError, r"must be \(batch, tokens\).*got \(3,\)"),
    (lambda: operator.add(poz.Counts(3, 12, 0), (1, 2, 3)), TypeError, "unsupported operand"),
])  # fmt: skip
def test_is_refused_in_a_sentence(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


def test_no_tokens_and_no_completions_are_a_loss_of_zero():
    for shape in ((3, 0), (0, 4)):
        advantages = torch.ones(shape[0])
        for objective in (poz.dapo.bind(entropy_weight=0.1), poz.grpo.bind(count_empty=False, kl_weight=0)):
            made = call(objective, shape, fields={"advantages": advantages})
            assert made.loss == 0
            assert made.logps.shape == shape
