"""Laws: one law, one test, over every objective that obeys it, with drawn inputs and hyper-parameters."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from together import together

import poz
from poz.domains import Real
from poz.families import SHAPES
from poz.kernels.plan import plan
from poz.testing import draw_batch, draw_case
from poz.testing.answers import reference
from poz.testing.runners import log_prob_fields
from poz.testing.strategies import cases

# Ten roundings of float64, relative to the largest log-prob or loss involved.
CLOSE = 1e-14 * 10
LIMITS = [(name, limit) for name, spec in poz.zoo.items() for limit in spec.reduces_to]
MARGIN_ONLY = ["dpo", "ipo", "inpo", "mnpo", "vpo"]  # with sums: a function of chosen - rejected under each policy


def separate(objective):
    """No example has a say in another's loss; the KL samples of unpaired objectives are none of the examples."""
    return not objective.coupled or objective.family is poz.Unpaired


SEPARATE = [name for name, spec in poz.zoo.items() if separate(spec)]


def close(actual, expected, size=1.0):
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=CLOSE * size)


def largest(batch):
    return max(np.abs(x).max(initial=1) for x in batch if x is not None and x.dtype.kind == "f")


def examples(batch):
    """How many there are: the first field that is there is of the examples."""
    return len(next(x for x in batch if x is not None))


def bound_sums(case):
    sums = {"length_normalized": False} if "length_normalized" in case.objective.params else {}
    return case.objective.bind(**sums)


@pytest.mark.parametrize(("name", "limit"), LIMITS, ids=[f"{name}-{limit.to}" for name, limit in LIMITS])
@given(data=st.data())
def test_a_limit_is_the_other_objective(name, limit, data):
    case = data.draw(cases(poz.zoo[name], widest=100.0))
    values = dict(case.objective.values)
    this = poz.zoo[name].bind(**limit.when(values))
    other = poz.zoo[limit.to].bind(**limit.then(values))
    # The same seed gives lists of one length, from which either takes what it lacks.
    batch, needed = (draw_batch(o, np.random.default_rng(examples(case.batch)), 6, 100.0) for o in (this, other))
    if type(batch) is type(needed):
        batch = type(batch)(*[x if x is not None else y for x, y in zip(batch, needed, strict=True)])
    ours, theirs = limit.batch(batch)
    close(this(ours), other(theirs), size=largest(batch) ** 2)


@pytest.mark.parametrize("name", SEPARATE)
@given(data=st.data())
def test_one_loss_per_example_whatever_the_others(name, data):
    """Splitting or permuting a batch splits or permutes the losses: nothing leaks between examples."""
    case = data.draw(cases(poz.zoo[name]).filter(lambda case: separate(case.objective)))
    losses = case.objective(case.batch)
    assert losses.shape == (examples(case.batch),)

    def pick(index):
        axis = {f: dims.find("b") for f, (dims, _) in SHAPES[type(case.batch)].items()}
        return type(case.batch)(
            *[x if x is None or axis[f] < 0 else np.take(x, index, axis[f]) for f, x in case.batch._asdict().items()]
        )

    backwards = np.arange(len(losses))[::-1]
    np.testing.assert_array_equal(case.objective(pick(backwards)), losses[::-1])
    if len(losses) > 1:
        np.testing.assert_array_equal(case.objective(pick(backwards[:1])), losses[-1:])


@pytest.mark.parametrize("name", SEPARATE)
@given(data=st.data())
def test_an_example_needs_no_batch_dimension(name, data):
    """As under vmap: every axis is counted from the last one."""
    case = data.draw(cases(poz.zoo[name]).filter(lambda case: separate(case.objective)))
    axis = {f: dims.find("b") for f, (dims, _) in SHAPES[type(case.batch)].items()}
    fields = {f: x for f, x in case.batch._asdict().items() if x is not None}
    last = type(case.batch)(**{f: x if axis[f] < 0 else np.take(x, -1, axis[f]) for f, x in fields.items()})
    np.testing.assert_array_equal(case.objective(last), case.objective(case.batch)[-1])


