"""TRL's KTOTrainer with objectives of poz: equal to TRL's own losses, and told apart from pairs."""

import contextlib
import copy
import functools
import math

import datasets
import peft
import pytest
import torch
import trl
from trl.trainer import kto_trainer
from trl_tiny import MARKS, PAIRS, UNPAIRED, Bytes, close, inputs, loss_and_gradients, reference_passes
from trl_tiny import kto_settings as settings
from trl_tiny import kto_trainer as trainer

import poz
from poz.integrations.trl_kto import KTOTrainer

pytestmark = MARKS


def ratios(made, policy, reference):
    """Summed log-ratios without TRL's fused head, and which completions are desirable."""
    batch, sums = inputs(made), []
    for model in (policy, reference):
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
        logps = logits.log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
        sums.append((logps * batch["completion_mask"][:, 1:]).sum(1))
    return (sums[0] - sums[1]).detach(), batch["label"].bool()


class TestEqualsTRL:
    # The tolerances are those of DPO against TRL: two ways in float32 to the same log-probs.
    @pytest.mark.parametrize("precomputed", [False, True])
    @pytest.mark.parametrize(
        ("arguments", "objective"),
        [
            ({}, "kto"),
            (
                {"beta": 0.7, "desirable_weight": 0.5, "undesirable_weight": 1.3},
                poz.kto.bind(beta=0.7, desirable_weight=0.5, undesirable_weight=1.3),
            ),
            ({"loss_type": "apo_zero_unpaired", "beta": 0.3}, poz.kto.bind(beta=0.3, estimator="zero")),
        ],
    )
    def test_loss_metrics_and_every_gradient(self, tmp_path, policy, reference, arguments, objective, precomputed):
        how = {"precompute_ref_log_probs": precomputed}
        theirs = trainer(tmp_path, policy, None, ref_model=reference, arguments={**arguments, **how})
        made = trainer(tmp_path, policy, objective, ref_model=reference, arguments=how)
        (expected, gradients), (loss, found) = loss_and_gradients(theirs), loss_and_gradients(made)
        close(loss, expected, "loss", 1e-6)
        assert found.keys() == gradients.keys() == dict(policy.named_parameters()).keys()
        for name, gradient in gradients.items():
            assert gradient.abs().max() > 0
            close(found[name], gradient, name)
        # The clamp of the estimate at 0 hides nothing.
        assert (theirs._metrics["train"]["kl"][0] > 1) == ("loss_type" not in arguments)
        assert made._metrics["train"].keys() == theirs._metrics["train"].keys() >= {"kl", "rewards/margins"}
        for name, value in theirs._metrics["train"].items():
            assert made._metrics["train"][name] == pytest.approx(value, rel=1e-5), name

    def test_adapter_off_is_the_reference(self, tmp_path, policy):
        lora = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        answers = []
        for objective in (None, "kto"):
            made = trainer(tmp_path, policy, objective, peft_config=lora)
            torch.manual_seed(7)
            with torch.no_grad():
                for name, p in made.model.named_parameters():
                    if ".default." in name:
                        p.add_(0.1 * torch.randn(p.shape))
            answers.append(loss_and_gradients(made))
        (expected, gradients), (loss, found) = answers
        close(loss, expected, "loss", 1e-6)
        assert abs(loss.item() - 0.5) > 1e-4  # at the reference it is 1/2
        assert found.keys() == gradients.keys()
        for name, gradient in gradients.items():
            close(found[name], gradient, name)

    def test_training_and_evaluation(self, tmp_path, policy, reference):
        more = {"eval_strategy": "steps", "eval_steps": 2, "per_device_train_batch_size": 3}
        more |= {"gradient_accumulation_steps": 2, "per_device_eval_batch_size": 6}
        logs = []
        for objective in (None, "kto"):
            evaluated = datasets.Dataset.from_list(UNPAIRED[:6])
            said = contextlib.nullcontext()
            if objective:
                said = pytest.warns(UserWarning, match="each micro-batch makes its own estimate")
            data = {"examples": UNPAIRED[:6], "eval_dataset": evaluated}  # in TRL a last batch of one is its own sample
            with said:
                made = trainer(tmp_path, policy, objective, ref_model=reference, arguments=more, **data)
            made.train()
            logs.append(made.state.log_history)
        for theirs, ours in zip(*logs, strict=True):
            assert theirs.keys() == ours.keys()
            for name in theirs.keys() & {"loss", "eval_loss", "grad_norm", "kl", "eval_kl", "eval_rewards/chosen"}:
                # Steps of Adam, whose first are of the size of the learning rate however small the gradient.
                assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-5), name


