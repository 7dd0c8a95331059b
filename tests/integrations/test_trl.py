"""TRL's DPOTrainer with objectives of poz: equal to TRL's own losses, and everything that TRL can do keeps working."""

import copy
import dataclasses
import functools
import math
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import datasets
import peft
import pytest
import torch
import trl
from transformers import ByT5Tokenizer, LlamaConfig, LlamaForCausalLM
from trl.trainer import dpo_trainer

import poz
from poz.integrations.trl import STATE, DPOTrainer, folder
from poz.integrations.trl.columns import Columns
from poz.torch import LCPO, Scored, implicit_rewards, scored_losses

pytestmark = [
    # TRL 1.16 uses names of transformers that 5.23 has changed.
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*prompts are empty:UserWarning"),  # one is, on purpose
]

PAIRS = [
    {"prompt": "Is it late?", "chosen": " Yes, it is.", "rejected": " no"},
    {"prompt": "Hi", "chosen": " Hello there!", "rejected": " what do you want from me"},
    {"prompt": "2 + 2?", "chosen": " 4", "rejected": " 5 or so"},
    {"prompt": "", "chosen": "Good morning.", "rejected": "meh"},  # the completion begins at the first token
]
WITH_COLUMNS = [
    {
        **pair,
        "label": 1 - 0.1 * i,
        "margin": 0.5 + i,
        "annotator": 0,
        "entropy": 0.2 * (1 + i),
        "prompt_embedding": [1.0, 0.5 * i],
        "chosen_weights": [0.5 + 0.1 * j for j in range(len(pair["chosen"]) + 1)],  # and the end token
        "rejected_weights": [1.5 - 0.05 * j for j in range(len(pair["rejected"]) + 1)],
    }
    for i, pair in enumerate(PAIRS)
]
REFUSED = {
    "tpo": "needs 3 completions, gold, chosen and rejected",
    "mdpo": "needs 3 .*got K = 2",
    "mapl": "needs 4 log-probs, chosen and rejected under the better prompt",
    "ddpo": "reads .*_changed",
    "tdpo": "reads .*_kl",
    "kto": "reads kl_logps, kl_ref_logps.*KTOTrainer makes them, and estimator='zero', .* needs none.$",
    **{name: "reads" for name, spec in poz.zoo.items() if spec.family in (poz.Samples, poz.Denoising)},
}
"""The objectives that pairs of completions cannot serve, and why."""


class Bytes(ByT5Tokenizer):
    def __init__(self, **more):
        super().__init__(**{"extra_ids": 0, **more})  # each costs every trainer time

    def build_inputs_with_special_tokens(self, ids, other=None):
        return ids + (other or [])


def tiny(seed):
    torch.manual_seed(seed)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokens = {"vocab_size": 384, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    return LlamaForCausalLM(LlamaConfig(initializer_range=0.2, **tokens, **shape))


@pytest.fixture(scope="module", autouse=True)
def _no_bars():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture(scope="module")
def policy():
    return tiny(0)


@pytest.fixture(scope="module")
def reference():
    return tiny(1)


def settings(folder, **more):
    given = {
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "bf16": False,
        "use_cpu": True,
        "report_to": "none",
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        "activation_checkpointing": False,
        "dataloader_pin_memory": False,
    }
    return trl.DPOConfig(str(folder), **{**given, **more})


def trainer(folder, model, objective, pairs=PAIRS, *, ref_model=None, calibration="chosen", arguments=None, **more):
    """One of ours, or TRL's own where `objective` is None."""
    ours = {"objective": objective, "calibration": calibration}
    return (trl.DPOTrainer if objective is None else DPOTrainer)(
        copy.deepcopy(model),
        ref_model if ref_model is None else copy.deepcopy(ref_model),
        settings(folder, **(arguments or {})),
        train_dataset=datasets.Dataset.from_list(pairs),
        processing_class=Bytes(),
        **({} if objective is None else ours),
        **more,
    )


def inputs(made):
    return made.data_collator([made.train_dataset[i] for i in range(len(made.train_dataset))])


def loss_and_gradients(made):
    made.model.train()
    made.model.zero_grad()
    loss = made.compute_loss(made.model, inputs(made))
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in made.model.named_parameters() if p.grad is not None}


def log_probs(model, made):
    """Per-token log-probs without TRL's fused head, (rows, tokens - 1), and their mask."""
    batch = inputs(made)
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    chosen = logits.log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
    return chosen, batch["completion_mask"][:, 1:].bool()


def sums(model, made):
    logps, mask = log_probs(model, made)
    return logps.where(mask, torch.zeros(())).sum(1).chunk(2)


def close(actual, expected, what, rtol=2e-5):
    scale = expected.abs().max().item()
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=rtol * scale, msg=lambda m: f"{what}: {m}")


def reference_passes(trainer, policy, reference, config, data):
    """How often the reference runs while the trainer is made, of a data set on disk whose log-probs may be cached."""
    calls, other = [], copy.deepcopy(reference)
    other.register_forward_hook(lambda *_: calls.append(1))
    examples = datasets.load_from_disk(data)
    trainer(copy.deepcopy(policy), other, config, train_dataset=examples, processing_class=Bytes())
    return len(calls)