@pytest.mark.parametrize("name", MARGIN_ONLY)
@given(data=st.data(), shift=st.floats(-50, 50))
def test_a_constant_on_both_sides_changes_nothing(name, data, shift):
    case = data.draw(cases(poz.zoo[name], widest=100.0))
    this = bound_sums(case)
    moved = case.batch._replace(chosen=case.batch.chosen + shift, rejected=case.batch.rejected + shift)
    close(this(moved), this(case.batch), size=largest(case.batch) ** 2)


@pytest.mark.parametrize("name", ["dpo", "ipo", "vpo"])
@given(data=st.data())
def test_only_the_log_ratio_counts(name, data):
    """Adding any vector to policy and reference of a side changes nothing."""
    case = data.draw(cases(poz.zoo[name], widest=100.0))
    this, b = bound_sums(case), case.batch
    shift = np.linspace(-30, 30, len(b.chosen))
    moved = b._replace(chosen=b.chosen + shift, ref_chosen=b.ref_chosen + shift)
    close(this(moved), this(b), size=largest(b) ** 2)


@pytest.mark.parametrize("name", MARGIN_ONLY)
@given(data=st.data())
def test_gradients_of_the_two_sides_cancel(name, data):
    case = data.draw(cases(poz.zoo[name], widest=100.0))
    this = bound_sums(case)
    given_ = {f: torch.tensor(x) for f, x in case.batch._asdict().items() if x is not None}
    sides = [given_[s].requires_grad_() for s in ("chosen", "rejected")]
    slopes = torch.autograd.grad(this(type(case.batch)(**given_)).sum(), sides)
    np.testing.assert_array_equal(slopes[0], -slopes[1])


@pytest.mark.parametrize("name", [n for n, o in poz.zoo.items() if {"mask", "chosen_mask"} & o.optional])
@given(data=st.data())
def test_what_is_masked_does_not_count(name, data):
    """Whatever stands at masked places, NaN too; nor does more padding."""
    case = data.draw(cases(poz.zoo[name]))
    fields = {f: x for f, x in case.batch._asdict().items() if x is not None}
    masks = {"mask": "bk", "chosen_mask": "bt", "rejected_mask": "bu"}
    expected = case.objective(case.batch)
    for mask in [m for m in masks if m in fields]:
        valid = fields[mask]
        same = [
            f
            for f in fields
            if SHAPES[type(case.batch)][f] != ("b", "number") and SHAPES[type(case.batch)][f][0] == masks[mask]
        ]
        for f in same:
            x = fields[f]
            filler = np.nan if x.dtype.kind == "f" else 0
            x = np.where(valid, x, filler) if x.dtype.kind == "f" else x
            fields[f] = np.concatenate([x, np.full((len(x), 2), filler, x.dtype)], -1)
    close(case.objective(type(case.batch)(**fields)), expected)


@pytest.mark.parametrize("name", [n for n, o in poz.zoo.items() if {"mask", "chosen_mask"} & o.optional])
def test_masked_places_get_no_gradient(name):
    rng = np.random.default_rng(11)
    case = draw_case(poz.zoo[name], rng, 6, 30.0)
    while not {"mask", "chosen_mask"} & {f for f, x in case.batch._asdict().items() if x is not None}:
        case = draw_case(poz.zoo[name], rng, 6, 30.0)
    first, mask = ("logps", "mask") if "mask" in case.objective.optional else ("chosen", "chosen_mask")
    fields = {f: torch.tensor(x) for f, x in case.batch._asdict().items() if x is not None}
    fields[first] = torch.where(fields[mask], fields[first], torch.nan).requires_grad_()
    (slope,) = torch.autograd.grad(case.objective(type(case.batch)(**fields)).sum(), fields[first])
    assert torch.isfinite(slope).all()
    assert (slope[~fields[mask]] == 0).all()


