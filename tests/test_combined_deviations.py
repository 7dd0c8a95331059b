"""What a deviation says `poz.combine` reproduces, beside what the other library's function gave in float64."""

import numpy as np
import pytest

import poz


def test_simnpo_of_the_authors_retains_by_the_tokens_of_the_batch():
    """`compute_loss` of TOFU/dataloader.py in OPTML-Group/Unlearn-Simple@f1a355d, loss_type='simnpo_grad_diff'."""
    batch = poz.Pairs(
        np.array([-11.946, -6.364, -3.453, -16.346]),
        np.array([-11.757, -9.74, -7.026, -9.84]),
        chosen_len=np.array([3, 8, 1, 20]),
        rejected_len=np.array([4, 9, 1, 17]),
    )
    forget = poz.sim_npo.bind(beta=0.9, gamma=0.3, forget_weight=0.5, retain_weight=0.0)
    loss = poz.combine([(forget, 1.0), (poz.sft.bind(normalizer="batch_tokens"), 0.7)])
    assert loss(batch).mean() == pytest.approx(1.1304807492441133, rel=1e-14)


def test_the_rpo_recipe_of_trl_is_dpo_and_the_nll_of_a_token():
    """The lines of loss_type 'sigmoid' and 'sft' in TRL 1.16's DPOTrainer, loss_weights=[1, 0.3]."""
    batch = poz.Pairs(
        np.array([-5.7, -5.513, -12.221, -1.655]),
        np.array([-11.757, -9.74, -7.026, -9.84]),
        np.array([-5.802, -6.889, -11.095, -2.935]),
        np.array([-12.423, -11.562, -8.665, -9.304]),
        chosen_len=np.array([5, 2, 4, 1]),
    )
    loss = poz.combine([(poz.dpo.bind(beta=0.4), 1.0), (poz.sft.bind(normalizer="batch_tokens"), 0.3)])
    assert loss(batch).mean() == pytest.approx(1.4734648460741555, rel=1e-14)