class TestEqualsTRL:
    @pytest.mark.parametrize("beta", [0.1, 0.7])
    @pytest.mark.parametrize(
        ("loss_type", "ours"),
        [
            ("sigmoid", lambda beta: poz.dpo.bind(beta=beta)),
            ("ipo", lambda beta: poz.ipo.bind(tau=beta, length_normalized=True)),
        ],
    )
    def test_loss_and_every_gradient(self, tmp_path, policy, reference, loss_type, ours, beta):
        theirs = trainer(tmp_path, policy, None, ref_model=reference, arguments={"loss_type": loss_type, "beta": beta})
        made = trainer(tmp_path, policy, ours(beta), ref_model=reference)
        (expected, gradients), (loss, found) = loss_and_gradients(theirs), loss_and_gradients(made)
        close(loss, expected, "loss", 1e-6)
        assert found.keys() == gradients.keys() == dict(policy.named_parameters()).keys()
        for name, gradient in gradients.items():
            assert gradient.abs().max() > 0
            close(found[name], gradient, name)

    @pytest.mark.parametrize("beta", [0.1, 0.7])
    def test_weighted_by_the_policy(self, tmp_path, policy, reference, beta):
        weighting = {"use_weighting": True, "beta": beta}
        theirs = trainer(tmp_path, policy, None, ref_model=reference, arguments=weighting)
        made = trainer(tmp_path, policy, poz.wpo.bind(beta=beta, clamp=False), ref_model=reference)
        (expected, gradients), (loss, found) = loss_and_gradients(theirs), loss_and_gradients(made)
        close(loss, expected, "loss", 1e-5)
        for name, gradient in gradients.items():
            close(found[name], gradient, name)
        assert made.args.use_weighting is False

    def test_every_metric(self, tmp_path, policy, reference):
        theirs, made = (trainer(tmp_path, policy, which, ref_model=reference) for which in (None, "dpo"))
        for one in (theirs, made):
            loss_and_gradients(one)
        assert (
            made._metrics["train"].keys()
            == theirs._metrics["train"].keys()
            >= {"rewards/margins", "entropy", "logps/chosen"}
        )
        for name, expected in theirs._metrics["train"].items():
            assert made._metrics["train"][name] == pytest.approx(expected, rel=1e-5), name

    def test_names_of_logs_and_evaluation(self, tmp_path, policy):
        arguments = {"eval_strategy": "steps", "eval_steps": 2}
        names = []
        for objective in (None, "simpo"):
            made = trainer(
                tmp_path,
                policy,
                objective,
                ref_model=None if objective else policy,
                arguments=arguments,
                eval_dataset=datasets.Dataset.from_list(PAIRS),
            )
            made.train()
            names.append({name for log in made.state.log_history for name in log})
        assert names[0] == names[1] >= {"loss", "eval_loss", "eval_rewards/accuracies"}


@pytest.mark.parametrize("name", list(poz.zoo))
def test_every_objective_trains_or_is_refused(tmp_path, policy, name):
    if name in REFUSED:
        how = rf".*call it in a loop of your own, as in poz\.{name}\(poz\.{poz.zoo[name].family.__name__}\("
        with pytest.raises(ValueError, match=REFUSED[name] + how * (name != "kto")):
            trainer(tmp_path, policy, name, WITH_COLUMNS)
        return
    made = trainer(tmp_path, policy, name, WITH_COLUMNS, arguments={"max_steps": 1})
    made.train()
    (loss,) = [log["loss"] for log in made.state.log_history if "loss" in log]
    assert math.isfinite(loss)
    before = dict(policy.named_parameters())
    assert all(not torch.equal(before[key], after) for key, after in made.model.named_parameters())


