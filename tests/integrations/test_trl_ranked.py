"""Lists of K completions in TRL: loss and gradient of the reference, and of the trainer of pairs where K = 2."""

import copy
import importlib

import datasets
import numpy as np
import pytest
import torch
from trl_tiny import MARKS, PAIRS, Bytes, close, lora, loss_and_gradients, settings, trainer

import poz
from poz.columns import list_columns
from poz.integrations.trl import RankedTrainer

pytestmark = MARKS

TEXTS = {
    "Is it late?": [" no", " Yes, it is.", " Late?", " I cannot say"],
    "Hi": [" what do you want from me", " Hello there!", " Hi", " hm"],
    "2 + 2?": [" 5 or so", " 3", " 4", " four"],
}
SCORES = {"Is it late?": [0.5, 3.0, -1.0, 1.5], "Hi": [-2.0, 2.5, 2.0, 0.0], "2 + 2?": [0.0, -1.0, 4.0, 3.5]}
ALL = poz.combine(
    {name: 1.0 for name, spec in poz.zoo.items() if spec.family is poz.Ranked and "mask" in spec.optional}
)
# without an optional field, and by what they read: scores and lengths, an order, three, and samples
KINDS = [ALL, *(poz.zoo[name] for name in ("pro", "listnet", "plackett_luce", "tpo", "rspo"))]


def rows(objective=poz.pro, size=4, prompts=tuple(TEXTS), sizes=None):
    """As data sets have them, not in order."""
    column = list_columns(objective) or ("scores",)
    numbers = {name: [1 / (1 + np.exp(-x)) for x in values] for name, values in SCORES.items()}
    numbers = numbers if column == ("winrates",) else SCORES
    return [
        {"prompt": prompt, "completions": TEXTS[prompt][:k], column[0]: numbers[prompt][:k]}
        for prompt, k in zip(prompts, sizes or [size] * len(prompts), strict=True)
    ]


def ranked(folder, model, objective, examples=None, *, ref_model=None, arguments=None, **more):
    examples = rows() if examples is None else examples
    return RankedTrainer(
        copy.deepcopy(model),
        ref_model if ref_model is None else copy.deepcopy(ref_model),
        settings(folder, **(arguments or {})),
        objective=objective,
        **{"processing_class": Bytes(), "train_dataset": datasets.Dataset.from_list(examples), **more},
    )


@pytest.fixture(scope="module")
def scores(policy, reference):
    """Of each completion: its log-prob under both models, its tokens, and the gradient of the first, in float64."""
    tokens, models = Bytes(), [copy.deepcopy(model).double() for model in (policy, reference)]
    found = {}
    for prompt, texts in TEXTS.items():
        for text in texts:
            begin, ids = len(tokens(prompt)["input_ids"]), [*tokens(prompt + text)["input_ids"], 1]
            each = [model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1) for model in models]
            sums = [logps.gather(-1, torch.tensor(ids)[1:, None])[begin - 1 :].sum() for logps in each]
            slopes = torch.autograd.grad(sums[0], list(models[0].parameters()))
            found[prompt, text] = (*(x.item() for x in sums), len(ids) - begin, slopes)
    return found


def by_hand(objective, scores, names, examples):
    """Mean loss, and every gradient, by the float64 references, one list after the other."""
    losses, slopes = [], dict.fromkeys(names, 0.0)
    for row in examples:
        (column,) = set(row) - {"prompt", "completions"}
        order = sorted(range(len(row[column])), key=lambda k: -row[column][k])
        ours, theirs, lengths, each = zip(*(scores[row["prompt"], row["completions"][k]] for k in order), strict=True)
        given = {"logps": ours, "ref_logps": theirs, "anchor_logps": theirs, "lengths": lengths}
        given = {name: np.array([x]) for name, x in {**given, column: [row[column][k] for k in order]}.items()}
        for part in [one for one, _ in objective.parts] if objective is ALL else [objective]:
            function = getattr(importlib.import_module("poz.reference"), part.name)
            loss, gradients = function(**{name: given[name] for name in part.reads}, **part.values)
            losses.append(loss[0] / len(examples))
            for slope, gradient in zip(each, gradients["logps"][0], strict=True):
                for name, x in zip(names, slope, strict=True):
                    slopes[name] = slopes[name] + gradient / len(examples) * x
    return torch.tensor(sum(losses)), slopes


