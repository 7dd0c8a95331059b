"""TRL's RewardTrainer with objectives of poz: equal to TRL's own loss, and whatever is not understood is refused."""

import copy
import math
import re
import warnings
from typing import Annotated, Any, NamedTuple

import datasets
import peft
import pytest
import torch
import trl
from torch.nn.functional import logsigmoid, softplus
from transformers import LlamaForSequenceClassification
from trl_tiny import MARKS, PAIRS, SHORT, Bytes, close, inputs, kto_trainer, loss_and_gradients, tiny
from trl_tiny import trainer as pairs_trainer

import poz
from poz.domains import Real
from poz.integrations.trl import DPOTrainer, RewardTrainer
from poz.integrations.trl_kto import KTOTrainer

pytestmark = MARKS
MARGINS = [{**pair, "margin": 0.5 * i - 0.5} for i, pair in enumerate(PAIRS)]
TIED = [{**pair, "label": 1 - 0.2 * i, "margin": 0.3 * i, "tie": int(i == 2)} for i, pair in enumerate(PAIRS)]
STEP = {"max_steps": 1, "optim": "sgd", "learning_rate": 0.5, "max_grad_norm": 0.0, "lr_scheduler_type": "constant"}


def model(outputs=1, seed=0):
    torch.manual_seed(seed)
    config = tiny(seed).config
    config.num_labels = outputs
    return LlamaForSequenceClassification(config)


def config(folder, **more):
    given = {"per_device_train_batch_size": 4, "gradient_checkpointing": False}
    return trl.RewardConfig(str(folder), **{**SHORT, **given, **more})


def trainer(folder, objective="bradley_terry", pairs=PAIRS, *, of=None, arguments=None, **more):
    """One of ours, or TRL's own where `objective` is None."""
    given = {"processing_class": Bytes(), "train_dataset": datasets.Dataset.from_list(pairs), **more}
    make = trl.RewardTrainer if objective is None else RewardTrainer
    ours = {} if objective is None else {"objective": objective}
    return make(copy.deepcopy(of or model()), config(folder, **(arguments or {})), **ours, **given)


def scores(of, made):
    batch = inputs(made)
    found = of(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.detach()
    return found.chunk(2)


class TestEqualsTRL:
    @pytest.mark.parametrize("pairs", [PAIRS, MARGINS], ids=["plain", "margin"])
    @pytest.mark.parametrize("centering", [None, 0.3])
    def test_loss_and_every_gradient(self, tmp_path, pairs, centering):
        theirs = trainer(tmp_path, None, pairs, arguments={"center_rewards_coefficient": centering})
        made = trainer(tmp_path, poz.bradley_terry.bind(centering=centering or 0.0), pairs)
        (expected, gradients), (loss, found) = loss_and_gradients(theirs), loss_and_gradients(made)
        close(loss, expected, "loss", 1e-6)
        assert found.keys() == gradients.keys() == dict(model().named_parameters()).keys()
        for name, gradient in gradients.items():
            assert gradient.abs().max() > 0
            close(found[name], gradient, name)

    def test_logs_of_training_and_evaluation(self, tmp_path):
        logs = []
        for objective in (None, "bradley_terry"):
            how = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4}
            made = trainer(tmp_path, objective, arguments=how, eval_dataset=datasets.Dataset.from_list(PAIRS[1:]))
            made.train()
            logs.append(made.state.log_history)
        for theirs, ours in zip(*logs, strict=True):
            assert ours.keys() == theirs.keys()
            for name in set(theirs) - {name for name in theirs if name.endswith(("runtime", "_second"))}:
                assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-6), name  # a step of float32 between
        assert {"accuracy", "margin", "min_reward", "mean_reward", "max_reward", "num_tokens"} <= logs[1][0].keys()
        assert {"eval_accuracy", "eval_margin", "eval_max_reward"} <= logs[1][1].keys()

    def test_messages_go_through_the_chat_template(self, tmp_path):
        tokens = Bytes()
        tokens.chat_template = "{% for one in messages %}<{{ one.role }}>{{ one.content }}{% endfor %}"
        rows = [
            {
                "chosen": [
                    {"role": "user", "content": pair["prompt"]},
                    {"role": "assistant", "content": pair["chosen"]},
                ],
                "rejected": [
                    {"role": "user", "content": pair["prompt"]},
                    {"role": "assistant", "content": pair["rejected"]},
                ],
            }
            for pair in PAIRS[:3]
        ]
        one, other = (trainer(tmp_path, who, rows, processing_class=tokens) for who in (None, "bradley_terry"))
        assert inputs(one)["input_ids"].tolist() == inputs(other)["input_ids"].tolist()