class TestReference:
    def test_free_objective_neither_loads_nor_hashes_a_reference(self, tmp_path, policy, monkeypatch):
        loaded, load = [], dpo_trainer.create_model_from_path
        monkeypatch.setattr(dpo_trainer, "create_model_from_path", lambda *a, **k: loaded.append(a) or load(*a, **k))
        monkeypatch.setattr(dpo_trainer, "hash_module", lambda model: pytest.fail("hashes all weights"))
        policy.save_pretrained(tmp_path / "policy")
        data = datasets.Dataset.from_list(PAIRS)
        arguments = settings(tmp_path, precompute_ref_log_probs=True)
        path = str(tmp_path / "policy")
        made = DPOTrainer(path, None, arguments, train_dataset=data, processing_class=Bytes(), objective="simpo")
        assert len(loaded) == 1
        assert made.ref_model is None
        assert torch.equal(made.model.lm_head.weight, policy.lm_head.weight)
        assert math.isfinite(loss_and_gradients(made)[0])

    def test_the_copy_has_no_dropout(self, tmp_path, policy):
        model = copy.deepcopy(policy)
        model.model.layers[0].self_attn.attention_dropout = 0.5
        made = trainer(tmp_path, model, "dpo", arguments={"disable_dropout": False})
        once, twice = (made.compute_ref_log_probs(made.ref_model, inputs(made))[0] for _ in range(2))
        assert torch.equal(once, twice)
        assert not any(p.requires_grad for p in made.ref_model.parameters())

    @pytest.mark.filterwarnings("ignore:The `'keep_end'` truncation mode is deprecated:FutureWarning")
    def test_precomputed_log_probs_are_cached_apart_from_trls(self, tmp_path, policy, reference):
        """And from those of other lengths, which TRL's key does not tell apart."""
        datasets.Dataset.from_list(PAIRS).save_to_disk(tmp_path / "data")

        def passes(objective, length):
            arguments = {"precompute_ref_log_probs": True, "truncation_mode": "keep_end", "max_length": length}
            made = trl.DPOTrainer if objective is None else functools.partial(DPOTrainer, objective=objective)
            return reference_passes(made, policy, reference, settings(tmp_path / "out", **arguments), tmp_path / "data")

        ways = [(None, None), (None, None), ("dpo", None), ("dpo", None), ("dpo", 12), ("ipo", None)]
        assert [passes(*way) for way in ways] == [1, 0, 1, 0, 1, 0]

    def test_free_objective_runs_no_reference_pass(self, tmp_path, policy):
        made = trainer(tmp_path, policy, "simpo", arguments={"precompute_ref_log_probs": True})
        calls = []
        made.model.register_forward_hook(lambda *_: calls.append(1))
        loss_and_gradients(made)
        assert made.ref_model is None
        assert len(calls) == 1
        assert "ref_chosen_logps" not in made.train_dataset.column_names
        assert made.evaluate(datasets.Dataset.from_list(PAIRS))["eval_loss"] > 0

    def test_one_pass_where_it_is_read(self, tmp_path, policy):
        made = trainer(tmp_path, policy, "dpo")
        calls = []
        made.ref_model.register_forward_hook(lambda *_: calls.append(1))
        loss, _ = loss_and_gradients(made)
        assert len(calls) == 1
        assert loss.item() == pytest.approx(torch.tensor(2.0).log().item(), abs=0)  # the copy is the policy, bitwise

    def test_precomputed(self, tmp_path, policy, reference):
        expected, gradients = loss_and_gradients(trainer(tmp_path, policy, "dpo", ref_model=reference))
        made = trainer(tmp_path, policy, "dpo", ref_model=reference, arguments={"precompute_ref_log_probs": True})
        calls = []
        made.ref_model.register_forward_hook(lambda *_: calls.append(1))
        loss, found = loss_and_gradients(made)
        assert not calls
        close(loss, expected, "loss", 1e-6)
        for name, gradient in gradients.items():
            close(found[name], gradient, name)

    def test_precomputed_from_the_policy_and_evaluated(self, tmp_path, policy):
        arguments = {"precompute_ref_log_probs": True, "eval_strategy": "steps", "eval_steps": 1}
        made = trainer(tmp_path, policy, "dpo", arguments=arguments, eval_dataset=datasets.Dataset.from_list(PAIRS))
        assert made.ref_model is None
        made.train()
        assert made.state.log_history[0]["loss"] == pytest.approx(0.6931, abs=1e-4)

    def test_columns_survive_precomputing(self, tmp_path, policy, reference):
        pairs = [{**pair, "margin": 1.0 + i} for i, pair in enumerate(PAIRS)]
        objective = poz.mnpo.bind(target="reward", eta=0.5, tau=0.1)
        expected, _ = loss_and_gradients(trainer(tmp_path, policy, objective, pairs, ref_model=reference))
        made = trainer(
            tmp_path, policy, objective, pairs, ref_model=reference, arguments={"precompute_ref_log_probs": True}
        )
        close(loss_and_gradients(made)[0], expected, "loss", 1e-6)
        assert made.evaluate(datasets.Dataset.from_list(pairs))["eval_loss"] == pytest.approx(expected.item(), rel=1e-5)

    def test_reference_per_token(self, tmp_path, policy, reference):
        objective = poz.cpl.bind(regularizer="kl", bias=0.75)
        made = trainer(tmp_path, policy, objective, ref_model=reference)
        (chosen, rejected), (ref_chosen, ref_rejected) = (sums(model, made) for model in (policy, reference))
        right = 0.1 * (chosen - ref_chosen)
        wrong = 0.1 * (rejected - ref_rejected)
        expected = torch.nn.functional.softplus(0.75 * wrong - right).mean()
        close(loss_and_gradients(made)[0], expected.detach(), "loss")


def lora():
    return peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")


class TestPEFT:
    def moved(self, made):
        torch.manual_seed(7)
        with torch.no_grad():
            for name, p in made.model.named_parameters():
                if ".default." in name:
                    p.add_(0.1 * torch.randn(p.shape))
        return made

    def test_adapter_off_is_the_reference(self, tmp_path, policy):
        theirs, made = (self.moved(trainer(tmp_path, policy, which, peft_config=lora())) for which in (None, "dpo"))
        (expected, gradients), (loss, found) = loss_and_gradients(theirs), loss_and_gradients(made)
        close(loss, expected, "loss", 1e-6)
        assert abs(loss.item() - 0.6931) > 1e-4
        assert found.keys() == gradients.keys()
        for name, gradient in gradients.items():
            assert "lora" in name
            close(found[name], gradient, name)

    @pytest.mark.parametrize("objective", ["dpo", "simpo"])
    def test_an_adapter_trained_before_is_the_reference(self, tmp_path, policy, objective):
        adapted = peft.get_peft_model(copy.deepcopy(policy), lora())
        made = trainer(tmp_path, adapted, objective)
        self.moved(made)
        before = {name: p.clone() for name, p in made.model.named_parameters()}
        made.train()
        changed = {name for name, p in made.model.named_parameters() if not torch.equal(before[name], p)}
        assert changed
        assert all(".default." in name for name in changed)


class TestArguments:
    def test_by_place_as_in_trl(self, tmp_path, policy):
        data = datasets.Dataset.from_list(PAIRS)
        made = DPOTrainer(copy.deepcopy(policy), None, settings(tmp_path), None, data, data, Bytes())
        assert made.objective is poz.dpo
        assert made.eval_dataset is not None
        with pytest.raises(TypeError, match="multiple values for argument 'train_dataset'"):
            DPOTrainer(copy.deepcopy(policy), None, settings(tmp_path), None, data, train_dataset=data)

    @pytest.mark.parametrize("objective", ["dpo", "simpo", "wpo"])
    def test_the_configuration_stays_the_callers(self, tmp_path, policy, objective):
        arguments = settings(tmp_path, max_steps=1)
        before = arguments.to_dict()
        data = datasets.Dataset.from_list(PAIRS)
        made = DPOTrainer(
            copy.deepcopy(policy), None, arguments, train_dataset=data, processing_class=Bytes(), objective=objective
        )
        assert made.args is arguments
        assert arguments.to_dict() == before
        arguments.max_steps = 3
        made.train()
        assert made.state.global_step == 3

    def test_the_configuration_after_a_failure(self, tmp_path, policy):
        arguments = settings(tmp_path)
        with pytest.raises(ValueError, match="`train_dataset` is required"):
            DPOTrainer(copy.deepcopy(policy), None, arguments, objective="wpo")
        assert arguments.use_weighting is False