LOGISTIC = {
    "dpo": (poz.dpo.bind(beta=0.5), lambda z: poz.Pairs(2 * z, 0 * z, 0 * z, 0 * z)),
    "simpo": (poz.simpo.bind(beta=1.0, gamma=0.0), lambda z: poz.Pairs(z, 0 * z, None, None, z * 0 + 1, z * 0 + 1)),
    "vpo": (
        poz.vpo.bind(beta=1.0, alpha=0.0),
        lambda z: poz.Pairs(z, *[0 * z] * 3, calibration=0 * z, ref_calibration=0 * z),
    ),
    "mnpo": (
        poz.mnpo.bind(tau=0.0, distance="backward_kl", target="hard"),
        lambda z: poz.Pairs(z, 0 * z, opponents_chosen=0 * z[None], opponents_rejected=0 * z[None]),
    ),
    "lcpo": (poz.lcpo.bind(base=poz.dpo.bind(beta=1.0), reliability=1 - 1e-4), lambda z: poz.Pairs(z, *[0 * z] * 3)),
    "cpl": (poz.cpl.bind(alpha=1.0, bias=1.0), lambda z: poz.TokenPairs(z[:, None], 0 * z[:, None])),
    "cpl_ranking": (
        poz.cpl_ranking.bind(alpha=1.0, bias=1.0),
        lambda z: poz.Ranked(np.stack([z, 0 * z], 1), scores=np.stack([1 + 0 * z, 0 * z], 1)),
    ),
    "pro": (
        poz.pro.bind(sft_weight=0.0),
        lambda z: poz.Ranked(np.stack([z, 0 * z], 1), None, np.ones((len(z), 2)), np.stack([1 + 0 * z, 0 * z], 1)),
    ),
}


@pytest.mark.parametrize("name", LOGISTIC)
def test_the_logistic_tail_keeps_its_relative_accuracy(name):
    """-log sigmoid(z) = log1p(exp(-z)): exact at z = 700 too, where log(1 + exp(-z)) has long been 0."""
    this, build = LOGISTIC[name]
    z = np.array([-700.0, -40.0, -1.0, 0.0, 1.0, 40.0, 700.0])
    expected = np.array([math.log1p(math.exp(-v)) if v > 0 else -v + math.log1p(math.exp(v)) for v in z])
    if name == "lcpo":  # its posterior has a share of flipped labels of at most e^-z 1e-4
        np.testing.assert_allclose(this(build(z))[3:4], expected[3:4], rtol=1e-12)
        assert (np.diff(this(build(z))[3:]) < 0).all()
        assert this(build(z))[-1] > 0
        return
    np.testing.assert_allclose(this(build(z)), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["dpo", "simpo", "vpo", "mnpo", "cpl"])
def test_an_impossible_completion_has_the_loss_of_the_limit(name):
    """A rejected one costs nothing, a chosen one everything; no term is 0 * inf."""
    this, build = LOGISTIC[name]
    batch = build(np.ones(2))
    never = np.array([-np.inf, 0.0]).reshape(batch.chosen.shape)
    np.testing.assert_array_equal(this(batch._replace(chosen=never[::-1], rejected=never)), [0.0, np.inf])


def answer(backend, objective, batch, fields):
    """Losses, and gradients of their sum; NumPy has none."""
    given_ = {f: x for f, x in batch._asdict().items() if x is not None}
    if backend == "numpy":
        with np.errstate(all="ignore"):
            return objective(batch), {}
    if backend == "torch":
        tensors = {f: torch.tensor(x, requires_grad=f in fields) for f, x in given_.items()}
        losses = objective(type(batch)(**tensors))
        slopes = torch.autograd.grad(losses.sum(), [tensors[f] for f in fields], materialize_grads=True)
        return losses.detach().numpy(), {f: slope.numpy() for f, slope in zip(fields, slopes, strict=True)}
    with jax.enable_x64(True):
        arrays = {f: jnp.asarray(x) for f, x in given_.items()}
        return jitted(objective, type(batch))({f: arrays.pop(f) for f in fields}, arrays)


@functools.lru_cache(1)
def jitted(objective, family):
    """One program of JAX for all batches of an objective, left much as it is traced: compiling it takes the time here."""

    def both(moving, rest):
        losses, back = jax.vjp(lambda some: objective(family(**rest, **some)), moving)
        return losses, back(jnp.ones_like(losses))[0]

    return jax.jit(both, compiler_options={"xla_cpu_use_fusion_emitters": False})