class TestColumns:
    def test_label_margin_and_tie_reach_the_objective(self, tmp_path):
        made = trainer(tmp_path, poz.bradley_terry.bind(tie_weight=0.5, temperature=2.0), TIED)
        chosen, rejected = (side[:, 0] for side in scores(model(), made))
        d, label = chosen - rejected, torch.tensor([1.0, 0.8, 0.6, 0.4])
        z = (d - torch.tensor([0.0, 0.3, 0.6, 0.9])) / 2
        expected = label * softplus(-z) + (1 - label) * softplus(z)
        expected[2] = 0.5 * d[2] ** 2
        close(loss_and_gradients(made)[0], expected.mean(), "loss")

    @pytest.mark.parametrize("name", ["strength", "chosen_factors"])
    def test_one_that_the_objective_does_not_read(self, tmp_path, name):
        value = [1.0, 2.0] if name == "chosen_factors" else 1
        said = rf"the training data set has the column '{name}', which `bradley_terry` does not read.*remove_columns\('{name}'\)"
        with pytest.raises(ValueError, match=said):
            trainer(tmp_path, pairs=[{**pair, name: value} for pair in PAIRS])

    @pytest.mark.parametrize("pairs", [PAIRS, TIED])
    def test_one_that_evaluation_has_and_training_lacks(self, tmp_path, pairs):
        other = datasets.Dataset.from_list(TIED if pairs is PAIRS else PAIRS)
        with pytest.raises(
            ValueError, match=r"`bradley_terry` uses the column 'label' where it is there.*another loss"
        ):
            trainer(tmp_path, pairs=pairs, eval_dataset=other)
        with pytest.raises(ValueError, match=r"column 'label' .* the data set 'eval', or in neither"):
            trainer(tmp_path, pairs=pairs).evaluate(other)

    def test_a_gap_of_scores_is_no_margin_unless_it_is_asked_for(self, tmp_path):
        """TRL takes no notice of these names, of which UltraFeedback has two."""
        rows = [{**pair, "score_chosen": 9.0, "score_rejected": 1.0} for pair in PAIRS]
        found, plain = (loss_and_gradients(trainer(tmp_path, pairs=pairs))[0] for pairs in (rows, PAIRS))
        assert found == plain

    @pytest.mark.parametrize(
        ("column", "said"),
        [
            ({"tie": 0.5}, "'tie' says whether there was no difference: true or false, 1 or 0; got 0.5"),
            ({"label": 1.5}, "'label' is the probability that chosen is better"),
            ({"margin": math.nan}, "'margin' must hold finite numbers; got nan"),
        ],
    )
    def test_numbers_that_mean_nothing(self, tmp_path, column, said):
        rows = [{**pair, **dict.fromkeys(column, 1.0), **(column if i == 2 else {})} for i, pair in enumerate(PAIRS)]
        with pytest.raises(ValueError, match=f"row 2: {re.escape(said)}"):
            trainer(tmp_path, pairs=rows)

    def test_a_stream(self, tmp_path):
        stream = datasets.Dataset.from_list(TIED).to_iterable_dataset()
        found, plain = (trainer(tmp_path, train_dataset=rows) for rows in (stream, datasets.Dataset.from_list(TIED)))
        assert found.columns == plain.columns == ("label", "margin", "tie")
        rows = list(found.train_dataset)
        close(found.compute_loss(found.model, found.data_collator(rows)), loss_and_gradients(plain)[0], "loss")
        found.train()

    def test_images(self, tmp_path):
        with pytest.raises(ValueError, match=r"RewardTrainer with `bradley_terry` trains on text; .* holds images"):
            trainer(tmp_path, pairs=[{**pair, "images": [1]} for pair in PAIRS])

    def test_texts_that_are_too_long_are_counted(self, tmp_path):
        with pytest.warns(UserWarning, match="left out 1 of 4 examples, whose texts are longer than max_length=27"):
            made = trainer(tmp_path, arguments={"max_length": 27})
        assert len(made.train_dataset) == 3
        with pytest.raises(ValueError, match=r"No example .* is left: each text is longer than max_length=3"):
            trainer(tmp_path, arguments={"max_length": 3})