class TestTraining:
    def test_bf16_of_a_model_that_was_trained_before(self, tmp_path, policy):
        """Accelerate prepares a model once: the second time the policy runs in float32, and so must its reference."""
        model, arguments = copy.deepcopy(policy), settings(tmp_path, bf16=True, max_steps=1)
        for dtype in (torch.bfloat16, torch.float32):
            made = DPOTrainer(model, None, arguments, None, datasets.Dataset.from_list(PAIRS), None, Bytes())
            found = []
            for one in (made.model, made.ref_model):
                one.model.layers[0].mlp.up_proj.register_forward_hook(
                    lambda *given, found=found: found.append(given[2].dtype)
                )
            made.train()
            assert found == [dtype, dtype]
            assert made.state.log_history[0]["rewards/chosen"] == made.state.log_history[0]["rewards/margins"] == 0

    def test_accumulated_micro_batches_are_one_batch(self, tmp_path, policy, reference):
        plain = {
            "max_steps": 1,
            "optim": "sgd",
            "learning_rate": 0.5,
            "max_grad_norm": 0.0,
            "lr_scheduler_type": "constant",
        }
        after = []
        for size, count in ((4, 1), (2, 2), (1, 4)):
            arguments = {**plain, "per_device_train_batch_size": size, "gradient_accumulation_steps": count}
            made = trainer(tmp_path, policy, "dpo", ref_model=reference, arguments=arguments)
            made.train()
            after.append(dict(made.model.named_parameters()))
        for name, p in policy.named_parameters():
            step = (after[0][name] - p).detach()
            assert step.abs().max() > 0
            for other in after[1:]:
                close((other[name] - p).detach(), step, name, rtol=1e-4)

    @pytest.mark.parametrize("dtype", ["autocast", "weights"])
    def test_bf16(self, tmp_path, policy, reference, dtype):
        expected, _ = loss_and_gradients(trainer(tmp_path, policy, "dpo", ref_model=reference))
        cast = (lambda model: copy.deepcopy(model).bfloat16()) if dtype == "weights" else (lambda model: model)
        made = trainer(tmp_path, cast(policy), "dpo", ref_model=cast(reference), arguments={"bf16": True})
        made.train()
        first = made.state.log_history[0]
        assert first["loss"] == pytest.approx(expected.item(), rel=0.05)
        assert first["loss"] != expected.item()

    def test_gradient_checkpointing(self, tmp_path, policy, reference):
        expected, gradients = loss_and_gradients(trainer(tmp_path, policy, "dpo", ref_model=reference))
        made = trainer(tmp_path, policy, "dpo", ref_model=reference)
        made.model.gradient_checkpointing_enable()
        loss, found = loss_and_gradients(made)
        close(loss, expected, "loss", 1e-6)
        close(found["lm_head.weight"], gradients["lm_head.weight"], "lm_head.weight")

    def test_model_card_names_the_objective(self, tmp_path, policy):
        trainer(tmp_path, policy, "simpo").create_model_card()
        card = (tmp_path / "README.md").read_text()
        assert "trained with Simple Preference Optimization" in card
        assert "2405.14734" in card

    def test_a_combination_has_no_one_paper(self, tmp_path, policy):
        made = trainer(tmp_path, policy, poz.combine({"dpo": 1.0, "sft": 0.2}))
        made.create_model_card()
        card = (tmp_path / "README.md").read_text()
        assert "trained with Direct Preference Optimization + " in card
        assert "huggingface.co/papers" not in card
        assert {"dpo", "sft"} <= set(made._tag_names)
        assert folder(policy, made.objective) == "model-dpo-sft"