SEEDS = {"numpy": 6, "torch": 6, "jax": 1}
"""JAX compiles, ten times the cost."""
SETTLED = ("dpo", "ipo", "simpo", "pro", "cpl", "cpl_ranking", "vpo", "inpo", "mnpo")
"""Where the reference takes the limit too; elsewhere it may be NaN, and the law of limits below decides."""


def kinds(x):
    """NaN stays NaN, an infinity its sign, and anything finite becomes 0."""
    return np.where(np.isfinite(x), 0.0, x)


@pytest.mark.parametrize("backend", SEEDS)
@pytest.mark.parametrize("name", SEPARATE)
@together("seed", lambda backend, **_: range(SEEDS[backend]))
def test_an_impossible_or_unknown_log_prob_means_what_the_reference_says(name, seed, backend):
    """Minus infinity gives the limit of the loss (or NaN, see `SETTLED`), NaN gives NaN; either stays in its example.

    Calibration samples belong to all examples alike.
    """
    objective, batch = draw_case(poz.zoo[name], np.random.default_rng(seed), 5, 30.0)
    fields = log_prob_fields(objective, batch)
    axis = {f: SHAPES[type(batch)][f][0].find("b") for f in fields}  # -1: calibration
    clean_losses, clean_slopes = answer(backend, objective, batch, fields)
    others = np.arange(5) != 2
    for field in fields:
        for poison in [value for value in (-np.inf, np.nan) if not refused(objective, field, value)]:
            bad = getattr(batch, field).copy()
            spot = bad if axis[field] < 0 else bad[(slice(None),) * axis[field] + (slice(2, 3),)]
            spot.flat[seed % spot.size] = poison
            poisoned = batch._replace(**{field: bad})
            expected = reference(objective, poisoned)[0]
            losses, slopes = answer(backend, objective, poisoned, fields)
            what = f"{objective}: {field} {poison}"
            if name not in SETTLED and poison == -np.inf:  # terms may compete, in one order of operations or the other
                unknown = np.isnan(losses) | np.isnan(expected)
                losses, expected = np.where(unknown, np.nan, losses), np.where(unknown, np.nan, expected)
            finite = np.isfinite(expected)
            np.testing.assert_array_equal(kinds(losses), kinds(expected), err_msg=what)
            np.testing.assert_allclose(losses[finite], expected[finite], rtol=1e-9, atol=1e-9, err_msg=what)
            steady = all(np.isfinite(slope).all() for slope in slopes.values())
            assert steady or not finite.all() or name not in SETTLED, what
            if axis[field] < 0:
                continue
            np.testing.assert_array_equal(losses[others], clean_losses[others], err_msg=what)
            for other in [f for f in slopes if axis[f] >= 0]:
                found, clean = (np.compress(others, s[other], axis[other]) for s in (slopes, clean_slopes))
                np.testing.assert_array_equal(found, clean, err_msg=what)


COMPETING = {
    "cpl": "log-probs of plus infinity: both orders, and cloning",
    "nash_md": "charges of all tokens, and their differences",
    "exo_k": "softmax of an infinite logit",
    "info_nca": "softmax of an infinite logit",
    "ddo_rm": "softmax of an infinite logit",
    "cpo": "a smoothed loss that rises with chosen beside an NLL that falls",
    "orpo": "log of the negative probability that is left beside one above 1",
    "beta_dpo": "an infinite β",
    "amapo": "an infinite mean and spread",
    "alpha_dpo": "an infinite mean and spread, or a margin and its target",
    "gamma_po": "an infinite mean",
    "reward_partition": "references of several completions",
    "lcpo": "both orders",
    "gpm": "an embedding, and a 0 that it is multiplied with",
    "reward_contrastive": "an embedding without a direction",
}
"""Where infinities may meet, in which case the loss is NaN; all others have the limit, whatever is infinite."""


def competing(objective):
    """Whether infinities may meet: a loss on rollouts does so with its KL, its corrections and its penalties."""
    values = objective.values
    if objective.family is poz.Rollouts:
        own = objective.name in ("dro", "kl_cov", "a2po", "gvpo", "vespo")
        return own or values["kl_weight"] or values["correction"] != "none"
    return objective.name in COMPETING


SIGNS = {"orpo": (-1,), "simper": (-1,)}
"""Which infinities there are where both are not: none above a probability of 1; squared errors are positive."""