GIVEN = {"label": 0.8, "margin": 0.5, "tie": False, "strength": 1.0, "annotator": 0}
GIVEN |= {"chosen_factors": [5.0, 2.0], "rejected_factors": [1.0, 3.0]}


class TestObjectives:
    @pytest.mark.parametrize("name", [name for name, spec in poz.zoo.items() if spec.family is poz.RewardPairs])
    def test_every_one_trains_or_is_refused(self, tmp_path, name):
        spec = poz.zoo[name]
        outputs = spec.reads - GIVEN.keys()
        rows = [{**pair, **{column: GIVEN[column] for column in spec.reads & GIVEN.keys()}} for pair in PAIRS]
        if outputs not in ({"chosen", "rejected"}, {"chosen_embedding", "rejected_embedding"}):
            with pytest.raises(ValueError, match=rf"`{name}` reads .*poz\.{name}\(poz\.RewardPairs\("):
                trainer(tmp_path, name, rows)
            return
        made = trainer(tmp_path, name, rows, of=model(1 if "chosen" in outputs else 4), arguments={"max_steps": 1})
        before = copy.deepcopy(dict(made.model.named_parameters()))
        made.train()
        assert math.isfinite(made.state.log_history[0]["loss"])
        assert all(not torch.equal(before[key], after) for key, after in made.model.named_parameters())

    @pytest.mark.parametrize("name", ["dpo", "kto", "pro"])
    def test_of_policies_are_refused(self, tmp_path, name):
        said = (
            rf"`{name}` reads poz\.\w+, and a reward model gives poz\.RewardPairs.*poz\.integrations\.trl\.DPOTrainer"
        )
        with pytest.raises(ValueError, match=said):
            RewardTrainer(None, objective=name)

    @pytest.mark.parametrize("make", [DPOTrainer, KTOTrainer])
    def test_of_rewards_are_refused_elsewhere(self, make):
        with pytest.raises(ValueError, match=r"`bradley_terry`.*Use poz\.integrations\.trl\.RewardTrainer"):
            make(None, objective="bradley_terry")

    def test_a_weighted_sum(self, tmp_path):
        both = poz.combine([("bradley_terry", 1.0), (poz.bradley_terry.bind(centering=1.0), 0.5)])
        made = trainer(tmp_path, both)
        chosen, rejected = scores(model(), made)
        expected = 1.5 * softplus(rejected - chosen).mean() + 0.5 * ((chosen + rejected) ** 2).mean()
        close(loss_and_gradients(made)[0], expected, "loss")

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (
                {"center_rewards_coefficient": 0.01},
                r"center_rewards_coefficient=0.01\) sets TRL's own loss.*poz.bradley_terry",
            ),
            ({"label_smoothing_factor": 0.1}, r"label_smoothing_factor=0.1\) sets TRL's own loss.*poz.bradley_terry"),
            ({"center_rewards_coefficient": 0.0}, r"center_rewards_coefficient=0.0\) sets TRL's own loss"),
        ],
    )
    def test_settings_of_trls_own_loss(self, tmp_path, arguments, said):
        with pytest.raises(ValueError, match=said):
            trainer(tmp_path, arguments=arguments)

    def test_heads_are_pairs_of_their_own(self, tmp_path):
        made = trainer(tmp_path, poz.bradley_terry.bind(tie_weight=0.5), TIED, of=model(3))
        assert made.model.config.num_labels == 3
        (chosen, rejected), label = scores(model(3), made), torch.tensor([1.0, 0.8, 0.6, 0.4])[:, None]
        z = chosen - rejected - torch.tensor([0.0, 0.3, 0.6, 0.9])[:, None]
        expected = label * softplus(-z) + (1 - label) * softplus(z)
        expected[2] = 0.5 * (chosen - rejected)[2] ** 2
        close(loss_and_gradients(made)[0], expected.mean(), "loss")
        made.train()
        first = made.state.log_history[0]
        right = torch.where(label < 0.5, chosen < rejected, chosen > rejected)[[0, 1, 3]]  # the other one is a tie
        assert first["accuracy"] == pytest.approx(right.float().mean().item())
        assert first["max_reward"] == pytest.approx(max(chosen.max().item(), rejected.max().item()))


