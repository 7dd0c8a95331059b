"""Diffusion-DPO in place of the loss line of diffusers' script: `make trainers-diffusers`.

diffusers 0.42.1 and the lines of examples/research_projects/diffusion_dpo/train_diffusion_dpo.py @58eb52c, on a tiny UNet.
"""

import copy
import warnings

import pytest
import torch

import poz.reference

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from diffusers import DDPMScheduler, UNet2DConditionModel

pytestmark = pytest.mark.filterwarnings("ignore")
BETA_DPO = 2500.0
SCRIPT = [0.6931471824645996, 0.3400602340698242, 0.3252911865711212]
"""What the script's own lines, from "Compute losses." to the loss, gave in these three steps."""
DIGITS = 1e-3  # errors are float32, known to 1e-7, times 2500


def unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8, attention_head_dim=4, norm_num_groups=4,
    )  # fmt: skip


def batch(pairs=2):
    """Noisy latents of chosen and then of rejected images, timesteps, texts, and the noise; the latter three twice."""
    rng = torch.Generator().manual_seed(1)
    latents, noise = (torch.randn(n * pairs, 4, 8, 8, generator=rng) for n in (2, 1))
    noise, steps = noise.repeat(2, 1, 1, 1), torch.randint(0, 1000, (pairs,), generator=rng).repeat(2)
    texts = torch.randn(pairs, 3, 8, generator=rng).repeat(2, 1, 1)
    return DDPMScheduler().add_noise(latents, noise, steps), steps, texts, noise


def errors(model, noisy, steps, texts, noise):
    """(2 * pairs,) the script's `model_losses`, and `ref_loss`."""
    return (model(noisy, steps, texts).sample - noise).square().mean((1, 2, 3))


def ours(own, ref):
    losses = poz.diffusion_dpo(poz.Denoising(*own.chunk(2), *ref.chunk(2)), beta=2 * BETA_DPO)
    return losses.mean()


def theirs(own, ref):
    """-log σ(beta_dpo [(ref_w - ref_l) - (own_w - own_l)])"""
    (own_w, own_l), (ref_w, ref_l) = own.chunk(2), ref.chunk(2)
    return -torch.nn.functional.logsigmoid(BETA_DPO * ((ref_w - ref_l) - (own_w - own_l))).mean()


def trained(loss, data, steps=3, size=None):
    """Losses of each step, and the gradients of all of them."""
    policy, reference = unet(), unet()
    optimizer, losses, slopes = torch.optim.SGD(policy.parameters(), lr=1e-6), [], []
    pairs = len(data[0]) // 2
    for _ in range(steps):
        parts = torch.arange(pairs).split(size or pairs)
        for part in parts:
            rows = [x[torch.cat((part, part + pairs))] for x in data]
            with torch.no_grad():
                ref = errors(reference, *rows)
            value = loss(errors(policy, *rows), ref) / len(parts)
            value.backward()
            losses.append(value.item())
        slopes += [p.grad.clone() for p in policy.parameters() if p.grad is not None]
        optimizer.step()
        optimizer.zero_grad()
    return losses, slopes


def test_loss_and_gradient_are_the_scripts(agree, fact):
    found, expected = (trained(loss, batch()) for loss in (ours, theirs))
    agree("own", found[0], expected[0], 1e-6)  # float32
    scale = max(x.abs().max() for x in expected[1])
    agree("own", [x / scale for x in found[1]], [x / scale for x in expected[1]], 1e-5)  # through the network
    assert found[0] == pytest.approx(SCRIPT, rel=DIGITS)
    assert found[0][2] < found[0][1] < found[0][0]
    fact("losses in three steps", [round(x, 4) for x in found[0]])


def test_losses_are_the_reference(agree):
    policy, data = unet(), batch(8)
    other = copy.deepcopy(policy)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1e-3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(2)))
        own, ref = (errors(model, *data).double() for model in (policy, other))
    fields = dict(
        zip(("chosen", "rejected", "ref_chosen", "ref_rejected"), (*own.chunk(2), *ref.chunk(2)), strict=True)
    )
    expected, _ = poz.reference.diffusion_dpo(**{name: x.numpy() for name, x in fields.items()}, beta=2 * BETA_DPO)
    assert expected.std() > 0.01
    agree("reference", poz.diffusion_dpo(poz.Denoising(**fields), beta=2 * BETA_DPO), expected, 1e-12)


def test_eight_batches_of_one_are_two_of_four(agree):
    whole, parts = (trained(ours, batch(8), steps=1, size=size)[1] for size in (4, 1))
    scale = max(x.abs().max() for x in whole)
    agree("accumulation", [x / scale for x in parts], [x / scale for x in whole], 1e-5)  # float32, in another order


def test_a_policy_that_is_its_reference_has_margin_0(agree):
    own = errors(unet(), *batch())
    agree("start", ours(own, own.detach()), torch.tensor(2.0).log(), 0.0)
