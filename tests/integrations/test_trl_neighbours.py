"""KTO's samples of the KL: each completion under another's prompt, also where a batch is one example."""

import datasets
import pytest
import torch
from trl_tiny import MARKS, UNPAIRED, Bytes, inputs, tiny
from trl_tiny import kto_settings as settings
from trl_tiny import kto_trainer as trainer

from poz.integrations.trl_kto import KTOTrainer

pytestmark = MARKS


def examples(count):
    return (UNPAIRED * 2)[:count]


def lone(made, dataset):
    """The rows whose sample of the KL is their own completion."""
    return [i for i, row in enumerate(dataset) if row["KL_completion_ids"] == row["completion_ids"]]


@pytest.mark.parametrize(("count", "size"), [(5, 4), (7, 3), (7, 2), (13, 6), (4, 2)])
def test_no_example_is_its_own_sample(tmp_path, count, size):
    """Blocks are TRL's, but for a last one of one example, which has the completion before it."""
    rows = [{**row, "completion": f"{row['completion']} {i}"} for i, row in enumerate(examples(count))]
    arguments = {"per_device_train_batch_size": size}
    evaluated = datasets.Dataset.from_list(rows)
    ours, theirs = (
        trainer(tmp_path, tiny(0), which, rows, ref_model=tiny(1), arguments=arguments, eval_dataset=evaluated)
        for which in ("kto", None)
    )
    for found, expected in ((ours.train_dataset, theirs.train_dataset), (ours.eval_dataset, theirs.eval_dataset)):
        left, samples = count % size == 1, found["KL_completion_ids"][:]
        assert lone(ours, expected) == [count - 1] * left
        assert lone(ours, found) == []
        assert samples[: count - left] == expected["KL_completion_ids"][: count - left]
        assert not left or samples[-1] == found["completion_ids"][-2]


# JAX, which another file may have imported here, warns of any fork; these children do not use it.
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_processes_that_prepare_the_data_do_not_cut_blocks(tmp_path):
    rows = [{**row, "completion": f"{row['completion']} {i}"} for i, row in enumerate(examples(10))]
    arguments = {"per_device_train_batch_size": 4}
    one, two = (
        trainer(tmp_path, tiny(0), "kto", rows, arguments={**arguments, "dataset_num_proc": n}) for n in (None, 2)
    )
    assert one.train_dataset["KL_completion_ids"][:] == two.train_dataset["KL_completion_ids"][:]
    assert lone(two, two.train_dataset) == []


def test_a_stream_and_its_second_epoch(tmp_path):
    rows = [{**row, "completion": f"{row['completion']} {i}"} for i, row in enumerate(examples(5))]
    stream = datasets.Dataset.from_list(rows).to_iterable_dataset()
    arguments = settings(tmp_path, per_device_train_batch_size=4)
    made = KTOTrainer(tiny(0), None, arguments, train_dataset=stream, processing_class=Bytes())
    for _ in range(2):
        found = list(made.train_dataset)
        assert lone(made, found) == []
        assert found[4]["KL_completion_ids"] == found[3]["completion_ids"]


@pytest.mark.parametrize("trained", [True, False])
def test_the_loss_of_a_last_batch_of_one(tmp_path, trained):
    """With its own completion as the sample the loss would be 1/2, whatever the model is."""
    arguments = {"per_device_train_batch_size": 4, "per_device_eval_batch_size": 4}
    made = trainer(tmp_path, tiny(0), "kto", UNPAIRED[:5], ref_model=tiny(1), arguments=arguments)
    (made.model.train if trained else made.model.eval)()
    rows = [made.train_dataset[4]]
    with torch.no_grad():
        batch = made.data_collator(rows)
        loss = made.compute_loss(made.model, batch).item()
    ratio = {}
    for name in ("", "KL_"):
        ids, mask = batch[f"{name}input_ids"], batch[f"{name}completion_mask"][:, 1:]
        policy, reference = (
            (model(input_ids=ids).logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0] * mask).sum()
            for model in (tiny(0).eval(), tiny(1).eval())
        )
        ratio[name] = (policy - reference).item()
    sign = 1 if rows[0]["label"] else -1
    expected = torch.sigmoid(torch.tensor(-0.1 * sign * (ratio[""] - max(ratio["KL_"], 0)))).item()
    assert loss == pytest.approx(expected, rel=1e-5)
    assert abs(loss - 0.5) > 1e-3


def test_one_example_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"needs the completion of a second example.*has one"):
        trainer(tmp_path, tiny(0), "kto", UNPAIRED[:1])
    made = trainer(tmp_path, tiny(0), "kto")
    with pytest.raises(ValueError, match="needs the completion of a second example"):
        made.evaluate(datasets.Dataset.from_list(UNPAIRED[:1]))
    assert len(inputs(trainer(tmp_path, tiny(0), "bco", UNPAIRED[:1]))["input_ids"]) == 1  # which needs none