class TestModels:
    @pytest.mark.parametrize("path", [True, False])
    def test_what_gives_no_scores(self, tmp_path, path):
        with pytest.raises(ValueError, match=r"LlamaForCausalLM gives no scores.*AutoModelForSequenceClassification"):
            trainer(tmp_path, of=tiny(0))

    def test_outputs_of_a_path_are_trls(self, tmp_path):
        with pytest.raises(ValueError, match=r"TRL loads a path with num_labels=1.*num_labels=2\) and hand that over"):
            RewardTrainer(str(tmp_path), config(tmp_path, model_init_kwargs={"num_labels": 2}))

    def test_a_path(self, tmp_path):
        model().save_pretrained(tmp_path / "saved")
        data = datasets.Dataset.from_list(PAIRS)
        made = RewardTrainer(str(tmp_path / "saved"), config(tmp_path), train_dataset=data, processing_class=Bytes())
        close(loss_and_gradients(made)[0], loss_and_gradients(trainer(tmp_path))[0], "loss")

    @pytest.mark.parametrize("wrapped", [False, True])
    @pytest.mark.parametrize("task", ["SEQ_CLS", None])
    def test_an_adapter(self, tmp_path, task, wrapped):
        adapter = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type=task)
        given = {"of": peft.get_peft_model(model(), adapter)} if wrapped else {"peft_config": adapter}
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            made = trainer(tmp_path, **given)
        frozen = [
            str(one.message) for one in said if "The head that gives the scores is not trained" in str(one.message)
        ]
        assert len(frozen) == (task is None)
        before = {name: p.clone() for name, p in made.model.named_parameters()}
        made.train()
        moved = {name for name, p in made.model.named_parameters() if not torch.equal(p, before[name])}
        assert any("lora_B" in name for name in moved)
        assert any("score" in name for name in moved) == (task is not None)
        assert not any("embed_tokens" in name for name in moved)

    def test_16_bit_scores_are_widened(self, tmp_path):
        made = trainer(tmp_path, of=model().bfloat16())
        chosen, rejected = (side.double() for side in scores(model().bfloat16(), made))
        assert made.model.score.weight.dtype == torch.bfloat16
        loss, _ = loss_and_gradients(made)
        assert loss.dtype == torch.float32
        close(loss.double(), -logsigmoid(chosen - rejected).mean(), "loss", 1e-6)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_scores_that_are_not_finite(self, tmp_path, value):
        broken = model()
        broken.score.weight.data[0, 0] = value
        for act in (lambda made: made.train(), lambda made: made.evaluate()):
            made = trainer(tmp_path, of=broken, eval_dataset=datasets.Dataset.from_list(PAIRS))
            with pytest.raises(
                FloatingPointError, match=r"8 scores at step 0 are not finite\. Look at the learning rate"
            ):
                act(made)