def refused(objective, field, value):
    """Numbers below 0 in what is a scale; any other output of a model may be anything."""
    return (objective.name, field) == ("gpm", "scales") and value < 0


def put(batch, field, example, value, which):
    """The batch with one entry of one example replaced; of a field that all examples share, that one."""
    x, at = getattr(batch, field).copy(), SHAPES[type(batch)][field][0].find("b")
    spot = x if at < 0 else x[(slice(None),) * at + (slice(example, example + 1),)]
    spot.flat[which % spot.size] = value
    return batch._replace(**{field: x})


def rows(slope, family, field, keep):
    """The slopes of the kept examples; of what all share, if all are kept."""
    at = SHAPES[family][field][0].find("b")
    return (slope if keep.all() else slope[:0]) if at < 0 else np.compress(keep, slope, at)


def check_limits(objective, batch, backend, seed):
    """One log-prob at a time infinite, against the loss and the slope at 1e60 and 1e100 nats.

    There a finite limit is reached to the last digit, so what is left is rounding, and another backend's.
    """
    fields, inner = log_prob_fields(objective, batch), objective.values.get("base", objective)
    for field in fields:
        signs = SIGNS.get(inner.name, (1,) if objective.family is poz.Denoising else (-1, 1))
        for sign in [sign for sign in signs if not refused(objective, field, sign)]:
            what = f"{objective}: {field} {sign * np.inf}"
            losses, slopes = answer(backend, objective, put(batch, field, 2, sign * np.inf, seed), fields)
            far, farther = (put(batch, field, 2, sign * size, seed) for size in (1e60, 1e100))
            near, there = answer("numpy", objective, far, fields)[0], answer("numpy", objective, farther, fields)[0]
            grown = np.abs(there) > 1e20 * np.maximum(np.abs(near), 1)
            with np.errstate(invalid="ignore"):
                apart = there - near  # NaN where both are infinite
            grown |= np.isclose(apart, 40 * np.log(10))  # as a logarithm does
            same = (near == there) | (np.abs(apart) < 1e-50)
            limit = np.where(grown, np.copysign(np.inf, there), np.where(same, there, np.nan))
            known = ~np.isnan(losses)
            assert competing(objective) or known.all(), what
            np.testing.assert_allclose(losses[known], limit[known], rtol=1e-12, atol=1e-12, err_msg=what)
            # The slope of an infinite loss may be NaN, and is everybody's where the batch is coupled.
            finite = np.isfinite(losses) & (not objective.coupled or np.isfinite(losses).all())
            # A weight of 0 does not help beside an infinite slope, of a square or `lcpo`'s base, nor an embedding of `gpm`.
            if slopes and objective.name not in ("lcpo", "gpm", "dro", "a2po"):
                expected = answer("torch", objective, farther, fields)[1]
                for f in fields:
                    wanted = np.asarray(expected[f])
                    if objective.family is poz.Rollouts and f == field:  # an infinite one that is its own old one
                        own = (getattr(far, f) != getattr(batch, f)) & (np.asarray(slopes[f]) == 0)
                        wanted = np.where(own, 0, wanted)
                    found, wanted = (rows(x, type(batch), f, finite) for x in (np.asarray(slopes[f]), wanted))
                    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12, err_msg=f"{what}, slope of {f}")


@pytest.mark.parametrize("backend", SEEDS)
@pytest.mark.parametrize("name", poz.zoo)
@together("seed", lambda backend, **_: range(4 if backend == "torch" else 1))
def test_an_infinite_log_prob_has_the_loss_and_the_slope_of_the_limit(name, backend, seed):
    check_limits(*draw_case(poz.zoo[name], np.random.default_rng(seed), 5, 30.0), backend, seed)


ZEROS = [
    (name, param)
    for name, spec in poz.zoo.items()
    for param, given_ in spec.params.items()
    if isinstance(given_.domain, Real) and given_.domain.problem(0.0) is None
]