class TestReference:
    def test_the_copy_has_no_dropout(self, tmp_path, policy):
        model = copy.deepcopy(policy)
        model.model.layers[0].self_attn.attention_dropout = 0.5
        made = trainer(tmp_path, model, "bco", arguments={"disable_dropout": False})
        once, twice = (made.compute_ref_log_probs(made.ref_model, inputs(made))[0] for _ in range(2))
        assert torch.equal(once, twice)

    def test_bf16_of_a_model_that_was_trained_before(self, tmp_path, policy):
        """Accelerate prepares a model once: the second time the policy runs in float32, and so must its reference."""
        model, how = policy, {"bf16": True, "max_steps": 1, "use_cpu": True}
        for _ in range(2):
            made = trainer(tmp_path, model, "kto", arguments=how)
            made.train()
            model, first = made.model, made.state.log_history[0]
            assert first["rewards/margins"] == first["kl"] == 0
            assert first["loss"] == 0.5

    def test_precomputed_log_probs_are_cached_apart_from_trls(self, tmp_path, policy, reference):
        datasets.Dataset.from_list(UNPAIRED).save_to_disk(tmp_path / "data")
        config = settings(tmp_path / "out", precompute_ref_log_probs=True, max_length=None)
        ours = functools.partial(KTOTrainer, objective="kto")
        passes = [
            reference_passes(made, policy, reference, config, tmp_path / "data")
            for made in (trl.KTOTrainer, trl.KTOTrainer, ours, ours)
        ]
        assert passes == [2, 0, 2, 0]  # completions and samples of the KL


class TestArguments:
    def test_by_place_as_in_trl_and_the_configuration_stays_the_callers(self, tmp_path, policy):
        arguments, data = settings(tmp_path, max_steps=1), datasets.Dataset.from_list(UNPAIRED)
        before = arguments.to_dict()
        made = KTOTrainer(copy.deepcopy(policy), None, arguments, None, data, None, Bytes(), objective="bco")
        assert made.args is arguments
        assert arguments.to_dict() == before
        arguments.max_steps = 3
        made.train()
        assert made.state.global_step == 3


class TestKL:
    """The metric `kl` is what the objective uses; `TestEqualsTRL` has the estimate of KTO."""

    def kl(self, folder, policy, reference, objective, examples=UNPAIRED):
        made = trainer(folder, policy, objective, examples, ref_model=reference)
        loss_and_gradients(made)
        return made._metrics["train"].get("kl")

    def test_given_as_a_column(self, tmp_path, policy, reference):
        examples = [{**one, "kl": i - 1.0} for i, one in enumerate(UNPAIRED)]  # one is below 0, where KTO clamps it
        found = self.kl(tmp_path, policy, reference, poz.kto.bind(estimator="given"), examples)
        assert found == [pytest.approx(15 / 7)]

    def test_mean_of_nonzero_samples(self, tmp_path, policy, reference):
        """One of the seven samples has a log-ratio of 0: its completion is masked."""
        made = trainer(tmp_path, policy, poz.kto.bind(estimator="nonzero_mean"), ref_model=reference)
        batch = inputs(made)
        batch["KL_completion_mask"][0] = 0
        made.compute_loss(made.model, batch)
        plain = trainer(tmp_path, policy, "kto", ref_model=reference)
        plain.compute_loss(plain.model, batch)
        assert made._metrics["train"]["kl"] == [pytest.approx(7 / 6 * plain._metrics["train"]["kl"][0], rel=1e-5)]

    def test_none(self, tmp_path, policy, reference):
        assert self.kl(tmp_path, policy, reference, "bco") is None
        assert self.kl(tmp_path, policy, reference, poz.kto.bind(estimator="zero")) == [0]

    @pytest.mark.parametrize(("objective", "advice"), [("bco", 0), ("kto", 1)])
    def test_advice_on_weights_is_for_objectives_that_have_them(self, tmp_path, policy, monkeypatch, objective, advice):
        said = []
        monkeypatch.setattr(kto_trainer.logger, "warning", lambda text, *_, **__: said.append(text))
        trainer(tmp_path, policy, objective, UNPAIRED[:5])
        assert len([text for text in said if "desirable_weight in" in text]) == advice


