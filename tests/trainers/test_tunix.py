"""Objectives in Tunix's own DPOTrainer, by its own `train`: `make trainers-tunix`.

google-tunix 0.1.7, the transformer of its own tests, in float32.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import poz.reference

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tunix.sft.dpo.dpo_trainer import DPOTrainer, DPOTrainingConfig, TrainingInput, compute_logps, dpo_loss_fn
    from tunix.tests.test_common import ModelConfig, ToyTransformer

    from poz.integrations.tunix import use

pytestmark = pytest.mark.filterwarnings("ignore")
FLOAT32 = 1e-5  # log-probs of -30 nats are known to 2e-6
DPO = {"beta": 0.3, "label_smoothing": 0.1}


@pytest.fixture(scope="module")
def rows():
    """Eight pairs: prompts padded to the left, completions of one to five tokens to the right."""
    rng = np.random.default_rng(3)
    lengths = {"prompt": rng.integers(1, 5, 8), "chosen": rng.integers(1, 6, 8), "rejected": rng.integers(1, 6, 8)}
    masks = {name: np.arange(5) < n[:, None] for name, n in lengths.items()}
    masks["prompt"] = masks["prompt"][:, ::-1]
    fields = {f"{name}_mask": mask.astype(np.float32) for name, mask in masks.items()}
    return fields | {f"{name}_ids": np.where(mask, rng.integers(1, 256, (8, 5)), 0) for name, mask in masks.items()}


def batches(rows, size, rounds=1):
    parts = [slice(i, i + size) for i in range(0, 8, size)]
    return rounds * [TrainingInput(**{name: x[part] for name, x in rows.items()}) for part in parts]


def made(config=(), reference=0, rate=0.1):
    """A trainer whose policy is the reference, or another one where the reference has another seed."""
    size = ModelConfig(num_layers=1)
    model, other = (ToyTransformer(size, rngs=nnx.Rngs(seed)) for seed in (0, reference))
    return DPOTrainer(model, other, optax.sgd(rate), DPOTrainingConfig(eval_every_n_steps=100, **dict(config)))


def weights(trainer):
    return [np.asarray(x) for x in jax.tree.leaves(nnx.state(trainer.model, nnx.Param))]


def history(trainer, metric):
    return trainer.metrics_logger.get_metric_history("", metric, "train")


def trained(trainer, data):
    before = weights(trainer)
    trainer.train(data)
    return [after - first for after, first in zip(weights(trainer), before, strict=True)]


def test_dpo_is_tunixs_in_its_train(rows, agree, fact):
    data, metrics = (
        batches(rows, 4, rounds=3),
        ("loss", "rewards/chosen", "rewards/margin", "rewards/accuracy", "log_probs/rejected"),
    )
    ours, theirs = use(made(), "dpo", **DPO), made(DPO)
    moves = [trained(trainer, data) for trainer in (ours, theirs)]
    agree("own", *moves, FLOAT32)
    for metric in metrics:
        agree("own", *(history(trainer, metric) for trainer in (ours, theirs)), FLOAT32)
    assert max(np.abs(x).max() for x in moves[0]) > 1e-3
    losses = history(ours, "loss")
    assert sum(losses[-2:]) < sum(losses[:2])
    fact("steps of its train", len(losses))
    fact(
        "loss of dpo in the first and the third epoch", [round(float(sum(x)) / 2, 4) for x in (losses[:2], losses[-2:])]
    )


def test_loss_and_gradient_are_tunixs(rows, agree):
    trainer = use(made(reference=1), "dpo", **DPO)
    (batch,) = batches(rows, 8)
    example = trainer._prepare_inputs(batch)
    found = []
    for loss in (trainer.loss_fn, lambda model, x: dpo_loss_fn(model, x, **DPO)):
        (value, logged), slopes = nnx.value_and_grad(loss, has_aux=True)(trainer.model, example)
        found.append([value, *(logged[name] for name in sorted(logged)), *jax.tree.leaves(slopes)])
    agree("own", *found, FLOAT32)
    assert max(float(jnp.abs(x).max()) for x in found[0][7:]) > 1e-2


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        ("simpo", {"beta": 2.0, "gamma": 1.0}),
        ("ipo", {"tau": 0.2}),
        ("mnpo", {"eta": 0.5, "tau": 0.1}),
    ],
)
def test_others_are_their_references_in_its_train(name, hyper, rows, agree):
    trainer = use(made(reference=1, rate=0.1 if name == "simpo" else 0.001), name, **hyper)  # squares have steep slopes
    (batch,) = batches(rows, 8)
    x = trainer._prepare_inputs(batch)
    fields = {}
    for prefix, model in (("", trainer.model), ("ref_", trainer.ref_model)):
        sums = compute_logps(model, x.input_ids, x.positions, x.attention_mask, x.logits_to_keep, x.completion_mask)
        fields |= {f"{prefix}{side}": np.float64(each) for side, each in zip(("chosen", "rejected"), sums, strict=True)}
    lengths = {f"{side}_len": rows[f"{side}_mask"].sum(1) for side in ("chosen", "rejected")}
    if name == "simpo":
        fields = {side: fields[side] for side in ("chosen", "rejected")} | lengths
    if name == "mnpo":
        fields |= {f"opponents_{side}": fields[f"ref_{side}"][None] for side in ("chosen", "rejected")}
    expected, _ = getattr(poz.reference, name)(**fields, **hyper)
    moved = trained(trainer, [batch, batch])
    agree("reference", history(trainer, "loss")[0], expected.mean(), FLOAT32)
    assert history(trainer, "loss")[1] < history(trainer, "loss")[0]
    assert max(np.abs(each).max() for each in moved) > 1e-4


@pytest.mark.parametrize("name", ["dpo", "simpo"])
def test_eight_batches_of_one_are_two_of_four(name, rows, agree):
    moves = []
    for size in (1, 4):
        trainer = use(made({"gradient_accumulation_steps": 8 // size}), name)
        moves.append(trained(trainer, batches(rows, size)))
    agree("accumulation", *moves, FLOAT32)
    assert max(np.abs(x).max() for x in moves[0]) > 1e-3


def test_a_policy_that_is_its_reference_has_margin_0(rows, agree):
    trainer = use(made(), "dpo")
    trained(trainer, batches(rows, 8, rounds=2))
    margins = history(trainer, "rewards/margin")
    agree("start", margins[0], 0.0, 0.0)
    assert margins[1] > 1e-4


def test_an_objective_without_a_reference_needs_no_model_of_it(rows):
    trainer = made()
    trainer.ref_model, trainer._ref_model_exists = None, False
    assert max(np.abs(x).max() for x in trained(use(trainer, "simpo"), batches(rows, 8))) > 1e-3
    with pytest.raises(ValueError, match="`ipo` reads a reference; give DPOTrainer a ref_model"):
        use(trainer, "ipo")
    trainer.ref_model = trainer.model
    with pytest.raises(ValueError, match="a ref_model, which is not its model"):
        use(trainer, "ipo")


@pytest.mark.parametrize(
    ("config", "name", "said"),
    [
        ({}, "cpl", "`cpl` reads poz.TokenPairs"),
        ({}, "vpo", "`vpo` reads calibration, ref_calibration, which Tunix's batches do not have"),
        ({"gradient_accumulation_steps": 2}, "aot", "`aot` is defined over a batch"),
        ({"beta": 0.3}, "dpo", "beta of the configuration is read by Tunix's own loss alone"),
        ({"algorithm": "orpo"}, "orpo", "algorithm of the configuration"),
    ],
)
def test_what_cannot_be_served_is_refused(config, name, said):
    with pytest.raises(ValueError, match=said):
        use(made(config), name)
