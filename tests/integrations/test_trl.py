"""TRL's DPOTrainer with objectives of poz: equal to TRL's own losses, and everything that TRL can do keeps working."""

import copy
import math

import datasets
import pytest
import torch
from trl_tiny import MARKS, PAIRS, WITH_COLUMNS, Bytes, close, loss_and_gradients, settings, tiny, trainer

import poz
from poz.integrations.trl import DPOTrainer, folder

pytestmark = MARKS


REFUSED = {
    "tpo": "needs 3 completions, gold, chosen and rejected",
    "mdpo": "needs 3 .*got K = 2",
    "mapl": "needs 4 log-probs, chosen and rejected under the better prompt",
    "ddpo": "reads .*_changed",
    "tdpo": "reads .*_kl",
    "kto": "reads kl_logps, kl_ref_logps.*KTOTrainer makes them, and estimator='zero', .* needs none.$",
    **{
        name: "reads" for name, spec in poz.zoo.items() if spec.family in (poz.Denoising, poz.RewardPairs, poz.Rollouts)
    },
}
"""The objectives that pairs of completions cannot serve, and why."""


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
    # at τ = 1 the softmax over sums is all on one completion, and has no slope
    objective = poz.ddo_rm.bind(tau=100.0) if name == "ddo_rm" else name
    made = trainer(tmp_path, policy, objective, WITH_COLUMNS, arguments={"max_steps": 1})
    made.train()
    (loss,) = [log["loss"] for log in made.state.log_history if "loss" in log]
    assert math.isfinite(loss)
    before = dict(policy.named_parameters())
    assert all(not torch.equal(before[key], after) for key, after in made.model.named_parameters())


class TestArguments:
    def test_by_place_as_in_trl(self, tmp_path, policy):
        data = datasets.Dataset.from_list(PAIRS)
        made = DPOTrainer(copy.deepcopy(policy), None, settings(tmp_path), None, data, data, Bytes())
        assert repr(made.objective) == repr(poz.dpo)
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


ALIKE = [
    {"prompt": "Hi", "chosen": " hello", "rejected": " go on"},
    {"prompt": "2 + 2?", "chosen": " 4, so", "rejected": " 5 or "},
    {"prompt": "Late?", "chosen": " yes it", "rejected": " no it "},
    {"prompt": "Day?", "chosen": " it is ", "rejected": " not it"},
]
"""Of which policy 0 and reference 3 sort the gaps otherwise, all four together, and alike in each micro-batch of two."""


class TestCoupled:
    @pytest.mark.parametrize(
        "objective",
        [
            poz.sft.bind(normalizer="sum"),
            poz.sft.bind(normalizer="mean"),
            poz.vpo.bind(alpha=0.5, sign=-1),
            "aot",
            "dr_dpo",
            poz.sft.bind(normalizer="batch_tokens"),
            poz.combine([("dpo", 0.8), ("bco", 0.4), (poz.sft.bind(normalizer="batch_tokens"), 1.0)]),
            poz.combine([("aot", 0.5), (poz.sft.bind(normalizer="batch_tokens"), 1.0)]),
        ],
    )
    def test_micro_batches_are_one_batch(self, tmp_path, policy, objective):
        arguments = {"max_steps": 1, "optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 0.0}
        referred = None if poz.combine([(objective, 1.0)]).reference_free else tiny(3)
        rows, after, logged = ALIKE if "aot" in repr(objective) else [*ALIKE[:3], PAIRS[1]], [], []
        for size, count in ((4, 1), (2, 2), (1, 4)):
            how = {**arguments, "per_device_train_batch_size": size, "gradient_accumulation_steps": count}
            made = trainer(tmp_path, policy, objective, rows, ref_model=referred, arguments=how)
            made.train()
            after.append(dict(made.model.named_parameters()))
            logged.append(made.state.log_history[0]["loss"])
        assert logged[1:] == pytest.approx([logged[0]] * 2, rel=1e-5)
        for name, p in policy.named_parameters():
            whole, *split = ((one[name] - p).detach() for one in after)
            assert whole.abs().max() > 0
            for parts in split:
                close(parts, whole, name, rtol=1e-4)  # as for DPO: float32 steps of micro-batches, added up

    def test_a_last_step_of_fewer_micro_batches(self, tmp_path, policy):
        """Three pairs, one a micro-batch and two a step: the second step of the epoch has one."""
        arguments = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "max_steps": 4}
        made = trainer(tmp_path, policy, "aot", PAIRS[:3], arguments=arguments)
        made.train()
        assert made.state.global_step == 4
        assert all(math.isfinite(log["loss"]) for log in made.state.log_history if "loss" in log)

    @pytest.mark.parametrize("options", [{"loss_type": "aot", "beta": 1.0}, {"loss_type": ["sigmoid", "sft"]}])
    def test_each_micro_batch_alone_as_in_trl(self, tmp_path, policy, options):
        arguments = {"max_steps": 1, "optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 0.0, **options}
        how = {**arguments, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
        rows = ALIKE if options["loss_type"] == "aot" else [*ALIKE[:3], PAIRS[1]]
        more = {"ref_model": tiny(3), "arguments": how}
        made = [
            trainer(tmp_path, policy, None, rows, **more),
            trainer(tmp_path, policy, ..., rows, accumulation="micro_batch", **more),
            trainer(tmp_path, policy, ..., rows, **more),
        ]
        for one in made:
            one.train()
        theirs, same, whole = (dict(one.model.named_parameters()) for one in made)
        moved = 0.0
        for name, p in policy.named_parameters():
            close((same[name] - p).detach(), (theirs[name] - p).detach(), name, rtol=1e-4)
            moved = max(moved, (whole[name] - theirs[name]).abs().max().item() / (theirs[name] - p).abs().max().item())
        assert moved > 0.01  # the whole batch is another loss

    def test_what_takes_two_passes_needs_them_alike(self, tmp_path, policy):
        split = {"gradient_accumulation_steps": 2, "disable_dropout": False}
        with pytest.raises(ValueError, match=r"`aot` is defined over the whole batch .*disable_dropout=True, or acc"):
            trainer(tmp_path, policy, "aot", arguments=split)
        assert trainer(tmp_path, policy, poz.sft.bind(normalizer="batch_tokens"), arguments=split)
        with pytest.raises(ValueError, match=r"accumulation must be one of .*got 'none'"):
            trainer(tmp_path, policy, "aot", accumulation="none")


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
        with pytest.raises(ValueError, match="does not seem to be a vision-language model"):
            trainer(tmp_path, policy, "dpo", [{**pair, "image": "x.png"} for pair in PAIRS[:3]])
