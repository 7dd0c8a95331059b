"""VPL's draws and the weight of its KL, beside the authors' numbers."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from poz.algorithms import latents

RNG = np.random.default_rng(7)
MEAN, LOGS, NOISE = 1.5 * RNG.normal(size=(3, 5, 4))

# `Annealer` of hidden_context/vae_utils.py in WEIRDLabUW/vpl_llm@fdfdfa7, of 40 steps and after so many: the slopes with a
# baseline of 0.1 that begins anew, and with one of 0.25 that stays
STEPS = [0, 1, 13, 39, 40, 41, 87]
THEIRS = {
    "linear": (
        [0.1, 0.12250000000000001, 0.39250000000000007, 0.9774999999999999, 0.1, 0.12250000000000001, 0.2575],
        [0.25, 0.26875, 0.49375, 0.98125, 1.0, 1.0, 1.0],
    ),
    "cosine": (
        [
            0.1,
            0.10138719982009242,
            0.314875645877823,
            0.9986128001799076,
            0.1,
            0.10138719982009242,
            0.16631192604065853,
        ],
        [0.25, 0.251155999850077, 0.4290630382315192, 0.998844000149923, 1.0, 1.0, 1.0],
    ),
    "logistic": (
        [
            *(0.10000000185503827, 0.10000000504251677, 0.10081994607496059, 0.9999999949574832),
            *(0.10000000185503827, 0.10000000504251677, 0.10000203429186812),
        ],
        [
            *(0.2500000015458652, 0.2500000042020973, 0.2506832883958005, 0.9999999957979027),
            *(0.9999999984541348, 0.9999999984541348, 0.9999999984541348),
        ],
    ),
}


@pytest.mark.parametrize("shape", THEIRS)
def test_annealing_has_the_slopes_of_the_authors(shape):
    anew, stays = THEIRS[shape]
    of = [latents.annealing(step, 40, shape=shape, baseline=0.1, cyclical=True) for step in STEPS]
    np.testing.assert_allclose(of, anew, rtol=1e-14)
    np.testing.assert_allclose(
        [latents.annealing(step, 40, shape=shape, baseline=0.25) for step in STEPS], stays, rtol=1e-14
    )


def test_a_logistic_rise_of_many_steps_is_finite():
    """Where math.exp of the authors' formula overflows."""
    assert latents.annealing(0, 10_000, shape="logistic") == 0
    assert latents.annealing(5_000, 10_000, shape="logistic") == 0.5


def test_a_draw_is_mu_plus_sigma_epsilon_in_every_library():
    expected = MEAN + np.exp(LOGS / 2) * NOISE
    np.testing.assert_allclose(latents.sample(MEAN, LOGS, NOISE), expected, rtol=1e-15)
    np.testing.assert_allclose(latents.sample(*map(torch.tensor, (MEAN, LOGS, NOISE))), expected, rtol=1e-14)
    np.testing.assert_allclose(latents.sample(*map(jnp.asarray, (MEAN, LOGS, NOISE))), expected, rtol=1e-5)
    half = [torch.tensor(x, dtype=torch.bfloat16) for x in (MEAN, LOGS, NOISE)]
    assert torch.equal(latents.sample(*half), latents.sample(*[x.float() for x in half]))


def test_a_clamp_holds_both_before_the_draw():
    within = [np.clip(x, -0.5, 0.5) for x in (MEAN, LOGS)]
    np.testing.assert_array_equal(latents.sample(MEAN, LOGS, NOISE, clamp=0.5), latents.sample(*within, NOISE))
    assert np.abs(MEAN).max() > 0.5 < np.abs(LOGS).max()


def test_a_normalized_draw_has_the_length_of_the_root_of_its_width_and_zero_stays():
    plain, stretched = latents.sample(MEAN, LOGS, NOISE), latents.sample(MEAN, LOGS, NOISE, normalized=True)
    np.testing.assert_allclose(np.linalg.norm(stretched, axis=-1), 2, rtol=1e-14)
    np.testing.assert_allclose((plain * stretched).sum(-1), 2 * np.linalg.norm(plain, axis=-1), rtol=1e-14)
    np.testing.assert_array_equal(latents.sample(MEAN[0], LOGS[0], NOISE[0], normalized=True), stretched[0])
    zero = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    latents.sample(zero, zero, zero, normalized=True).sum().backward()
    assert torch.isfinite(zero.grad).all()
    assert not latents.sample(*[np.zeros((1, 4))] * 3, normalized=True).any()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: latents.sample(MEAN, LOGS, NOISE[:1]), r"one shape for all; got .* noise \(1, 4\)"),
        (lambda: latents.sample(MEAN, LOGS, NOISE, clamp=0.0), "clamp must be positive, or None for none; got 0.0"),
        (lambda: latents.annealing(-1, 4), "step must be at least 0 and steps at least 1; got -1 and 4"),
        (lambda: latents.annealing(0, 0), "got 0 and 0"),
        (lambda: latents.annealing(0, 4, baseline=1.5), r"baseline must lie in \[0, 1\]; got 1.5"),
        (lambda: latents.annealing(0, 4, shape="sine"), "'linear', 'cosine' or 'logistic'; got 'sine'"),
    ],
)
def test_other_values_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_other_kinds_are_refused():
    with pytest.raises(TypeError, match="floating-point numbers for noise"):
        latents.sample(MEAN, LOGS, NOISE.astype(int))
    with pytest.raises(TypeError, match=r"annealing needs a whole number for step"):
        latents.annealing(0.5, 4)


@pytest.mark.parametrize("unit", [1e25, 1e-25])
def test_a_latent_of_any_size_is_stretched(unit):
    """Where the squares of float32 overflow or are lost; the slope is the smaller, the larger the latent."""
    mean, none = torch.tensor(MEAN, dtype=torch.float32), torch.zeros(MEAN.shape)
    far, near = (unit * mean).requires_grad_(), mean.clone().requires_grad_()
    there, here = (latents.sample(one, none, none, normalized=True) for one in (far, near))
    torch.testing.assert_close(there, here)
    slopes = [torch.autograd.grad((z * torch.tensor(NOISE)).sum(), one)[0] for z, one in ((there, far), (here, near))]
    torch.testing.assert_close(slopes[0] * unit, slopes[1])
    assert latents.sample(none[:, :0], none[:, :0], none[:, :0], normalized=True).shape == (5, 0)