@pytest.mark.parametrize(("name", "param"), ZEROS)
@together("seed", range(2))
def test_a_factor_of_zero_removes_an_infinity(name, param, seed):
    objective = poz.zoo[name].bind(**{param: 0.0})
    batch = draw_batch(objective, np.random.default_rng(seed), 5, 30.0)
    check_limits(objective, batch, "torch", seed)
    if objective.name == "lcpo":
        return  # its base is asked in another way
    # The same for a 0 that is an array, which no branch of Python sees; a plain 0 may leave fields unread.
    zero, fields = objective.bind(**{param: torch.tensor(0.0, dtype=torch.float64)}), log_prob_fields(objective, batch)
    for field in fields if zero.reads == objective.reads else ():
        there = put(batch, field, 2, -np.inf, seed)
        plain, traced = (answer("torch", this, there, fields) for this in (objective, zero))
        finite = np.isfinite(plain[0]) & (not objective.coupled or np.isfinite(plain[0]).all())
        np.testing.assert_allclose(traced[0][finite], plain[0][finite], rtol=1e-12, err_msg=field)
        for f in fields:
            found, wanted = (rows(s[f], type(batch), f, finite) for _, s in (traced, plain))
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12, err_msg=f"{field}, slope of {f}")


@pytest.mark.parametrize("name", [n for n in poz.zoo if n not in ("aot", "aot_unpaired")])  # NaN is sorted last there
@together("seed", range(4))
def test_what_an_unknown_log_prob_has_a_say_in_is_unknown(name, seed):
    """A loss that moves with a log-prob is NaN where that is NaN; the other losses keep their values or are NaN."""
    objective, batch = draw_case(poz.zoo[name], np.random.default_rng(seed), 5, 30.0)
    for field in log_prob_fields(objective, batch):
        values = (0.3, 9.0, np.nan) if refused(objective, field, -9.0) else (-9.0, -0.3, np.nan)
        low, high, losses = (answer("numpy", objective, put(batch, field, 2, value, seed), [])[0] for value in values)
        assert np.isnan(losses[low != high]).all(), f"{objective}: {field}"
        kept = ~np.isnan(losses)
        np.testing.assert_array_equal(losses[kept], low[kept], err_msg=f"{objective}: {field}")


@pytest.mark.parametrize("name", ["dpo", "simpo", "vpo", "mnpo", "cpl", "cpl_ranking", "pro"])
def test_the_logistic_loss_falls_and_is_convex(name):
    this, build = LOGISTIC[name]
    losses = this(build(np.linspace(-30, 30, 241)))
    assert (np.diff(losses) < 0).all()
    # Second differences of the exact loss are at least 3e-15 here; rounding of numbers near 30 is 4e-15.
    assert (np.diff(losses, 2) > -1e-14).all()


@given(z=st.floats(-1e3, 1e3), eps=st.floats(0, 0.5))
def test_dpo_of_the_swapped_pair(z, eps):
    """DPO(-z) = DPO(z) + z; half smoothing is symmetric; smoothing is the mixture of the two orders."""
    pair = poz.Pairs(np.array([z]), *[np.zeros(1)] * 3)
    there, back = (poz.dpo(p, beta=1.0)[0] for p in (pair, pair.swap()))
    close(back, there + z, size=abs(z) + 1)
    close(poz.dpo(pair, beta=1.0, label_smoothing=0.5), poz.dpo(pair.swap(), beta=1.0, label_smoothing=0.5), abs(z) + 1)
    close(poz.dpo(pair, beta=1.0, label_smoothing=eps)[0], (1 - eps) * there + eps * back, abs(z) + 1)


@given(data=st.data(), name=st.sampled_from(["dpo", "ipo", "inpo", "mnpo", "simpo", "lcpo", "vpo"]))
def test_swapping_twice_is_nothing(data, name):
    case = data.draw(cases(poz.zoo[name]))
    for before, after in zip(case.batch, case.batch.swap().swap(), strict=True):
        if before is None:
            assert after is None
        else:
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", ["inpo", "mnpo"])
@given(data=st.data())
def test_without_tau_it_is_a_third_of_eta(name, data):
    case = data.draw(cases(poz.zoo[name], widest=100.0).filter(lambda case: case.batch.ref_chosen is not None))
    given_ = case.objective.bind(tau=case.objective.values["eta"] / 3)
    expected, slopes = reference(given_, case.batch)
    free = given_.bind(tau=None)
    np.testing.assert_array_equal(free(case.batch), given_(case.batch))
    close(reference(free, case.batch)[0], expected, size=largest(case.batch) ** 2)
    close(reference(free, case.batch)[1]["ref_chosen"], slopes["ref_chosen"], size=largest(case.batch) ** 2)
    anchors = 1 + len(case.batch.opponents_chosen)
    close(plan(free, anchors).weights, plan(given_, anchors).weights)