class TestObjectives:
    def test_a_combination_has_the_beta_of_its_first_part(self, tmp_path, policy):
        both = poz.combine([(poz.kto.bind(beta=0.3, estimator="zero"), 1.0), (poz.bco.bind(beta=0.2), 0.5)])
        made = trainer(tmp_path, policy, both)
        assert made.beta == 0.3
        loss_and_gradients(made)
        assert made._metrics["train"]["kl"] == [0]

    def test_bco_makes_no_samples_of_the_kl(self, tmp_path, policy, reference):
        objective = poz.bco.bind(beta=0.3, baseline=0.2)
        made = trainer(
            tmp_path, policy, objective, ref_model=reference, arguments={"train_sampling_strategy": "random"}
        )
        assert "KL_input_ids" not in inputs(made)
        ratio, good = ratios(made, policy, reference)
        expected = torch.nn.functional.softplus(torch.where(good, -1.0, 1.0) * (0.3 * ratio - 0.2)).mean()
        close(loss_and_gradients(made)[0], expected, "loss")
        assert made._metrics["train"]["rewards/chosen"] == [pytest.approx(0.3 * ratio[good].mean().item(), rel=1e-5)]

    def test_columns(self, tmp_path, policy, reference):
        examples = [{**one, "kl": 0.5 * i, "weights": 1.0 + i} for i, one in enumerate(UNPAIRED)]
        made = trainer(tmp_path, policy, poz.kto.bind(estimator="given"), examples, ref_model=reference)
        ratio, good = ratios(made, policy, reference)
        here = torch.arange(7.0)
        expected = ((1 + here) * torch.sigmoid(torch.where(good, -0.1, 0.1) * (ratio - 0.5 * here))).mean()
        close(loss_and_gradients(made)[0], expected, "loss")
        with pytest.raises(ValueError, match="reads the column 'kl', which the data set 'train' does not have"):
            trainer(tmp_path, policy, poz.kto.bind(estimator="given"))

    def test_pairs_are_taken_apart(self, tmp_path, policy):
        """A model without a path is copied, and a batch of both completions is 8."""
        made = trainer(tmp_path, policy, "bco", PAIRS)
        assert len(made.train_dataset) == 8
        assert loss_and_gradients(made)[0].item() == pytest.approx(math.log(2), rel=1e-6)  # at the reference

    def test_card(self, tmp_path, policy):
        trainer(tmp_path, policy, "bco").create_model_card()
        assert "trained with Binary Classifier Optimization" in (tmp_path / "README.md").read_text()


class TestRefuses:
    @pytest.mark.parametrize("name", ["dpo", "npo", "pro"])
    def test_objectives_that_do_not_tell_desirable_completions(self, tmp_path, policy, name):
        with pytest.raises(ValueError, match=rf"tells desirable completions from others, .* got `{name}`.*DPOTrainer"):
            trainer(tmp_path, policy, name)

    @pytest.mark.parametrize("field", [{"loss_type": "apo_zero_unpaired"}, {"beta": 0.5}, {"desirable_weight": 2.0}])
    def test_hyper_parameters_of_trls_own_loss(self, tmp_path, policy, field):
        with pytest.raises(ValueError, match=rf"KTOConfig\({next(iter(field))}=.*which `kto` replaces"):
            trainer(tmp_path, policy, "kto", arguments=field)

    def test_what_is_no_objective(self, tmp_path, policy):
        with pytest.raises(TypeError, match="objective must be a name"):
            trainer(tmp_path, policy, 3)

    def test_images(self, tmp_path, policy):
        with pytest.raises(ValueError, match="does not seem to be a vision-language model"):
            trainer(tmp_path, policy, "kto", [{**one, "image": "x.png"} for one in UNPAIRED[:6]])