class TestColumns:
    def test_label_margin_and_opponents_reach_the_objective(self, tmp_path, policy, reference):
        opponents = [([-20.0 - i, -3.0], [-18.0, -4.0 - i]) for i in range(4)]
        pairs = [
            {**pair, "margin": 0.5 * i, "opponents_chosen": one, "opponents_rejected": other}
            for i, (pair, (one, other)) in enumerate(zip(PAIRS, opponents, strict=True))
        ]
        objective = poz.mnpo.bind(target="reward", eta=0.5, tau=0.1, weights=(0.25, 0.75))
        made = trainer(tmp_path, policy, objective, pairs, ref_model=reference)
        (chosen, rejected), (ref_chosen, ref_rejected) = (sums(model, made) for model in (policy, reference))
        gaps = torch.tensor([[a - b for a, b in zip(*sides, strict=True)] for sides in opponents])
        a = (chosen - rejected) - 0.2 * (ref_chosen - ref_rejected) - 0.8 * (0.25 * gaps[:, 0] + 0.75 * gaps[:, 1])
        expected = ((a - 0.5 * torch.tensor([0.0, 0.5, 1.0, 1.5])) ** 2).mean()
        close(loss_and_gradients(made)[0], expected.detach(), "loss")

    def test_opponents_of_means(self, tmp_path, policy):
        pairs = [{**pair, "opponents_chosen": [-5.0, -4.0], "opponents_rejected": [-6.0, -6.0]} for pair in PAIRS]
        objective = poz.mnpo.bind(tau=0.0, weights=(0.5, 0.5), length_normalized=True)
        made = trainer(tmp_path, policy, objective, pairs)
        loss_and_gradients(made)
        lengths = [[len(pair[side]) + 1 for pair in PAIRS] for side in ("chosen", "rejected")]
        expected = (sums(policy, made)[0] / torch.tensor(lengths[0])).mean().item()
        assert made._metrics["train"]["rewards/chosen"] == [pytest.approx(expected, rel=1e-5)]

    def test_lengths_are_those_of_the_completion_mask(self, tmp_path, policy):
        made = trainer(tmp_path, policy, poz.simpo.bind(beta=2.0, gamma=0.5))
        lengths = [[len(pair[side]) + 1 for pair in PAIRS] for side in ("chosen", "rejected")]  # with the end token
        means = [total / torch.tensor(length) for total, length in zip(sums(policy, made), lengths, strict=True)]
        expected = torch.nn.functional.softplus(0.5 - 2 * (means[0] - means[1])).mean()
        close(loss_and_gradients(made)[0], expected.detach(), "loss")

    def test_the_reference_is_the_opponent_by_default(self, tmp_path, policy, reference):
        free = poz.mnpo.bind(tau=0.0, eta=0.5)
        assert free.reference_free
        found, _ = loss_and_gradients(trainer(tmp_path, policy, free, ref_model=reference))
        expected, _ = loss_and_gradients(trainer(tmp_path, policy, poz.ipo.bind(tau=0.5), ref_model=reference))
        close(found, expected, "loss", 1e-6)

    def test_opponents_without_a_reference(self, tmp_path, policy):
        pairs = [{**pair, "opponents_chosen": [-5.0], "opponents_rejected": [-6]} for pair in PAIRS]
        made = trainer(tmp_path, policy, poz.mnpo.bind(tau=0.0, eta=0.5), pairs)
        assert made.ref_model is None
        chosen, rejected = sums(policy, made)
        close(loss_and_gradients(made)[0], ((chosen - rejected - 1 - 1) ** 2).mean().detach(), "loss")

    def test_labels_of_cpl(self, tmp_path, policy):
        pairs = [{**pair, "label": label} for pair, label in zip(PAIRS, [1.0, 0.0, 0.5, 1.0], strict=True)]
        made = trainer(tmp_path, policy, "cpl", pairs)
        chosen, rejected = sums(policy, made)
        softplus, label = torch.nn.functional.softplus, torch.tensor([1.0, 0.0, 0.5, 1.0])
        right, wrong = softplus(0.05 * rejected - 0.1 * chosen), softplus(0.05 * chosen - 0.1 * rejected)
        close(loss_and_gradients(made)[0], (label * right + (1 - label) * wrong).mean().detach(), "loss")

    def test_margin_of_rebel_and_entropy_of_mallows_dpo(self, tmp_path, policy, reference):
        def loss(objective):
            made = trainer(tmp_path, policy, objective, WITH_COLUMNS, ref_model=reference)
            (chosen, rejected), (ref_chosen, ref_rejected) = (sums(model, made) for model in (policy, reference))
            return loss_and_gradients(made)[0], ((chosen - ref_chosen) - (rejected - ref_rejected)).detach()

        found, h = loss(poz.rebel.bind(eta=2.0))
        close(found, ((h - 2 * torch.tensor([0.5, 1.5, 2.5, 3.5])) ** 2).mean(), "margin")
        found, h = loss(poz.mallows_dpo.bind(beta=0.1, kappa=1.0))
        dispersion = -torch.tensor([0.2, 0.4, 0.6, 0.8]).log()
        close(found, torch.nn.functional.softplus(-0.1 * dispersion * h).mean(), "entropy")

    def test_weights_of_tokens(self, tmp_path, policy, reference):
        made = trainer(tmp_path, policy, poz.tis_dpo.bind(beta=0.5), WITH_COLUMNS, ref_model=reference)
        (logps, mask), (ref_logps, _) = (log_probs(model, made) for model in (policy, reference))
        ratios = [row[here] for row, here in zip((logps - ref_logps).detach(), mask, strict=True)]
        weights = [torch.tensor(pair[f"{side}_weights"]) for side in ("chosen", "rejected") for pair in WITH_COLUMNS]
        # Where the completion begins at the first token of its row, that token has no log-prob and its weight no use.
        chosen, rejected = (
            torch.stack([weight[-len(ratio) :] @ ratio for ratio, weight in zip(ratios, weights, strict=True)])
        ).chunk(2)
        assert len(ratios[3]) == len(weights[3]) - 1
        expected = torch.nn.functional.softplus(0.5 * (rejected - chosen)).mean()
        close(loss_and_gradients(made)[0], expected, "loss")

    def test_weights_that_are_not_one_for_each_token(self, tmp_path, policy):
        pairs = [{**WITH_COLUMNS[0], "rejected_weights": [1.0, 1.0, 1.0]}]
        with pytest.raises(ValueError, match=r"'rejected_weights' must hold one number .* got 3 for 4 tokens"):
            inputs(trainer(tmp_path, policy, "tis_dpo", pairs))

    def test_reward_gap_of_pro(self, tmp_path, policy):
        def loss(pairs):
            return loss_and_gradients(trainer(tmp_path, policy, "pro", pairs))[0].item()

        one, two = ([{**pair, "margin": gap} for pair in PAIRS] for gap in (1.0, 2.0))
        assert loss(PAIRS) == loss(one) != loss(two)

    @pytest.mark.parametrize(("calibration", "side"), [("chosen", [0]), ("rejected", [1]), ("both", [0, 1])])
    def test_calibration_of_vpo(self, tmp_path, policy, reference, calibration, side):
        objective = poz.vpo.bind(alpha=0.5, sign=-1)
        made = trainer(tmp_path, policy, objective, ref_model=reference, calibration=calibration)
        ours, theirs = sums(policy, made), sums(reference, made)
        h = (ours[0] - ours[1]) - (theirs[0] - theirs[1])
        bonus = torch.cat([ours[i] - theirs[i] for i in side]).mean()
        expected = torch.nn.functional.softplus(-0.1 * h).mean() - 0.05 * bonus
        close(loss_and_gradients(made)[0], expected.detach(), "loss")

    @pytest.mark.parametrize(
        ("objective", "column"),
        [
            (poz.mnpo.bind(target="reward"), "margin"),
            (poz.lcpo.bind(reliability=torch.tensor([0.9, 0.6])), "annotator"),
            (LCPO(num_annotators=2), "annotator"),
            (poz.rebel, "margin"),
            (poz.mallows_dpo, "entropy"),
            (poz.tis_dpo, "chosen_weights"),
        ],
    )
    def test_missing_column(self, tmp_path, policy, objective, column):
        with pytest.raises(ValueError, match=f"reads the column '{column}', which the data set 'train' does not have"):
            trainer(tmp_path, policy, objective)

    def test_half_of_the_opponents(self, tmp_path, policy):
        with pytest.raises(ValueError, match="'opponents_rejected'"):
            trainer(tmp_path, policy, "mnpo", [{**pair, "opponents_chosen": [0.0]} for pair in PAIRS])

    def test_opponents_in_one_data_set_only(self, tmp_path, policy):
        pairs = [{**pair, "opponents_chosen": [0.0], "opponents_rejected": [0.0]} for pair in PAIRS]
        with pytest.raises(ValueError, match="or in neither"):
            trainer(tmp_path, policy, poz.mnpo.bind(tau=0.0), pairs, eval_dataset=datasets.Dataset.from_list(PAIRS))

    @pytest.mark.parametrize("objective", ["mnpo", "inpo", "pro"])
    @pytest.mark.parametrize("trained", [True, False])
    def test_evaluation_measures_the_loss_that_is_trained(self, tmp_path, policy, objective, trained):
        """A column that is used where it is there changes the loss."""
        columns = {"margin": 2.0} if objective == "pro" else {"opponents_chosen": [0.0], "opponents_rejected": [0.0]}
        pairs = [PAIRS, [{**pair, **columns} for pair in PAIRS]]
        other = datasets.Dataset.from_list(pairs[not trained])
        with pytest.raises(ValueError, match=f"uses the column '{min(columns)}'.* or in neither"):
            trainer(tmp_path, policy, objective, pairs[trained], eval_dataset=other)
        made = trainer(tmp_path, policy, objective, pairs[trained])
        with pytest.raises(ValueError, match="or in neither"):
            made.evaluate(other)
        assert math.isfinite(made.evaluate(datasets.Dataset.from_list(pairs[trained]))["eval_loss"])

    def test_no_example(self, tmp_path, policy):
        with pytest.raises(ValueError, match="There is no example in the training data set"):
            trainer(tmp_path, policy, "dpo", [])

    def test_a_search_may_put_its_number_where_the_objective_was(self, tmp_path, policy):
        made = trainer(tmp_path, policy, "dpo", arguments={"max_steps": 1})
        assert made.objective is poz.dpo
        made.objective = None  # as transformers' search for hyper-parameters does
        made.train()

    def test_a_column_that_holds_no_numbers(self):
        collate = Columns(lambda examples: {}, ("margin", "annotator"))
        assert collate([{"annotator": 1}, {"annotator": 0}])["annotator"].tolist() == [1, 0]
        with pytest.raises(ValueError, match=r"'margin' must hold numbers.*None"):
            collate([{"margin": 1.0}, {"margin": None}])

    def test_a_family_that_pairs_do_not_make(self):
        class Other(tuple):
            __slots__ = ()

        other = dataclasses.replace(poz.dpo, family=Other)
        with pytest.raises(TypeError, match=r"reads poz\.Other, which pairs of completions do not make"):
            scored_losses(other, Scored(torch.zeros(2, 3), torch.ones(2, 3).bool(), torch.ones(2)))

    def test_a_field_that_pairs_do_not_give(self, tmp_path, policy):
        reads_kl = dataclasses.replace(poz.wpo, _required=("chosen", "rejected", "chosen_kl"))
        with pytest.raises(ValueError, match=r"`wpo` reads chosen_kl, which .* poz\.wpo\(poz\.TokenPairs\(chosen="):
            trainer(tmp_path, policy, reads_kl)


