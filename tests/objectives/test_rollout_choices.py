"""Objectives that choose among the tokens of a batch: by noise, by a rank, by a region of trust."""

import itertools

import numpy as np
import pytest

import poz

RNG = np.random.default_rng(5)
LOGPS = -RNG.uniform(0.1, 3, (4, 5))
OLD = LOGPS + RNG.normal(0, 0.3, LOGPS.shape)
ADVANTAGES = RNG.normal(0, 1, 4)


def test_every_token_of_the_band_is_as_likely_left_out():
    band = poz.clip_cov.bind(share=1e-9, band_low=0.3, band_high=5.0)
    plain = poz.ppo_clip(poz.Rollouts(LOGPS, OLD, advantages=ADVANTAGES), epsilon_low=1.0, epsilon_high=1.0)

    def left_out(noise):
        return band(poz.Rollouts(LOGPS, OLD, advantages=ADVANTAGES, noise=noise)) - plain

    # a token of the band is chosen where its noise is the smallest
    alone = [left_out(np.where(np.arange(20).reshape(4, 5) == k, 0.0, 1.0)) for k in range(20)]
    covariance = (ADVANTAGES[:, None] - ADVANTAGES.mean()) * (LOGPS - LOGPS.mean())
    wide = poz.clip_cov.bind(share=1.0, band_low=0.3, band_high=5.0)
    whole = wide(poz.Rollouts(LOGPS, OLD, advantages=ADVANTAGES, noise=0 * LOGPS)) - plain
    inside = np.flatnonzero(((covariance > 0.3) & (np.log(2) > LOGPS - OLD)).ravel())
    assert 3 <= len(inside) <= 8
    np.testing.assert_allclose(sum(alone[k] for k in inside), whole, rtol=1e-12)
    some = inside[:3]
    orders = [
        np.where(np.arange(20) == some[:, None], np.array(p)[:, None], 0).sum(0)
        for p in itertools.permutations(range(3))
    ]
    rest = np.where(np.isin(np.arange(20), some), 0, 9)
    mean = sum(left_out((order + rest).reshape(4, 5)) for order in orders) / len(orders)
    np.testing.assert_allclose(mean, sum(alone[k] for k in some) / 3, rtol=1e-12)


@pytest.mark.parametrize("field", ["logps", "old_logps"])
@pytest.mark.parametrize(
    "objective", [poz.kl_cov.bind(share=0.3), poz.clip_cov.bind(band_low=0.1), poz.dppo_tv, poz.dppo_kl]
)
def test_who_is_chosen_by_an_unknown_log_prob_is_unknown(objective, field):
    fields = {"logps": LOGPS, "old_logps": OLD, "advantages": ADVANTAGES, "noise": np.arange(20.0).reshape(4, 5)}

    def losses(value):
        return objective(
            poz.Rollouts(**{**fields, field: np.where(np.arange(20).reshape(4, 5) == 11, value, fields[field])})
        )

    low, high, unknown = losses(-9.0), losses(-0.3), losses(np.nan)
    assert (low != high).any()
    assert np.isnan(unknown[low != high]).all()
