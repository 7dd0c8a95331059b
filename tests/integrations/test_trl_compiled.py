"""DPOTrainer under torch.compile, with batches of other lengths: the losses of the plain run."""

import datasets
import pytest
import torch
from trl_tiny import PAIRS, Bytes, settings, tiny

from poz.integrations.trl import DPOTrainer


@pytest.mark.filterwarnings("ignore")  # of torch's and transformers' own while they compile
def test_the_losses_are_those_of_the_plain_run(tmp_path):
    torch._dynamo.reset()
    pairs, losses = datasets.Dataset.from_list(PAIRS), []
    # A reference that runs beside the policy is traced as long, through the same head.
    shared = {"max_steps": 2, "per_device_train_batch_size": 2, "precompute_ref_log_probs": True}
    for options in ({}, {"torch_compile": True, "torch_compile_backend": "eager"}):
        arguments = settings(tmp_path, **shared, **options)
        made = DPOTrainer(tiny(0), None, arguments, train_dataset=pairs, processing_class=Bytes(), objective="dpo")
        made.train()
        losses.append([row["loss"] for row in made.state.log_history if "loss" in row])
    assert len(losses[0]) == 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)  # float32, the same operations in one graph
