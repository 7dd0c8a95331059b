"""Objectives in torchtune's own recipe, by its own command: `make trainers-torchtune`.

torchtune 0.6.1, `lora_dpo_single_device`, a decoder of two layers in float32, whose tokenizer is trained here.
"""

import json
import re
import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch
from omegaconf import OmegaConf

import poz.reference
import poz.torch

with warnings.catch_warnings():  # torchao 0.14's, of its own modules
    warnings.simplefilter("ignore")
    import torchtune
    from torchtune._cli.tune import TuneCLIParser
    from torchtune.models.llama2 import llama2
    from torchtune.rlhf.loss import DPOLoss, RSOLoss

    import poz.integrations.torchtune

pytestmark = pytest.mark.filterwarnings("ignore")

OURS = "poz.torch.PreferenceLoss"
LENGTHS = "poz.integrations.torchtune.PreferenceLoss"
RECIPE = Path(torchtune.__file__).parents[1] / "recipes/lora_dpo_single_device.py"
FLOAT32 = 1e-5  # log-probs of -100 nats are known to 4e-6
SIZE = {"vocab_size": 64, "num_layers": 2, "num_heads": 2, "num_kv_heads": 2, "embed_dim": 16, "max_seq_len": 64}
LORA = {"lora_attn_modules": ["q_proj", "v_proj"], "apply_lora_to_mlp": False, "lora_rank": 2, "lora_alpha": 4}
PAIRS = [
    ("sum of one and two", "three", "it is four or five"),
    ("name a colour", "red or blue", "dog"),
    ("say hello", "hello to all of you", "no"),
    ("what is hot", "fire", "ice and snow"),
    ("count to two", "one two", "two one three"),
    ("name a beast", "a dog", "blue"),
    ("what is cold", "snow", "fire and sun are cold"),
    ("say no", "no", "hello"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tokenizer, the weights of the model, and the pairs, as files."""
    folder = tmp_path_factory.mktemp("tiny")
    words = [text for pair in PAIRS for text in pair]
    (folder / "text.txt").write_text("\n".join(words))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"), model_prefix=str(folder / "tokenizer"), vocab_size=64, pad_id=3,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    torch.manual_seed(0)
    torch.save(llama2(**SIZE).state_dict(), folder / "model.pt")
    talk = [
        {side: [{"role": "user", "content": q}, {"role": "assistant", "content": a}]
         for side, a in (("chosen", good), ("rejected", bad))}
        for q, good, bad in PAIRS
    ]  # fmt: skip
    (folder / "pairs.json").write_text(json.dumps(talk))
    return folder


def settings(folder, out, loss, batch=4, accumulation=1, steps=2, epochs=1):
    return OmegaConf.create(
        {
            "output_dir": str(out),
            "model": {"_component_": "torchtune.models.llama2.lora_llama2", **SIZE, **LORA},
            "tokenizer": {
                "_component_": "torchtune.models.llama2.llama2_tokenizer",
                "path": str(folder / "tokenizer.model"),
                "max_seq_len": 64,
            },
            "checkpointer": {
                "_component_": "torchtune.training.FullModelTorchTuneCheckpointer",
                "checkpoint_dir": str(folder),
                "checkpoint_files": ["model.pt"],
                "output_dir": str(out),
                "model_type": "LLAMA2",
            },
            "resume_from_checkpoint": False,
            "save_adapter_weights_only": True,
            "dataset": {
                "_component_": "torchtune.datasets.preference_dataset",
                "source": "json",
                "data_files": str(folder / "pairs.json"),
                "split": "train",
            },
            "seed": 1,
            "shuffle": False,
            "batch_size": batch,
            "optimizer": {"_component_": "torch.optim.SGD", "lr": 10.0},
            "loss": loss,
            "epochs": epochs,
            "max_steps_per_epoch": steps,
            "gradient_accumulation_steps": accumulation,
            "compile": False,
            "metric_logger": {
                "_component_": "torchtune.training.metric_logging.DiskLogger",
                "log_dir": str(out),
                "filename": "log.txt",
            },
            "device": "cpu",
            "dtype": "fp32",
            "enable_activation_checkpointing": False,
        }
    )


@pytest.fixture(scope="module")
def recipe():
    return runpy.run_path(str(RECIPE))["LoRADPORecipeSingleDevice"]


@pytest.fixture
def trained(folder, tmp_path, recipe):
    """The adapters' second halves after training, and of each batch lengths and what the loss was given and gave."""

    def run(loss, **how):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        cfg = settings(folder, out, loss, **how)
        made, seen = recipe(cfg=cfg), []
        made.setup(cfg=cfg)
        scored = made.concatenated_forward

        def forward(model, batch):
            labels = batch[1]
            if torch.is_grad_enabled():  # of the policy
                seen.append({"lengths": (labels[:, 1:] != -100).sum(1).chunk(2)})
            return scored(model, batch)

        made.concatenated_forward = forward
        made._loss_fn.register_forward_hook(lambda _, given, got: seen[-1].update(given=given, got=got))
        made.train()
        made.cleanup()
        adapters = {name: x for name, x in made._model.state_dict().items() if "lora_b" in name}  # 0 at first
        return [adapters[name] for name in sorted(adapters)], seen

    return run


THEIRS = {"_component_": "torchtune.rlhf.loss.DPOLoss", "beta": 0.3, "label_smoothing": 0.1}


def test_dpo_is_torchtunes_in_its_recipe(trained, agree, fact):
    ours, seen = trained({**THEIRS, "_component_": OURS, "objective": "dpo"}, epochs=3)
    theirs, expected = trained(THEIRS, epochs=3)
    assert len(seen) == len(expected) == 6
    for mine, its in zip(seen, expected, strict=True):
        agree("own", mine["got"], its["got"], FLOAT32)
    agree("own", ours, theirs, FLOAT32)
    assert max(x.abs().max().item() for x in ours) > 0.1
    fact("steps of its recipe", len(seen))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("dpo", {"beta": 0.3, "label_smoothing": 0.1}), DPOLoss(beta=0.3, label_smoothing=0.1)),
        (("hinge", {"beta": 0.2}), RSOLoss(gamma=0.2)),
    ],
)
def test_losses_rewards_and_gradients_are_torchtunes(ours, theirs, agree):
    rng = torch.Generator().manual_seed(2)
    found = []
    for loss in (poz.torch.PreferenceLoss(ours[0], **ours[1]), theirs):
        given = [
            (9 * torch.randn(50, generator=rng.manual_seed(i), dtype=torch.float64)).requires_grad_() for i in range(4)
        ]
        got = loss(*given)
        found.append([*got, *torch.autograd.grad(got[0].sum(), given)])
    agree("own", *found, 1e-14)


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        ("simpo", {"beta": 2.0, "gamma": 1.0}),
        ("ipo", {"tau": 0.2}),
        ("ipo", {"tau": 0.2, "length_normalized": True}),
        ("mnpo", {"eta": 0.5, "tau": 0.1}),
    ],
)
def test_others_are_their_references_in_its_recipe(name, hyper, trained, agree):
    normalized = name == "simpo" or "length_normalized" in hyper
    loss = {"_component_": LENGTHS if normalized else OURS, "objective": name, **hyper}
    _, seen = trained(loss, epochs=2)
    assert len(seen) == 4
    for step in seen:
        chosen, rejected, ref_chosen, ref_rejected = (x.detach().double().numpy() for x in step["given"])
        lengths = [x.numpy() for x in step["lengths"]]
        assert not np.array_equal(*lengths)
        fields = {"chosen": chosen, "rejected": rejected}
        if normalized:
            fields |= {"chosen_len": lengths[0], "rejected_len": lengths[1]}
        if name != "simpo":
            fields |= {"ref_chosen": ref_chosen, "ref_rejected": ref_rejected}
        if name == "mnpo":
            fields |= {"opponents_chosen": ref_chosen[None], "opponents_rejected": ref_rejected[None]}
        expected, _ = getattr(poz.reference, name)(**fields, **hyper)
        agree("reference", step["got"][0], expected, FLOAT32)