class TestUnpaired:
    """Each pair is two completions, as `trl.data_utils.unpair_preference_dataset` makes of it."""

    def ratios(self, made, policy, reference):
        return [ours - theirs for ours, theirs in zip(sums(policy, made), sums(reference, made), strict=True)]

    def test_bco_is_the_mean_over_all_completions(self, tmp_path, policy, reference):
        made = trainer(tmp_path, policy, poz.bco.bind(beta=0.3, baseline=0.2), ref_model=reference)
        chosen, rejected = self.ratios(made, policy, reference)
        softplus = torch.nn.functional.softplus
        expected = torch.cat((softplus(0.2 - 0.3 * chosen), softplus(0.3 * rejected - 0.2))).mean()
        close(loss_and_gradients(made)[0], expected.detach(), "loss")

    def test_kto_without_samples_of_the_kl(self, tmp_path, policy, reference):
        given = [{**pair, "kl": 0.5 * i, "weights": 1.0 + i} for i, pair in enumerate(PAIRS)]
        kl, weights = 0.5 * torch.arange(4), 1.0 + torch.arange(4)
        for estimator, pairs, point, weight in (("zero", PAIRS, 0, 1), ("given", given, kl, weights)):
            made = trainer(tmp_path, policy, poz.kto.bind(beta=0.3, estimator=estimator), pairs, ref_model=reference)
            chosen, rejected = self.ratios(made, policy, reference)
            sides = weight * torch.sigmoid(0.3 * (point - chosen)), weight * torch.sigmoid(0.3 * (rejected - point))
            close(loss_and_gradients(made)[0], torch.cat(sides).mean().detach(), estimator)
        with pytest.raises(ValueError, match="reads the column 'kl', which the data set 'train' does not have"):
            trainer(tmp_path, policy, poz.kto.bind(estimator="given"))

    def test_npo_unlearns_the_rejected_ones_alone(self, tmp_path, policy, reference):
        made = trainer(tmp_path, policy, poz.npo.bind(beta=0.3), ref_model=reference)
        _, rejected = self.ratios(made, policy, reference)
        expected = (2 / 0.3 * torch.nn.functional.softplus(0.3 * rejected)).mean()
        close(loss_and_gradients(made)[0], expected.detach(), "loss")

    def test_metrics_and_precomputing_are_those_of_dpo(self, tmp_path, policy, reference):
        metrics, losses = [], []
        for objective, precomputed in (("dpo", False), ("bco", False), ("bco", True)):
            arguments = {"precompute_ref_log_probs": precomputed}
            made = trainer(tmp_path, policy, objective, ref_model=reference, arguments=arguments)
            losses.append(loss_and_gradients(made)[0])
            metrics.append(made._metrics["train"])
        close(losses[2], losses[1], "loss", 1e-6)
        assert poz.bco.values["beta"] == poz.dpo.values["beta"]
        for name, expected in metrics[0].items():
            assert metrics[1][name] == metrics[2][name] == pytest.approx(expected, rel=1e-6), name


