"""NLLs that others average over all chosen tokens of the batch, by `combine` with `sft(normalizer="batch_tokens")`.

The numbers are theirs: float64, with gradients of their mean loss by autograd, for chosen completions of unequal lengths.
CPO's, ORPO's and TPO's have a hyper-parameter for it, and rows in `tests/authors`.
"""

import numpy as np
import pytest
import torch

import poz

PER_TOKEN = poz.sft.bind(normalizer="batch_tokens")
CASES = {
    # fe1ixxu/ALMA@10360c3 utils/cpo_trainer.py: concatenated_forward, cpo_loss
    "arpo": (
        [(poz.arpo.bind(beta=0.3, nll_weight=0.0, scale=1.2, rate=0.7), 1.0), (PER_TOKEN, 0.5)],
        [[-7.032, -0.427], [-1.528, -2.435], [-4.669, -0.188], [-0.687, -4.522]],
        [[9, 1], [5, 2], [13, 5], [3, 13]],
        1.4626139426742113,
        [
            [-0.07965212845582312, 0.005187489965484944],
            [-0.04909603823516742, 0.03242937156850075],
            [-0.07558816630264158, 0.02772379113965241],
            [-0.0966021540840549, 0.020913740420592335],
        ],
    ),
    # Liger 0.8.5 LigerFusedLinearPreferenceBase._compute_loss, .float() made .double(), with SimPO's preference_loss_fn, its
    # defaults alpha=1 and compute_nll_loss=True
    "simpo": (
        [(poz.simpo.bind(beta=1.7, gamma=0.6), 1.0), (PER_TOKEN, 1.0)],
        [[-10.198, -15.523], [-7.274, -15.138], [-1.203, -7.267], [-4.023, -0.054]],
        [[7, 9], [7, 8], [7, 9], [5, 1]],
        1.778962034098849,
        [
            [-0.07100870373554419, 0.02531446187978223],
            [-0.056637797299142825, 0.015904226482903825],
            [-0.061662557986762914, 0.018045237408507917],
            [-0.1121695694912082, 0.36854015514834865],
        ],
    ),
}


@pytest.mark.parametrize(("parts", "logps", "lengths", "loss", "slopes"), CASES.values(), ids=CASES)
def test_their_batch_mean_of_the_nll_is_a_sum_of_objectives(parts, logps, lengths, loss, slopes):
    logps = torch.tensor(logps, dtype=torch.float64, requires_grad=True)
    chosen_len, rejected_len = torch.tensor(lengths).T
    pairs = poz.Pairs(*logps.T, chosen_len=chosen_len, rejected_len=rejected_len)
    ours = poz.combine(parts)(pairs).mean()
    np.testing.assert_allclose(ours.item(), loss, rtol=1e-12)
    np.testing.assert_allclose(torch.autograd.grad(ours, logps)[0], slopes, rtol=1e-10)


def test_the_mean_of_the_means_is_another_number():
    parts, logps, lengths, loss, _ = CASES["arpo"]
    (objective, _), (_, weight) = parts
    pairs = poz.Pairs(*np.array(logps).T, chosen_len=np.array(lengths)[:, 0], rejected_len=np.array(lengths)[:, 1])
    assert abs(objective(pairs, nll_weight=weight).mean() - loss) > 0.01


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