@pytest.mark.parametrize("loss", [{"objective": "dpo", "beta": 0.3}, {"objective": "simpo"}])
def test_eight_batches_of_one_are_two_of_four(loss, trained, agree):
    loss = {"_component_": LENGTHS, **loss}
    parts = [trained(loss, batch=batch, accumulation=8 // batch, epochs=2)[0] for batch in (1, 4)]
    agree("accumulation", *parts, FLOAT32)
    assert max(x.abs().max().item() for x in parts[0]) > 0.01


def test_a_policy_that_is_its_reference_has_margin_0(trained, agree):
    _, seen = trained({"_component_": OURS, "objective": "dpo"})
    agree("start", seen[0]["got"][1:], [torch.zeros(4)] * 2, 0.0)
    assert seen[1]["got"][1].abs().max() > 1e-4


@pytest.mark.parametrize("component", [OURS, LENGTHS])
def test_tunes_own_command(component, folder, tmp_path, monkeypatch, fact):
    """tune run lora_dpo_single_device --config my.yaml"""
    lengths = component == LENGTHS
    loss = {"_component_": component, **({"objective": "simpo", "gamma": 1.0} if lengths else {"objective": "dpo"})}
    cfg = settings(folder, tmp_path / "out", loss, epochs=3)
    cfg.optimizer.lr = 1.0
    OmegaConf.save(cfg, tmp_path / "my.yaml")
    command = ["tune", "run", "lora_dpo_single_device", "--config", str(tmp_path / "my.yaml")]
    monkeypatch.setattr(sys, "argv", command)
    parser = TuneCLIParser()
    arguments = parser.parse_args()
    with pytest.raises(SystemExit) as left:
        parser.run(arguments)
    assert not left.value.code
    losses = [float(x) for x in re.findall(r"loss:(\S+)", (tmp_path / "out/log.txt").read_text())]
    assert len(losses) == 6
    assert sum(losses[-2:]) < sum(losses[:2])  # of all pairs
    fact(
        f"loss in the first and the third epoch of `tune run` with {loss['objective']}",
        [round(sum(losses[:2]) / 2, 4), round(sum(losses[-2:]) / 2, 4)],
    )


def test_lengths_without_a_recipe_are_refused():
    loss = poz.integrations.torchtune.PreferenceLoss("simpo")
    with pytest.raises(ValueError, match=r"2000 completions are trained on; .* has scored"):
        loss(torch.zeros(1000), torch.zeros(1000))
    with pytest.raises(ValueError, match="`simpo` needs chosen_len and rejected_len"):
        poz.torch.PreferenceLoss("simpo")(torch.zeros(2), torch.zeros(2), torch.zeros(2), torch.zeros(2))