@pytest.mark.parametrize("objective", KINDS, ids=lambda objective: objective.name)
def test_loss_and_every_gradient_are_the_references(tmp_path, policy, reference, scores, objective):
    lengths = {"tpo": [3, 3, 3], "rspo": [4, 4, 4]}.get(objective.name, [4, 2, 3])
    examples = rows(objective, sizes=lengths)
    read = {"ref_logps", "anchor_logps"} & objective.reads
    made = ranked(tmp_path, policy, objective, examples, ref_model=reference if read else None)
    loss, gradients = loss_and_gradients(made)
    wanted, slopes = by_hand(objective, scores, list(gradients), examples)
    close(loss.double(), wanted, "loss", 1e-5)  # float32 sums of up to 25 log-probs
    largest = max(slope.abs().max().item() for slope in slopes.values())
    assert largest > 0
    for name, slope in slopes.items():
        torch.testing.assert_close(
            gradients[name].double(), slope, rtol=2e-4, atol=2e-5 * largest, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.parametrize("objective", [poz.pro.bind(sft_weight=0.5), poz.s_dpo], ids=lambda one: one.name)
def test_lists_of_two_are_the_trainer_of_pairs(tmp_path, policy, reference, objective):
    two = [
        {"prompt": p["prompt"], "completions": [p["rejected"], p["chosen"]], "scores": [0.0, 1.5 + i]}
        for i, p in enumerate(PAIRS)
    ]
    pairs = [{**pair, "margin": 1.5 + i} for i, pair in enumerate(PAIRS)]
    other = None if objective.reference_free else reference
    theirs, ours = (
        trainer(tmp_path, policy, objective, pairs, ref_model=other),
        ranked(tmp_path, policy, objective, two, ref_model=other),
    )
    (wanted, slopes), (loss, gradients) = loss_and_gradients(theirs), loss_and_gradients(ours)
    close(loss, wanted, "loss", 1e-6)  # the same rows in another order of a batch
    for name, slope in slopes.items():
        close(gradients[name], slope, name)
    found = [made.evaluate(datasets.Dataset.from_list(data)) for made, data in ((theirs, pairs), (ours, two))]
    for name, value in found[0].items():
        if not name.endswith(("time", "per_second")):
            assert found[1][name] == pytest.approx(value, rel=1e-5), name


class TestTraining:
    def test_accumulated_micro_batches_are_one_batch(self, tmp_path, policy):
        """Eight lists of their own against two of four, of which three are odd in number."""
        examples = rows() + [{**row, "scores": row["scores"][::-1]} for row in rows()] + rows(size=3)[:2]
        weights = []
        for size in (1, 4):
            arguments = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 8 // size, "max_steps": 1}
            arguments |= {"optim": "sgd", "learning_rate": 1.0}  # far beside the rounding of weights
            made = ranked(tmp_path, policy, "pro", examples, arguments=arguments)
            made.train()
            weights.append(dict(made.model.named_parameters()))
        for name, before in policy.named_parameters():
            moved = [each[name].detach() - before.detach() for each in weights]
            assert moved[1].abs().max() > 0
            close(moved[0], moved[1], name)

    @pytest.mark.parametrize("how", ["live", "precomputed", "adapter"])
    def test_the_reference_is_the_policy_before_training(self, tmp_path, policy, how):
        more = {"peft_config": lora()} if how == "adapter" else {}
        examples, objective = rows(sizes=[4, 2, 3]), poz.listnet.bind(beta=0.3)
        arguments = {"precompute_ref_log_probs": how == "precomputed", "per_device_train_batch_size": 3, "max_steps": 3}
        more |= {"eval_dataset": datasets.Dataset.from_list(examples), "arguments": arguments}
        made = ranked(tmp_path, policy, objective, examples, **more)
        start, _, end = made.evaluate(), made.train(), made.evaluate()
        for name in ("rewards/chosen", "rewards/rejected", "rewards/margins"):
            assert start[f"eval_{name}"] == pytest.approx(0, abs=1e-5)
        alike = [np.zeros((1, len(row["scores"]))) for row in examples]
        scores = [-np.sort([[-x for x in row["scores"]]]) for row in examples]
        losses = [
            poz.reference.listnet(logps=x, ref_logps=x, scores=y, **objective.values)[0]
            for x, y in zip(alike, scores, strict=True)
        ]
        assert start["eval_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
        assert end["eval_loss"] < start["eval_loss"]
        assert end["eval_rewards/margins"] > 0

    def test_metrics_are_those_of_the_lists(self, tmp_path, policy, scores):
        examples = rows(sizes=[4, 2, 3])
        examples[0]["scores"] = [0.5, 3.0, -1.0, 3.0]  # two are the best
        found = ranked(tmp_path, policy, poz.pro, examples).evaluate(datasets.Dataset.from_list(examples))
        margins, first, ordered = [], [], []
        for row in examples:
            order = sorted(range(len(row["scores"])), key=lambda k: -row["scores"][k])
            each = [scores[row["prompt"], row["completions"][k]] for k in order]
            means = [logp / length for logp, _, length, _ in each]
            margins.append(means[0] - sum(means[1:]) / len(means[1:]))
            numbers = sorted(row["scores"], reverse=True)
            best = numbers.count(numbers[0])
            first.append(max(means[:best]) > max(means[best:]))
            pairs = [(i, j) for j in range(len(means)) for i in range(j) if numbers[i] > numbers[j]]
            ordered += [means[i] > means[j] for i, j in pairs]
        assert found["eval_rewards/margins"] == pytest.approx(np.mean(margins), rel=1e-4)
        assert found["eval_rewards/accuracies"] == pytest.approx(np.mean(first))
        assert found["eval_rewards/ordered"] == pytest.approx(np.mean(ordered))


def read(made, tokens):
    """The texts of a prepared data set, without the end."""
    return [
        (
            tokens.decode(row["prompt_ids"]),
            [tokens.decode(ids).removesuffix(tokens.eos_token) for ids in row["completions_ids"]],
        )
        for row in made.train_dataset
    ]


class TestData:
    def test_messages_go_through_the_chat_template(self, tmp_path, policy):
        tokens = Bytes()
        tokens.chat_template = (
            "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
        )
        examples = [
            {
                "prompt": [{"role": "user", "content": "Hi"}],
                "completions": [[{"role": "assistant", "content": text}] for text in ("hm", "Hello!", "Go.")],
                "ranks": [2, 1, 3],
            }
        ]
        made = ranked(tmp_path, policy, "plackett_luce", examples, processing_class=tokens)
        assert read(made, tokens) == [("<user>Hi<assistant>", ["Hello!", "hm", "Go."])]

    def test_a_batch_has_a_row_for_each_completion(self, tmp_path, policy):
        examples = [
            {"prompt": "ab", "completions": ["c", "defg", "hi"], "scores": [1.0, 3.0, 2.0]},
            {"prompt": "too long", "completions": ["c", "d"], "scores": [1.0, 3.0]},
            {"prompt": "abcd", "completions": ["j", "k"], "scores": [0.5, 0.0]},
        ]
        with pytest.warns(UserWarning, match="left out 1 of 3 examples, whose prompts alone fill max_length=6"):
            made = ranked(tmp_path, policy, "pro", examples, arguments={"max_length": 6})
        batch = made.data_collator(list(made.train_dataset))
        tokens = Bytes()
        assert next(iter(batch)) == "sizes"  # trainers count the rows of what is first
        assert batch["sizes"].tolist() == [3, 2]
        assert batch["scores"].tolist() == [3.0, 2.0, 1.0, 0.5, 0.0]
        kept = [
            (tokens.decode(ids[seen == 1]), tokens.decode(ids[own == 1]))
            for ids, seen, own in zip(
                batch["input_ids"], batch["attention_mask"], batch["completion_mask"], strict=True
            )
        ]
        end = tokens.eos_token
        wanted = [("abdefg", "defg"), (f"abhi{end}", f"hi{end}"), (f"abc{end}", f"c{end}")]
        wanted += [(f"abcdj{end}", f"j{end}"), (f"abcdk{end}", f"k{end}")]
        assert kept[:5] == wanted
        assert kept[5:] == [("a", "")]  # which makes them even

    def test_what_says_nothing_is_left_out_and_counted(self, tmp_path, policy):
        tie = {"prompt": "Hi", "completions": ["a", "b", "c"], "scores": [1.0, 1.0, 0.0]}
        with pytest.warns(UserWarning, match="left out 1 of 4 rows, which have .* or two of equal scores"):
            made = ranked(tmp_path, policy, "s_dpo", [*rows(), tie])
        assert len(made.train_dataset) == 3
        assert len(ranked(tmp_path, policy, "listnet", [*rows(), tie]).train_dataset) == 4

    @pytest.mark.parametrize(("objective", "change", "said"), [
        ("pro", {"scores": [1.0, 2.0]}, "row 3: 'completions' must have a finite score for each answer"),
        ("pro", {"scores": [1.0, None, 2.0, 3.0]}, "row 3: 'completions' must have a finite score for each answer"),
        ("pro", {"scores": None}, "row 3: 'completions' must have a finite score"),
        ("tpo", {}, r"`tpo` needs 3 completions, .*got K = 4\. It is given the data set 'train', row 0"),
        ("sppo", {}, "reads 'winrates', how often each completion wins, and the data set 'train', row 0 has 'scores'"),
        ("sppo", {"winrates": [0.5]}, "reads 'winrates'"),
        ("dpo", {}, r"`dpo` reads poz\.Pairs, not lists of completions"),
        ("mdpo", {}, "`mdpo` reads log-probs under two prompts, and a list has one"),
    ])  # fmt: skip
    def test_refused(self, tmp_path, policy, objective, change, said):
        examples = datasets.Dataset.from_list([*rows(), {**rows()[0], **change}])
        with pytest.raises(ValueError, match=said):
            ranked(tmp_path, policy, objective, train_dataset=examples)

    def test_a_stream_is_refused(self, tmp_path, policy):
        with pytest.raises(TypeError, match=r"must be a datasets\.Dataset of lists, read whole; got IterableDataset"):
            ranked(tmp_path, policy, "pro", train_dataset=datasets.Dataset.from_list(rows()).to_iterable_dataset())

    def test_settings_that_contradict_the_objective_are_refused(self, tmp_path, policy, reference):
        for arguments, more, said in (
            ({"beta": 0.5}, {}, "beta=0.5. sets TRL's own loss"),
            ({"sync_ref_model": True}, {}, "`pro` reads no reference, but got sync_ref_model=True"),
            ({}, {"ref_model": reference}, "`pro` reads no reference, but got a ref_model"),
            ({}, {"compute_metrics": len}, "compute_metrics is given rows, which are no lists"),
        ):
            with pytest.raises(ValueError, match=said):
                ranked(tmp_path, policy, "pro", arguments=arguments, **more)
        with pytest.raises(ValueError, match=r"defined over the whole batch.*gradient_accumulation_steps=2"):
            ranked(
                tmp_path,
                policy,
                poz.tpo.bind(nll="batch_tokens"),
                rows(size=3),
                arguments={"gradient_accumulation_steps": 2},
            )
