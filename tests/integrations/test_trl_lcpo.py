"""LCPO-EM by its name in TRL's DPOTrainer: annotators of any kind, reliabilities that learn, are logged and saved."""

import datetime
import json

import accelerate
import datasets
import numpy as np
import pytest
import torch
from trl_tiny import MARKS, PAIRS, Bytes, close, inputs, loss_and_gradients, settings, tiny, trainer

import poz
from poz.algorithms import lcpo_em
from poz.integrations.trl import RELIABILITY, STATE, DPOTrainer
from poz.torch.lcpo import LCPO

pytestmark = MARKS

NAMES = ["bo", "al", "bo", "al"]
SIGNED = [{**pair, "annotator": name} for pair, name in zip(PAIRS, NAMES, strict=True)]


@pytest.mark.parametrize("name", ["lcpo_em", "re_po", "lcpo"])
def test_the_name_runs_em(tmp_path, policy, name):
    made = trainer(tmp_path, policy, name, SIGNED, arguments={"max_steps": 3})
    made.train()
    found = made.objective.reliability
    assert isinstance(made.objective, LCPO)
    assert found.shape == (2,)
    assert (found != 0.9).all()
    logged = [entry for entry in made.state.log_history if "loss" in entry]
    assert logged[-1]["reliability/al"] == pytest.approx(found[0].item())
    assert logged[-1]["reliability/bo"] == pytest.approx(found[1].item())


def test_rows_are_those_of_the_ids(tmp_path, policy):
    made = trainer(tmp_path, policy, "lcpo_em", SIGNED)
    batch = inputs(made)
    assert batch["annotator"].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    "ids", [[7, 30, 7, 30], ["7", "30", "7", "30"], [0.5, -1.0, 0.5, -1.0], [True, False, True, False]]
)
def test_ids_of_any_kind(tmp_path, policy, ids):
    data = [{**pair, "annotator": name} for pair, name in zip(PAIRS, ids, strict=True)]
    made = trainer(tmp_path, policy, "lcpo_em", data)
    row = {name: i for i, name in enumerate(sorted(set(ids)))}
    assert inputs(made)["annotator"].tolist() == [row[name] for name in ids]


@pytest.mark.parametrize("kind", ["numpy", "torch", "pandas", "arrow"])
@pytest.mark.parametrize("ids", [NAMES, [7, 3, 7, 3]])
def test_the_format_of_a_data_set_changes_nothing(tmp_path, policy, ids, kind):
    data = datasets.Dataset.from_list([{**pair, "annotator": name} for pair, name in zip(PAIRS, ids, strict=True)])
    made = DPOTrainer(
        policy,
        args=settings(tmp_path),
        train_dataset=data.with_format(kind),
        eval_dataset=data.with_format(kind),
        processing_class=Bytes(),
        objective="lcpo_em",
    )
    assert inputs(made)["annotator"].tolist() == [1, 0, 1, 0]
    assert made.evaluate()["eval_loss"] == pytest.approx(np.log(2))


def test_without_the_column_one_reliability_learns(tmp_path, policy):
    made = trainer(tmp_path, policy, "lcpo_em")
    made.train()
    assert made.objective.reliability.shape == (1,)
    assert made.objective.reliability.item() != pytest.approx(0.9)
    assert made.state.log_history[0]["reliability"] == pytest.approx(0.9, abs=0.1)


def test_the_objective_itself_stays_the_loss_of_a_given_reliability(tmp_path, policy):
    made = trainer(tmp_path, policy, poz.lcpo.bind(reliability=0.8))
    made.train()
    assert made.objective.values["reliability"] == 0.8
    assert not any("reliability" in entry for entry in made.state.log_history)


def test_what_is_saved_names_the_annotators(tmp_path, policy):
    arguments = {"save_strategy": "steps", "save_steps": 1}
    made = trainer(tmp_path, policy, "lcpo_em", SIGNED, arguments=arguments)
    made.train()
    made.save_model(str(tmp_path / "model"))
    found = made.objective.reliability.tolist()
    for folder in ("model", "checkpoint-2"):
        said = json.loads((tmp_path / folder / RELIABILITY).read_text())
        assert said == [{"annotator": "al", "reliability": found[0]}, {"annotator": "bo", "reliability": found[1]}]
    state = torch.load(tmp_path / "checkpoint-1" / STATE, weights_only=True)
    assert state["annotators"] == ["al", "bo"]
    resumed = trainer(tmp_path, policy, "lcpo_em", SIGNED, arguments=arguments)
    resumed.train(str(tmp_path / "checkpoint-1"))
    assert torch.equal(resumed.objective.reliability, made.objective.reliability)
    others = [{**pair, "annotator": pair["annotator"] + "!"} for pair in SIGNED]
    with pytest.raises(ValueError, match=r"annotators \['al', 'bo'\]; the training data have \['al!', 'bo!'\]"):
        trainer(tmp_path, policy, "lcpo_em", others, arguments=arguments).train(str(tmp_path / "checkpoint-1"))


@pytest.mark.parametrize(("spoil", "error", "sentence"), [
    (lambda path: torch.save({"reliability": torch.ones(2)}, path), ValueError, "has the reliabilities of the annotators None"),
    (lambda path: path.write_bytes(b""), ValueError, "is not the state of an objective, or is damaged"),
    (lambda path: path.write_bytes(path.read_bytes()[:-50]), ValueError, "is not the state of an objective, or is damaged"),
    (lambda path: torch.save([1], path), ValueError, "is not the state of an objective, or is damaged"),
    (lambda path: path.unlink(), FileNotFoundError, "has no objective.pt"),
])  # fmt: skip
def test_a_state_that_cannot_be_resumed_is_refused(tmp_path, policy, spoil, error, sentence):
    arguments = {"save_strategy": "steps", "save_steps": 1}
    trainer(tmp_path, policy, "lcpo_em", SIGNED, arguments=arguments).train()
    spoil(tmp_path / "checkpoint-1" / STATE)
    with pytest.raises(error, match=sentence):
        trainer(tmp_path, policy, "lcpo_em", SIGNED, arguments=arguments).train(str(tmp_path / "checkpoint-1"))