class TestRewards:
    def scored(self):
        logps = torch.tensor([[-1.0, -2.0], [-4.0, 0.0]])
        mask = torch.tensor([[True, True], [True, False]])
        return Scored(logps, mask, mask.sum(1), 0.5 * logps)

    @pytest.mark.parametrize(
        ("objective", "chosen", "rejected"),
        [
            (poz.dpo.bind(beta=0.2), 0.2 * -1.5, 0.2 * -2.0),
            (poz.lcpo.bind(base=poz.dpo.bind(beta=0.2)), 0.2 * -1.5, 0.2 * -2.0),
            (poz.simpo.bind(beta=2.0), 2 * -1.5, 2 * -4.0),
            (poz.ipo.bind(tau=0.5), 0.5 * -1.5, 0.5 * -2.0),
            (poz.ipo.bind(tau=0.5, length_normalized=True), 0.5 * -0.75, 0.5 * -2.0),
            (poz.inpo.bind(eta=0.3), 0.3 * -1.5, 0.3 * -2.0),  # as IPO, which it is where the opponent is the reference
            (poz.cpl.bind(alpha=0.3), 0.3 * -3.0, 0.3 * -4.0),
            (poz.cpl_ranking.bind(alpha=0.3, regularizer="kl"), 0.3 * -1.5, 0.3 * -2.0),
            (poz.pro, -1.5, -4.0),
            (poz.dno.bind(eta=0.3), 0.3 * -1.5, 0.3 * -2.0),
            (poz.rebel.bind(eta=3.0), -1.5, -2.0),
            (poz.arpo.bind(beta=0.3), 0.3 * -3.0, 0.3 * -4.0),  # its lengths bound how much rejected counts
            (poz.r_dpo.bind(beta=0.3), 0.3 * -1.5, 0.3 * -2.0),  # its lengths are a margin
            (poz.cpo.bind(beta=0.3), 0.3 * -3.0, 0.3 * -4.0),  # its lengths are those of the imitation term
            (poz.rrhf.bind(nll="sum"), -1.5, -4.0),
            (poz.ln_dpo.bind(beta=3.0), 3 * -0.75, 3 * -2.0),
            (poz.orpo, -1.5, -4.0),
            (poz.wpo.bind(beta=0.3), 0.3 * -1.5, 0.3 * -2.0),
            (poz.combine([("sft", 1.0), (poz.dpo.bind(beta=0.2), 0.5)]), 0.2 * -1.5, 0.2 * -2.0),
            (poz.combine([(poz.simpo.bind(beta=2.0), 1.0), (poz.dpo, 0.5)]), 2 * -1.5, 2 * -4.0),
            (poz.lcpo.bind(base=poz.combine([("sft", 1.0), (poz.dpo.bind(beta=0.2), 0.5)])), 0.2 * -1.5, 0.2 * -2.0),
            (poz.combine([("sft", 1.0), (poz.lcpo.bind(base=poz.dpo.bind(beta=0.2)), 1.0)]), 0.2 * -1.5, 0.2 * -2.0),
            (poz.combine({"pro": 1.0}), -1.5, -4.0),
            (poz.bco.bind(beta=0.3, baseline=0.5), 0.3 * -1.5, 0.3 * -2.0),
        ],
        ids=lambda value: value.name if isinstance(value, poz.Objective) else "",
    )
    def test_implicit(self, objective, chosen, rejected):
        found = implicit_rewards(objective, self.scored())
        assert [reward.item() for reward in found] == pytest.approx([chosen, rejected])


ANNOTATED = [{**pair, "annotator": i % 2} for i, pair in enumerate(PAIRS)]