def test_mnpo_moves_tau_with_eta():
    """One opponent, so INPO, whose default has always moved; eta = 0.0075 has the released trainer's tau = 0.0025."""
    pairs = poz.Pairs(*np.array([[-3.0], [-5.0], [-4.0], [-6.5]]))
    pairs = pairs._replace(opponents_chosen=np.array([[-3.5]]), opponents_rejected=np.array([[-4.0]]))
    np.testing.assert_array_equal(poz.mnpo(pairs, eta=0.3), poz.inpo(pairs, eta=0.3))
    np.testing.assert_allclose(poz.mnpo(pairs), poz.mnpo(pairs, tau=0.0025), rtol=1e-14)
    assert poz.mnpo(pairs, eta=0.3) != poz.mnpo(pairs, eta=0.3, tau=0.0025)


@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0])
def test_at_the_reference_dpo_is_log_two(beta):
    same = np.linspace(-900, -1, 7)
    np.testing.assert_array_equal(poz.dpo(poz.Pairs(same, same[::-1], same, same[::-1]), beta=beta), math.log(2))


@given(data=st.data(), shift=st.floats(-5, 5))
def test_pro_ignores_a_shift_of_the_rewards(data, shift):
    case = data.draw(cases(poz.pro, widest=100.0))
    if case.batch.scores is not None:
        moved = case.batch._replace(scores=case.batch.scores + shift)
        np.testing.assert_allclose(case.objective(moved), case.objective(case.batch), rtol=1e-9, atol=1e-9)


@given(data=st.data(), shift=st.floats(0.01, 5))
def test_cpl_is_conservative_exactly_below_bias_one(data, shift):
    """Adding c to every log-prob: no change at λ = 1 and γ with equal weights, a lower loss at λ < 1."""
    case = data.draw(cases(poz.cpl, widest=20.0))
    tokens = poz.TokenPairs(*(x[:, :1] for x in (case.batch.chosen, case.batch.rejected)))
    moved = poz.TokenPairs(tokens.chosen + shift, tokens.rejected + shift)
    unbiased = case.objective.bind(bias=1.0, regularizer="none", bc_weight=0.0)
    close(unbiased(moved), unbiased(tokens), size=100)
    # Strictly: a label of 1 and a loss that is not rounded to a plain difference or to zero.
    biased = unbiased.bind(bias=0.5, alpha=0.5)
    assert (biased(moved) < biased(tokens)).all()


@pytest.mark.parametrize("base", ["dpo", "ipo", "simpo"])
def test_lcpo_posterior_is_the_reliability_where_nothing_is_known(base):
    """u = 0: the M-step loss is log 2 whatever η, and its slope that of label smoothing with ε = 1 - η."""
    pairs = poz.Pairs(*[torch.zeros(1, dtype=torch.float64) for _ in range(4)], torch.ones(1), torch.ones(1))
    spec = poz.zoo[base].bind(gamma=0.0) if base == "simpo" else poz.zoo[base]
    (slope_u,) = torch.autograd.grad(
        (lambda c: (spec(pairs._replace(chosen=c).swap()) - spec(pairs._replace(chosen=c))).sum())(
            c := pairs.chosen.clone().requires_grad_()
        ),
        c,
    )
    for eta in (0.2, 0.6, 0.9):
        chosen = pairs.chosen.clone().requires_grad_()
        loss = poz.lcpo(pairs._replace(chosen=chosen), base=spec, reliability=eta)
        assert loss.item() == pytest.approx(math.log(2), rel=1e-15)
        (slope,) = torch.autograd.grad(loss.sum(), chosen)
        assert slope.item() == pytest.approx((0.5 - eta) * slope_u.item(), rel=1e-12)