class TestBatches:
    @pytest.mark.parametrize("count", [4, 3])
    def test_accumulated_micro_batches_are_one_batch(self, tmp_path, count):
        """Of three pairs the second micro-batch has one, which TRL would give half of the step."""
        after = []
        for size, parts in ((4, 1), (2, 2), (1, 4)):
            how = {**STEP, "per_device_train_batch_size": size, "gradient_accumulation_steps": parts}
            made = trainer(tmp_path, "bradley_terry", MARGINS[:count], arguments=how)
            made.train()
            after.append((made.state.log_history[0], dict(made.model.named_parameters())))
        for name, p in model().named_parameters():
            step = (after[0][1][name] - p).detach()
            assert step.abs().max() > 0
            for _, other in after[1:]:
                close((other[name] - p).detach(), step, name, rtol=1e-4)  # float32 sums in another order
        for name in ("loss", "accuracy", "margin", "min_reward", "mean_reward", "max_reward"):
            assert after[1][0][name] == pytest.approx(after[0][0][name], rel=1e-5)
            assert after[2][0][name] == pytest.approx(after[0][0][name], rel=1e-5)

    def test_trl_takes_the_mean_of_means(self, tmp_path):
        """What the docstring of RewardTrainer says of TRL."""
        after = []
        for who in (None, "bradley_terry"):
            how = {
                **STEP,
                "per_device_train_batch_size": 2,
                "gradient_accumulation_steps": 2,
                "data_seed": 1,
                "seed": 1,
            }
            made = trainer(tmp_path, who, PAIRS[:3], arguments=how)
            made.train()
            after.append(made.state.log_history[0]["loss"])
        chosen, rejected = scores(model(), trainer(tmp_path, pairs=PAIRS[:3]))
        losses = softplus(rejected - chosen)[:, 0].tolist()
        means = [(sum(losses) - one) / 4 + one / 2 for one in losses]
        assert any(after[0] == pytest.approx(mean, rel=1e-5) for mean in means)
        assert after[1] == pytest.approx(sum(losses) / 3, rel=1e-5)
        assert after[0] != pytest.approx(after[1], rel=1e-3)

    def test_evaluation_is_over_all_examples(self, tmp_path):
        made = trainer(
            tmp_path, eval_dataset=datasets.Dataset.from_list(PAIRS), arguments={"per_device_eval_batch_size": 3}
        )
        found = made.evaluate()
        chosen, rejected = scores(model(), made)
        assert found["eval_loss"] == pytest.approx(softplus(rejected - chosen).mean().item(), rel=1e-5)
        assert found["eval_margin"] == pytest.approx((chosen - rejected).mean().item(), rel=1e-5)
        assert found["eval_accuracy"] == pytest.approx((chosen > rejected).float().mean().item())
        both = torch.cat((chosen, rejected))
        for name, value in {"min": both.min(), "mean": both.mean(), "max": both.max()}.items():
            assert found[f"eval_{name}_reward"] == pytest.approx(value.item(), rel=1e-5)


@poz.families.family(
    {
        **dict.fromkeys(("chosen", "rejected"), ("b", "logp")),
        **dict.fromkeys(("chosen_embedding", "rejected_embedding"), ("bd", "feature")),
        "latent_mean": ("bz", "feature"),
        "tie": ("b", "mask"),
    },
    sides=("chosen", "rejected"),
    scores=True,
)
class Rewards(NamedTuple):
    """A family of a user, as far as these tests need it."""

    chosen: Any = None
    rejected: Any = None
    chosen_embedding: Any = None
    rejected_embedding: Any = None
    latent_mean: Any = None
    tie: Any = None


def own(reads, loss, couples=""):
    """An objective of a user."""

    def mine(xp, pairs: Rewards, *, scale: Annotated[float, Real("of the loss", low=0)] = 1.0):
        """A loss."""
        return scale * loss(xp, pairs)

    spec = {"title": "Mine", "paper": "none", "equation": "none", "formula": "x"}
    return poz.objective.objective(**spec, reads=reads, coupled=couples)(mine)


def turned(xp, pairs):
    v, w = pairs.chosen_embedding, pairs.rejected_embedding
    return xp.softplus(-(v[:, 0] * w[:, 1] - v[:, 1] * w[:, 0]))


def apart(xp, pairs):
    return xp.softplus(pairs.rejected - pairs.chosen)


