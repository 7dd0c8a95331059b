"""LCPO-EM: reliabilities are recovered, the likelihood never falls, and state behaves the same in every library.

Source of all claims: Cao et al. 2025, arXiv 2509.24159 (RE-PO), and what follows from it.
"""

import copy
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import poz
from poz.algorithms import lcpo_em
from poz.jax import lcpo as jax_lcpo
from poz.torch import lcpo as torch_lcpo


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def expected_sums(u, annotator, mass, reliability):
    """The E-step over a population: each row counts with its mass."""
    w = lcpo_em.posterior(u, annotator, reliability)
    annotators = len(reliability)
    return lcpo_em.Sums(
        lcpo_em.sums(w * mass, annotator, annotators).total, lcpo_em.sums(mass, annotator, annotators).total
    )


def iterate(u, annotator, mass, start, steps):
    state = lcpo_em.init(len(start), start)
    for _ in range(steps):
        state = lcpo_em.update(state, expected_sums(u, annotator, mass, state.reliability), step_size=1.0)
    return state.reliability


def calibrated_population(true, copies):
    """Clean P(y1 > y2) ~ Beta(2, 2), the label flipped with 1 - true, the model's log-odds u of the order observed.

    Gauss-Legendre nodes integrate it to rounding. `copies` annotators see the same population.
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    clean = (nodes + 1) / 2
    density = weights / 2 * 6 * clean * (1 - clean)
    first = true * clean + (1 - true) * (1 - clean)
    u = np.concatenate([np.log(clean / (1 - clean)), np.log((1 - clean) / clean)])
    mass = np.concatenate([density * first, density * (1 - first)])
    return np.tile(u, copies), np.repeat(np.arange(copies), len(u)), np.tile(mass, copies)


def test_calibrated_model_identifies_the_reliability():
    # Theorem 4.1: with a calibrated model any eta_0 in (0, 1) converges to the true 0.73; and E[w | eta = 0.73] = 0.73.
    starts = [0.05, 0.3, 0.55, 0.9, 0.999]
    u, annotator, mass = calibrated_population(0.73, len(starts))
    np.testing.assert_allclose(iterate(u, annotator, mass, starts, 250), 0.73, rtol=1e-12)
    at_truth = expected_sums(u, annotator, mass, np.full(len(starts), 0.73))
    np.testing.assert_allclose(at_truth.count, 1, rtol=1e-13)
    np.testing.assert_allclose(at_truth.total, 0.73, rtol=1e-13)


def test_zero_and_one_are_absorbing_but_for_the_clamp():
    # The paper's map w = p eta / (p eta + (1 - p)(1 - eta)) stays at 0 and at 1; from there the clamped one gets away.
    u, annotator, mass = calibrated_population(0.73, 2)
    p = sigmoid(u)
    for stuck in (0.0, 1.0):
        w = p * stuck / (p * stuck + (1 - p) * (1 - stuck))
        assert np.sum(mass * w) / np.sum(mass) == pytest.approx(stuck, abs=1e-15)
    np.testing.assert_allclose(iterate(u, annotator, mass, [0.0, 1.0], 300), 0.73, rtol=1e-9)


def test_certain_and_ignorant_models():
    # p in {0, 1}: one full step finds the share of right labels. p = 1/2 throughout: eta never moves.
    u = np.array([800.0] * 7 + [-800.0] * 3)
    np.testing.assert_allclose(iterate(u, None, np.ones(10), [0.9], 1), [0.7], rtol=1e-12)
    np.testing.assert_allclose(iterate(np.zeros(10), None, np.ones(10), [0.64], 20), [0.64], rtol=1e-14)


REWARDS = np.array([0.0, 0.8, -0.6, 1.5])
RELIABILITIES = np.array([0.9, 0.65])
# Every ordered pair of four items, once for each of two annotators.
CHOSEN, REJECTED = np.array([(a, b) for _ in range(2) for a in range(4) for b in range(4) if a != b]).T
ANNOTATOR = np.repeat([0, 1], 12)
BASE = poz.dpo.bind(beta=1.0)


def label_shares(reliabilities=RELIABILITIES):
    """Probability of each row among the labels of its annotator, items drawn evenly and labels flipped with 1 - eta."""
    eta, clean = np.asarray(reliabilities)[ANNOTATOR], sigmoid(REWARDS[CHOSEN] - REWARDS[REJECTED])
    return (eta * clean + (1 - eta) * (1 - clean)) / 6


def bandit_em(mass, start, *, steps=16_000, step_size=1.0):
    """One gradient step of the policy and one update of the reliabilities per iteration; also every marginal NLL."""
    with jax.enable_x64(True):
        mass, annotator, zero = jnp.asarray(mass), jnp.asarray(ANNOTATOR), jnp.zeros(len(CHOSEN))

        def pairs(logits):
            return poz.Pairs(logits[CHOSEN], logits[REJECTED], zero, zero, annotator=annotator)

        def m_step_loss(logits, reliability):
            return jnp.sum(mass * poz.lcpo(pairs(logits), base=BASE, reliability=reliability))

        def iteration(carry, _):
            logits, state = carry
            u = BASE(pairs(logits).swap()) - BASE(pairs(logits))
            found = expected_sums(u, annotator, mass, state.reliability)
            slope = jax.grad(m_step_loss)(logits, state.reliability)
            eta = state.reliability[annotator]
            clean, flipped = jnp.log(eta) + jax.nn.log_sigmoid(u), jnp.log1p(-eta) + jax.nn.log_sigmoid(-u)
            nll = -jnp.sum(mass * jnp.logaddexp(clean, flipped))
            return (logits - 2 * slope, lcpo_em.update(state, found, step_size=step_size)), nll

        begin = (jnp.zeros(4), lcpo_em.init(2, start, like=zero))
        (logits, state), nlls = jax.jit(lambda c: jax.lax.scan(iteration, c, length=steps))(begin)
        return np.asarray(state.reliability), np.asarray(logits - logits[0]), np.asarray(nlls)


@pytest.fixture(scope="module")
def recovered():
    return bandit_em(label_shares(), 0.8)


def test_em_recovers_reliabilities_and_rewards(recovered):
    # Joint EM on a bandit of four items, exact population counts, annotators right in .9 and .65 of cases, eta_0 = .8.
    reliability, rewards, _ = recovered
    np.testing.assert_allclose(reliability, RELIABILITIES, atol=1e-7)
    np.testing.assert_allclose(rewards, REWARDS, atol=5e-7)


@pytest.mark.parametrize("step_size", [1.0, 0.1])
def test_em_never_raises_the_marginal_likelihood_loss(recovered, step_size):
    # EM: the marginal NLL over the full data never rises, for any EMA step in (0, 1]; to rounding of a sum near 1.3.
    nlls = recovered[2] if step_size == 1 else bandit_em(label_shares(), 0.8, steps=3000, step_size=step_size)[2]
    assert np.max(np.diff(nlls)) < 4e-15
    assert nlls[0] - nlls[-1] > 0.1


def standard_errors(labels):
    """Cramer-Rao bounds of the two reliabilities and three rewards, with `labels` labels of each annotator."""
    eta, gap = RELIABILITIES[ANNOTATOR], REWARDS[CHOSEN] - REWARDS[REJECTED]
    clean, shares = sigmoid(gap), 6 * label_shares()
    slope = (2 * eta - 1) * clean * (1 - clean)
    jacobian = np.stack(
        [(2 * clean - 1) * (k == ANNOTATOR) for k in range(2)]
        + [slope * ((k == CHOSEN) * 1.0 - (k == REJECTED)) for k in range(1, 4)]
    )
    # Both orders of a pair are rows and carry the information of one Bernoulli draw between them.
    information = labels / 6 * (jacobian / shares) @ jacobian.T
    return np.sqrt(np.diag(np.linalg.inv(information)))


def test_em_from_sampled_labels():
    # 30000 sampled labels of each annotator: within three standard errors, about .02 and .01 in eta and .05 to
    # .12 in the rewards, since scale and reliability trade off.
    generator = np.random.default_rng(0)
    counts = np.concatenate([generator.multinomial(30_000, label_shares()[k == ANNOTATOR]) for k in range(2)])
    reliability, rewards, _ = bandit_em(counts / 30_000, 0.8)
    errors = standard_errors(30_000)
    np.testing.assert_allclose(errors, [0.0211, 0.0095, 0.0653, 0.0536, 0.1178], atol=1e-4)
    off = np.concatenate([reliability - RELIABILITIES, (rewards - REWARDS)[1:]])
    assert np.all(np.abs(off) < 3 * errors)


def test_flipping_all_labels_of_an_annotator_flips_its_reliability(recovered):
    # The other annotator and the rewards do not notice; start the flipped one at 1 - eta_0.
    reliability, rewards, _ = bandit_em(label_shares([0.9, 1 - 0.65]), np.array([0.8, 1 - 0.8]))
    np.testing.assert_allclose(reliability, [recovered[0][0], 1 - recovered[0][1]], atol=1e-10)
    np.testing.assert_allclose(rewards, recovered[1], atol=1e-10)


def test_opposite_start_finds_the_mirror_image(recovered):
    # (theta, eta) -> (-theta, 1 - eta) is a symmetry of the likelihood: from eta_0 < 1/2 EM ends in the mirror image.
    reliability, rewards, _ = bandit_em(label_shares(), 0.2)
    np.testing.assert_allclose(reliability, 1 - recovered[0], atol=1e-10)
    np.testing.assert_allclose(rewards, -recovered[1], atol=1e-10)


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(1)
    chosen, rejected, ref_chosen, ref_rejected = torch.randn(4, 40, generator=generator, dtype=torch.float64) * 4 - 20
    lengths = torch.randint(1, 30, (2, 40), generator=generator)
    annotator = torch.randint(0, 3, (40,), generator=generator)
    return poz.Pairs(
        chosen.requires_grad_(),
        rejected.requires_grad_(),
        ref_chosen,
        ref_rejected,
        chosen_len=lengths[0],
        rejected_len=lengths[1],
        annotator=annotator,
    )


BASES = [poz.dpo.bind(beta=0.3), poz.ipo.bind(tau=0.8), poz.simpo.bind(beta=2.5, gamma=1.0)]


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.name)
def test_gibbs_gradient_is_that_of_the_marginal_likelihood(base, drawn):
    # Fisher's identity: the slope of the M-step loss, w held, is that of -log(eta p + (1 - eta)(1 - p)), for any base.
    reliability = torch.tensor([0.9, 0.6, 0.2], dtype=torch.float64)
    losses = poz.lcpo(drawn, base=base, reliability=reliability)
    u, eta = base(drawn.swap()) - base(drawn), reliability[drawn.annotator]
    log_p, log_q = torch.nn.functional.logsigmoid(u), torch.nn.functional.logsigmoid(-u)
    marginal = -torch.logaddexp(eta.log() + log_p, (1 - eta).log() + log_q)
    ours, theirs = (torch.autograd.grad(x.sum(), [drawn.chosen, drawn.rejected]) for x in (losses, marginal))
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-15)


def hand_worked():
    # DPO, beta = .1, h = (10, -5, -20), annotators (0, 1, 0): u = (1, -.5, -2).
    return poz.Pairs(np.array([10.0, -5.0, -20.0]), *np.zeros((3, 3)), annotator=np.array([0, 1, 0]))


def test_nan_in_one_pair_touches_no_reliability():
    sums = lcpo_em.sums(np.array([np.nan, 0.25, 0.75]), np.array([0, 0, 1]), 2)
    np.testing.assert_array_equal(sums, [[0.25, 0.75], [1, 1]])


def test_update_by_hand():
    # eta = (.9, .6): w = (.9607.., .4763.., .5491..); EMA with 0.1 and the full M-step, in 12 digits.
    state = lcpo_em.init(2, [0.9, 0.6])
    losses, found = lcpo_em.losses_and_sums(hand_worked(), state.reliability, base=poz.dpo.bind(beta=0.1))
    assert losses.mean() == pytest.approx(0.763340931215, abs=5e-13)
    np.testing.assert_array_equal(found.count, [2, 1])
    np.testing.assert_allclose(found.total, [0.960729699450 + 0.549146939621, 0.476383862223], atol=2e-12)
    moved = lcpo_em.update(state, found)
    np.testing.assert_allclose(moved.reliability, [0.885493831954, 0.587638386222], atol=5e-13)
    full = lcpo_em.update(state, found, step_size=1.0)
    np.testing.assert_allclose(full.reliability, [0.754938319535, 0.476383862223], atol=5e-13)


def test_absent_annotators_stay_and_micro_batches_add_up():
    state = lcpo_em.init(4, [0.9, 0.8, 0.7, 0.6])
    w, annotator = np.array([0.2, 0.4, 0.7, 1.0]), np.array([0, 2, 0, 2])
    whole = lcpo_em.update(state, lcpo_em.sums(w, annotator, 4), step_size=0.5)
    np.testing.assert_allclose(whole.reliability, [0.675, 0.8, 0.7, 0.6], rtol=1e-14)
    pieces = state
    for k in range(4):
        pieces = lcpo_em.accumulate(pieces, lcpo_em.sums(w[k : k + 1], annotator[k : k + 1], 4))
    pieces = lcpo_em.update(pieces, pieces.sums, step_size=0.5)
    np.testing.assert_allclose(pieces.reliability, whole.reliability, rtol=1e-15)
    np.testing.assert_array_equal(pieces.sums, 0)
    # Two updates in place of one act like 1 - (1 - a)^2 and weigh the later labels more: .625 for annotator 0.
    twice = lcpo_em.update(state, lcpo_em.sums(w[:2], annotator[:2], 4), step_size=0.5)
    twice = lcpo_em.update(twice, lcpo_em.sums(w[2:], annotator[2:], 4), step_size=0.5)
    np.testing.assert_allclose(twice.reliability[0], 0.625, rtol=1e-14)


@pytest.fixture
def losses():
    return torch_lcpo.LCPO(poz.dpo.bind(beta=0.3), 3, reliability=[0.9, 0.7, 0.6])


def test_torch_module_updates_once_per_optimiser_step(losses, drawn):
    # Whatever the split into micro-batches; the update is the functional one, and only `step` moves the reliabilities.
    halves = copy.deepcopy(losses)
    optimiser = torch.optim.SGD([drawn.chosen], lr=0.0)
    handle = losses.attach(optimiser)
    losses(drawn).mean().backward()
    torch.testing.assert_close(losses.reliability, torch.tensor([0.9, 0.7, 0.6]))
    optimiser.step()
    for part in (slice(0, 7), slice(7, 40)):
        halves(poz.Pairs(*(None if x is None else x[part] for x in drawn)))
    halves.step()
    torch.testing.assert_close(losses.reliability, halves.reliability, rtol=1e-6, atol=0)
    state = lcpo_em.init(3, [0.9, 0.7, 0.6], like=torch.zeros(0, dtype=torch.float64))
    _, found = lcpo_em.losses_and_sums(drawn, state.reliability, base=poz.dpo.bind(beta=0.3))
    expected = lcpo_em.update(state, found).reliability
    torch.testing.assert_close(losses.reliability, expected.float(), rtol=1e-6, atol=0)
    handle.remove()
    before = losses.reliability.clone()
    losses(drawn)
    optimiser.step()
    assert torch.equal(losses.reliability, before)


def test_torch_module_does_not_learn_in_evaluation(losses, drawn):
    losses.eval()
    losses(drawn)
    losses.train()
    with torch.no_grad():
        losses(drawn)
    losses.step()
    torch.testing.assert_close(losses.reliability, torch.tensor([0.9, 0.7, 0.6]))


def test_torch_module_is_checkpointed_and_stays_float32(losses, drawn):
    losses(drawn)
    losses.step()
    assert list(losses.state_dict()) == ["reliability"]
    other = torch_lcpo.LCPO(poz.dpo.bind(beta=0.3), 3)
    other.load_state_dict(losses.state_dict())
    assert torch.equal(other(drawn), losses(drawn))
    exact = losses.reliability.clone()
    losses.bfloat16()
    assert losses.reliability.dtype == torch.float32
    assert torch.equal(losses.reliability, exact)
    assert losses.to("meta").reliability.is_meta
    assert "num_annotators=3" in repr(other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_state_of_16_bit_log_probs_is_float32(dtype):
    state = lcpo_em.init(1, like=torch.zeros(2, dtype=dtype))
    # A 16-bit eta would stay where it is: steps of 1e-3 round away beside 0.9.
    assert state.reliability.dtype == torch.float32
    pairs = poz.Pairs(*[torch.tensor([-1.0, -1.0]).to(dtype)] * 4)
    for _ in range(3):
        before = state.reliability.clone()
        _, found = lcpo_em.losses_and_sums(pairs, state.reliability, base=poz.dpo)
        # At u = 0 the posterior is eta itself, so nothing moves; one wrong label of two moves it.
        state = lcpo_em.update(state, lcpo_em.Sums(found.total - 0.5, found.count), step_size=0.004)
        assert state.reliability < before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"base": poz.pro}, "needs a base on pairs; got `pro`"),
        ({"base": "dpo"}, "needs an objective on pairs"),
        ({"base": poz.lcpo}, "needs a base that takes labels at their word"),
        ({"mode": "x"}, "needs one of 'gibbs' | 'weighted' for mode; got 'x'"),
    ],
)
def test_torch_module_is_checked_when_it_is_made(arguments, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        torch_lcpo.LCPO(**arguments)


def test_torch_module_without_annotators(drawn):
    # One virtual annotator, no ids: the reliability of all labels together.
    losses = torch_lcpo.LCPO(poz.ipo.bind(tau=0.8), step_size=1.0)
    anonymous = drawn._replace(annotator=None)
    assert torch.equal(
        losses(anonymous), poz.lcpo(anonymous, base=poz.ipo.bind(tau=0.8), reliability=losses.reliability[0])
    )
    losses.step()
    u = poz.ipo(drawn.swap(), tau=0.8) - poz.ipo(drawn, tau=0.8)
    assert losses.reliability.item() == pytest.approx(torch.sigmoid(u + np.log(9)).mean().item(), rel=1e-6)


def test_jax_functions_under_jit_agree_with_numpy():
    state = jax_lcpo.init(2, [0.9, 0.6])
    pairs = poz.Pairs(*(None if x is None else jnp.asarray(x) for x in hand_worked()))

    @jax.jit
    def step(pairs, state, step_size):
        losses, found = jax_lcpo.losses_and_sums(pairs, state.reliability, base=poz.dpo.bind(beta=0.1))
        return losses.mean(), jax_lcpo.update(jax_lcpo.accumulate(state, found), found, step_size=step_size)

    mean, moved = step(pairs, state, 0.1)
    assert mean == pytest.approx(0.763340931215, rel=1e-6)
    np.testing.assert_allclose(moved.reliability, [0.885493831954, 0.587638386222], rtol=1e-6)
    np.testing.assert_array_equal(moved.sums, 0)


def test_jax_update_sums_over_a_mapped_axis():
    # All devices end with the reliabilities of the whole batch; `vmap` with a named axis stands for the devices.
    generator = np.random.default_rng(0)
    w, annotator = generator.uniform(size=(4, 8)).astype(np.float32), generator.integers(0, 3, (4, 8))
    state = jax_lcpo.init(3, 0.8)

    def device(w, annotator):
        return jax_lcpo.update(state, lcpo_em.sums(w, annotator, 3), step_size=0.3, axis_name="data").reliability

    each = jax.vmap(device, axis_name="data")(jnp.asarray(w), jnp.asarray(annotator))
    whole = lcpo_em.update(lcpo_em.init(3, 0.8), lcpo_em.sums(w.ravel(), annotator.ravel(), 3), step_size=0.3)
    np.testing.assert_allclose(each, np.tile(whole.reliability, (4, 1)), rtol=1e-6)


def arrays(library, values):
    return {"numpy": np.asarray, "torch": torch.as_tensor, "jax": jnp.asarray}[library](values)


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("bad", [[0, 2, 1], [0, -1, 1]])
def test_annotator_out_of_range(library, bad):
    w, ids = arrays(library, np.array([0.5, 0.5, 0.5], np.float32)), arrays(library, np.array(bad))
    with pytest.raises(ValueError, match=r"Annotator ids go from 0 to 1, one for each reliability; got .* Give more"):
        lcpo_em.sums(w, ids, 2)
    with pytest.raises(ValueError, match="Annotator ids go from 0 to 1"):
        lcpo_em.posterior(w, ids, w[:2])


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: lcpo_em.init(0), ValueError, "at least 1 annotator"),
        (lambda: lcpo_em.init(2, [0.5, 0.5, 0.5]), ValueError, r"one number or \(2,\) numbers"),
        (lambda: lcpo_em.init(2, 1.5), ValueError, r"probability in \[0, 1\]; got 1.5"),
        (lambda: lcpo_em.update(lcpo_em.init(), lcpo_em.init().sums, step_size=0.0), ValueError, r"share in \(0, 1\]"),
        (lambda: torch_lcpo.LCPO(step_size=2.0), ValueError, r"share in \(0, 1\]; got 2.0"),
        (lambda: lcpo_em.sums(np.ones(2), None, 2), ValueError, "do not say whose labels"),
        (lambda: lcpo_em.sums(np.ones(2), np.ones(2), 2), TypeError, "integer ids; got float64"),
    ],
)
def test_errors_are_sentences(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


@pytest.mark.parametrize("library", [np.asarray, jnp.asarray, torch.as_tensor], ids=["numpy", "jax", "torch"])
def test_ids_of_eight_bits_count_once(library):
    """300 annotators and ids of 8 bits: 256 of them would look like the first."""
    ids = library(np.array([5, 6, 5, 7], np.uint8))
    found = lcpo_em.sums(library(np.array([0.1, 0.2, 0.3, 0.4], np.float32)), ids, 300)
    wanted = np.bincount([5, 6, 5, 7], minlength=300)
    np.testing.assert_array_equal(np.asarray(found.count), wanted)


def test_a_traced_id_outside_gives_nan():
    """Eagerly it is refused; under jit it can only be seen in the result, and -1 is no way to say the last one."""
    sides = [jnp.asarray([-1.0, -2.0])] * 4
    run = jax.jit(lambda ids: poz.lcpo(poz.Pairs(*sides, annotator=ids), reliability=jnp.asarray([0.9, 0.6])))
    assert np.isnan(run(jnp.asarray([-1, 2]))).all()
    assert np.isfinite(run(jnp.asarray([0, 1]))).all()