class TestLCPO:
    def test_moves_once_for_each_optimiser_step_and_not_in_evaluation(self, tmp_path, policy, monkeypatch):
        moves = []
        plain = LCPO.step
        monkeypatch.setattr(LCPO, "step", lambda self: (moves.append(self._waiting[1].tolist()), plain(self))[1])
        objective = LCPO(poz.dpo.bind(beta=0.5), num_annotators=2)
        arguments = {
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 2,
            "eval_strategy": "steps",
            "eval_steps": 1,
        }
        evaluated = datasets.Dataset.from_list(ANNOTATED)
        made = trainer(tmp_path, policy, objective, ANNOTATED, arguments=arguments, eval_dataset=evaluated)
        made.train()
        assert moves == [[2.0, 2.0]] * 2  # both micro-batches, and none of the evaluation
        after = objective.reliability.clone()
        assert not torch.equal(after, torch.full((2,), 0.9))
        made.evaluate()
        assert torch.equal(objective.reliability, after)

    def test_state_is_in_the_checkpoint(self, tmp_path, policy):
        arguments = {"save_strategy": "steps", "save_steps": 1, "save_only_model": False}
        whole = LCPO(num_annotators=2)
        trainer(tmp_path, policy, whole, ANNOTATED, arguments=arguments).train()
        first = torch.load(tmp_path / "checkpoint-1" / STATE, weights_only=True)["reliability"]
        assert not torch.equal(first, whole.reliability)
        resumed = LCPO(num_annotators=2)
        trainer(tmp_path, policy, resumed, ANNOTATED, arguments=arguments).train(str(tmp_path / "checkpoint-1"))
        assert torch.equal(resumed.reliability, whole.reliability)
        (tmp_path / "checkpoint-1" / STATE).unlink()
        with pytest.raises(FileNotFoundError, match="has no objective"):
            trainer(tmp_path, policy, LCPO(num_annotators=2), ANNOTATED).train(str(tmp_path / "checkpoint-1"))

    def test_state_is_in_the_checkpoint_of_a_trial(self, tmp_path, policy, monkeypatch):
        """A search for hyper-parameters has a folder for each of its runs."""
        monkeypatch.setattr(DPOTrainer, "_get_output_dir", lambda self, trial: str(tmp_path / "run-0"))
        arguments = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 1}
        objective = LCPO(num_annotators=2)
        trainer(tmp_path, policy, objective, ANNOTATED, arguments=arguments).train()
        assert [path.name for path in (tmp_path / "run-0").iterdir()] == ["checkpoint-2"]
        state = torch.load(tmp_path / "run-0" / "checkpoint-2" / STATE, weights_only=True)
        assert torch.equal(state["reliability"], objective.reliability)

    def test_the_best_model_has_its_reliabilities(self, tmp_path, policy):
        often = {"save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1}
        first_is_best = {"metric_for_best_model": "eval_loss", "greater_is_better": True}
        arguments = {**often, **first_is_best, "load_best_model_at_end": True, "max_steps": 3}
        objective = LCPO(num_annotators=2)
        evaluated = datasets.Dataset.from_list(ANNOTATED)
        made = trainer(tmp_path, policy, objective, ANNOTATED, arguments=arguments, eval_dataset=evaluated)
        made.train()
        assert made.state.best_global_step == 1
        states = [torch.load(tmp_path / f"checkpoint-{i}" / STATE, weights_only=True)["reliability"] for i in (1, 3)]
        assert not torch.equal(*states)
        assert torch.equal(objective.reliability, states[0])

    def test_one_annotator_needs_no_column(self, tmp_path, policy, reference):
        fixed, _ = loss_and_gradients(trainer(tmp_path, policy, poz.lcpo.bind(reliability=0.8), ref_model=reference))
        made = trainer(tmp_path, policy, LCPO(reliability=0.8), ref_model=reference)
        close(loss_and_gradients(made)[0], fixed, "loss", 1e-6)


class TestCoupled:
    @pytest.mark.parametrize(
        "objective", ["aot", poz.sft.bind(normalizer="batch_tokens"), poz.combine({"dpo": 1.0, "aot": 0.5})]
    )
    def test_what_is_defined_over_the_batch_is_not_accumulated(self, tmp_path, policy, objective):
        with pytest.raises(ValueError, match=r"is defined over the whole batch \(.* gradient_accumulation_steps=2"):
            trainer(tmp_path, policy, objective, arguments={"gradient_accumulation_steps": 2})

    @pytest.mark.parametrize(
        "objective", [poz.sft.bind(normalizer="sum"), poz.sft.bind(normalizer="mean"), poz.vpo.bind(alpha=0.5, sign=-1)]
    )
    def test_micro_batches_are_one_batch(self, tmp_path, policy, objective):
        arguments = {"max_steps": 1, "optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 0.0}
        after = []
        for size, count in ((4, 1), (2, 2)):
            how = {**arguments, "per_device_train_batch_size": size, "gradient_accumulation_steps": count}
            made = trainer(tmp_path, policy, objective, arguments=how)
            made.train()
            after.append(dict(made.model.named_parameters()))
        for name, p in policy.named_parameters():
            whole, parts = ((after[i][name] - p).detach() for i in (0, 1))
            assert whole.abs().max() > 0
            close(parts, whole, name, rtol=1e-4)  # as for DPO: float32 steps of micro-batches, added up


class TestRefuses:
    @pytest.mark.parametrize(
        "field",
        [
            *(
                {"loss_type": "ipo"},
                {"beta": 0.5},
                {"label_smoothing": 0.1},
                {"ld_alpha": 0.5},
                {"use_weighting": True},
            ),
            *({"discopop_tau": 5.0}, {"f_alpha_divergence_coef": 0.9}),
        ],
    )
    def test_hyper_parameters_of_trls_own_loss(self, tmp_path, policy, field):
        with pytest.raises(
            ValueError, match=rf"DPOConfig\({next(iter(field))}=.*sets TRL's own loss, which `dpo` replaces"
        ):
            trainer(tmp_path, policy, "dpo", arguments=field)

    def test_a_reference_that_is_not_read(self, tmp_path, policy, reference):
        with pytest.raises(ValueError, match="`simpo` reads no reference, but got a ref_model"):
            trainer(tmp_path, policy, "simpo", ref_model=reference)
        with pytest.raises(ValueError, match="`simpo` reads no reference, but got sync_ref_model"):
            trainer(tmp_path, policy, "simpo", arguments={"sync_ref_model": True})

    def test_sums_of_the_reference_for_an_objective_on_tokens(self, tmp_path, policy):
        with pytest.raises(ValueError, match="keeps only their sums"):
            trainer(tmp_path, policy, poz.cpl.bind(regularizer="kl"), arguments={"precompute_ref_log_probs": True})

    def test_unknown_objective_calibration_and_images(self, tmp_path, policy):
        with pytest.raises(KeyError, match="Did you mean"):
            trainer(tmp_path, policy, "simp0")
        with pytest.raises(TypeError, match="objective must be a name"):
            trainer(tmp_path, policy, 3)
        with pytest.raises(ValueError, match="calibration must be one of"):
            trainer(tmp_path, policy, "vpo", calibration="all")
        with pytest.raises(ValueError, match="trains on text"):
            trainer(tmp_path, policy, "dpo", [{**pair, "image": "x.png"} for pair in PAIRS])