class TestOfAUser:
    def test_outputs_are_an_embedding(self, tmp_path):
        made = trainer(tmp_path, own("chosen_embedding rejected_embedding", turned), of=model(2))
        v, w = scores(model(2), made)
        s = v[:, 0] * w[:, 1] - v[:, 1] * w[:, 0]
        close(loss_and_gradients(made)[0], softplus(-s).mean(), "loss")
        made.train()
        first = made.state.log_history[0]
        assert first["margin"] == pytest.approx(s.mean().item(), rel=1e-5)
        assert first["accuracy"] == (s > 0).float().mean()
        assert "mean_reward" not in first
        with pytest.raises(ValueError, match=r"TRL loads a path with num_labels=1.*num_labels=width of the embedding"):
            RewardTrainer(str(tmp_path), config(tmp_path), objective=made.objective)

    def test_what_a_reward_model_does_not_give(self, tmp_path):
        said = r"`mine` reads chosen, latent_mean, and the outputs of a reward model are either scores or an embedding"
        with pytest.raises(ValueError, match=said):
            trainer(tmp_path, own("chosen latent_mean", apart))

    def test_a_column_that_is_missing(self, tmp_path):
        with pytest.raises(
            ValueError, match=r"`mine` reads the column 'tie', which the data set 'train' does not have"
        ):
            trainer(tmp_path, own("chosen rejected tie", apart))

    def test_what_is_of_the_whole_batch(self, tmp_path):
        tied = own("chosen rejected", apart, couples="a mean")
        with pytest.raises(ValueError, match=r"over the whole batch \(a mean\), so gradient_accumulation_steps=2"):
            trainer(tmp_path, tied, arguments={"gradient_accumulation_steps": 2})
        with pytest.raises(ValueError, match=r"in which heads would be mixed; got num_labels=2"):
            trainer(tmp_path, tied, of=model(2)).train()
        trainer(tmp_path, tied).train()

    @pytest.mark.parametrize(
        ("make", "name"),
        [
            (lambda folder, tau: trainer(folder, own("chosen rejected", apart).bind(scale=tau)), "scale"),
            (lambda folder, tau: pairs_trainer(folder, tiny(0), poz.dpo.bind(beta=tau)), "beta"),
            (lambda folder, tau: kto_trainer(folder, tiny(0), poz.bco.bind(beta=tau)), "beta"),
        ],
        ids=["RewardTrainer", "DPOTrainer", "KTOTrainer"],
    )
    def test_a_hyper_parameter_that_nobody_would_train(self, tmp_path, make, name):
        said = rf"given {name} as a tensor that requires a gradient.*optimizers=\(yours, None\)"
        with pytest.raises(ValueError, match=said):
            make(tmp_path, torch.tensor(1.0, requires_grad=True))

    def test_one_that_an_optimiser_of_the_caller_trains(self, tmp_path):
        tau, of = torch.tensor(1.0, requires_grad=True), model()
        optimizer = torch.optim.SGD([*of.parameters(), tau], lr=0.1)
        made = RewardTrainer(
            of, config(tmp_path, max_steps=1), train_dataset=datasets.Dataset.from_list(PAIRS), processing_class=Bytes(),
            optimizers=(optimizer, None), objective=own("chosen rejected", apart).bind(scale=tau),
        )  # fmt: skip
        made.train()
        assert tau.item() == pytest.approx(1 - 0.1 * made.state.log_history[0]["loss"] * 1.0, rel=1e-4)


def test_it_goes_on_from_a_checkpoint(tmp_path):
    how = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    whole = trainer(tmp_path, pairs=MARGINS, arguments=how)
    whole.train()
    again = trainer(tmp_path, pairs=MARGINS, arguments=how)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    for name, p in again.model.named_parameters():
        torch.testing.assert_close(p, whole.model.get_parameter(name), rtol=0, atol=0)
    saved = LlamaForSequenceClassification.from_pretrained(tmp_path / "checkpoint-2")
    for one, other in zip(scores(saved, whole), scores(whole.model, whole), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert "trained with Bradley-Terry reward model" in (tmp_path / "README.md").read_text()