def test_of_many_annotators_the_log_has_the_ends(tmp_path, policy):
    data = [{**PAIRS[i % 4], "annotator": f"a{i}"} for i in range(60)]
    made = trainer(tmp_path, policy, "lcpo_em", data, arguments={"max_steps": 1})
    made.train()
    logged = {key for key in made.state.log_history[0] if key.startswith("reliability")}
    assert logged == {"reliability/min", "reliability/mean", "reliability/max"}
    made.save_model(str(tmp_path / "model"))
    assert len(json.loads((tmp_path / "model" / RELIABILITY).read_text())) == 60


@pytest.mark.parametrize(("broken", "sentence"), [
    ([*NAMES[:3], None], r"must hold an id .* row 3 holds None"),
    ([1.0, 2.0, float("nan"), 1.0], r"must hold an id .* row 2 holds nan"),
    ([["al"], ["bo"], ["al"], ["bo"]], r"must hold an id .* row 0 holds \['al'\]"),
    ([b"al", b"bo"] * 2, r"must hold an id .* row 0 holds b'al'"),
    ([datetime.date(2026, 1, 1)] * 4, r"must hold an id .* row 0 holds datetime"),
])  # fmt: skip
def test_what_is_no_id_is_refused(tmp_path, policy, broken, sentence):
    data = [{**pair, "annotator": name} for pair, name in zip(PAIRS, broken, strict=True)]
    with pytest.raises(ValueError, match=sentence):
        trainer(tmp_path, policy, "lcpo_em", data)


def test_an_unknown_annotator_of_the_evaluation_is_refused(tmp_path, policy):
    evaluated = datasets.Dataset.from_list([{**PAIRS[0], "annotator": "eve"}])
    with pytest.raises(ValueError, match="'eve' of the data set 'eval' labelled no pair of the training data"):
        trainer(tmp_path, policy, "lcpo_em", SIGNED, eval_dataset=evaluated)


def test_a_streamed_data_set_is_refused(tmp_path):
    streamed = datasets.Dataset.from_list(SIGNED).to_iterable_dataset()
    with pytest.raises(ValueError, match=r"is streamed, so the annotators .* cannot be counted"):
        DPOTrainer(
            tiny(0), args=settings(tmp_path), train_dataset=streamed, processing_class=Bytes(), objective="lcpo_em"
        )


def test_attach_after_prepare():
    """`accelerator.prepare` hands back a wrapper, which has no hooks of its own."""
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = accelerate.Accelerator(cpu=True).prepare(torch.optim.SGD([weight], lr=0.1))
    objective = LCPO(num_annotators=1)
    objective.attach(optimizer)
    pairs = poz.Pairs(weight, -weight, ref_chosen=torch.ones(2), ref_rejected=torch.zeros(2))
    objective(pairs).mean().backward()
    assert objective.reliability.item() == pytest.approx(0.9)
    optimizer.step()
    assert objective.reliability.item() != pytest.approx(0.9)


@pytest.mark.parametrize(("sureness", "settled"), [(0.1, 1.0), (0.3, 0.989), (1.0, 0.729), (3.0, 0.662)])
def test_where_reliabilities_settle_under_a_policy_that_is_not_sure_enough(sureness, settled):
    """The figures of the docstring: exact EM over log-odds N(0, 2), whose labels are right at .729."""
    at = (np.arange(2001) + 0.5) / 2001
    true = 2 * np.sqrt(2) * torch.special.erfinv(torch.tensor(2 * at - 1)).numpy()
    clean = 1 / (1 + np.exp(-true))
    share = 0.729 * clean + 0.271 * (1 - clean)  # of labels that say "chosen"
    state = lcpo_em.init(1)
    for _ in range(3000):
        u = np.concatenate([sureness * true, -sureness * true])
        w = lcpo_em.posterior(u, None, state.reliability)
        total = np.sum(w * np.concatenate([share, 1 - share]))
        state = lcpo_em.update(state, lcpo_em.Sums(np.array([total]), np.array([2001.0])), step_size=1.0)
    assert state.reliability[0] == pytest.approx(settled, abs=6e-4)


@pytest.mark.parametrize("value", [float("nan"), 5.0, -0.1])
def test_a_state_that_is_no_probability_is_refused(value):
    with pytest.raises(ValueError, match=r"A reliability is a probability in \[0, 1\]; the state holds"):
        LCPO().load_state_dict({"reliability": torch.tensor([value])})


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda: lcpo_em.sums(np.array([0.5, 1.5]), None, 1), r"A posterior is a probability in \[0, 1\]; got \[0.5, 1.5\]"),
    (lambda: lcpo_em.update(lcpo_em.init(), lcpo_em.Sums(np.array([3.0]), np.array([2.0]))), "sums .3.0. for counts .2.0."),
    (lambda: lcpo_em.update(lcpo_em.init(), lcpo_em.Sums(np.array([-1.0]), np.array([2.0]))), "lies between 0 and"),
    (lambda: lcpo_em.update(lcpo_em.init(), lcpo_em.Sums(np.array([np.nan]), np.array([2.0]))), "lies between 0 and"),
])  # fmt: skip
def test_sums_that_no_labels_have_are_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


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
