"""TRL's DPOTrainer and KTOTrainer: what they do on one small input.

A trainer is a mock where its loss asks for nothing but attributes, and a model gives the log-probs that are written here.
"""

from typing import Any

from poz.peers._library import Library

library = Library("TRL", "trl", since="1.14")


@library.fact(
    "DPOTrainer refuses `exo_pair` with the label_smoothing of 0 that DPOConfig has",
    gives="Label smoothing must be greater than 0.0 when using 'exo_pair' loss. The EXO paper recommends a value of 1e-3.",
    topic="exo_zero",
    objective="exo",
)
def trl_exo_zero() -> Any:
    """What it says."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
    from trl import DPOConfig, DPOTrainer

    tokenizer = Tokenizer(models.WordLevel({"a": 0}, "a"))
    words = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="a", pad_token="a")
    model = GPT2LMHeadModel(GPT2Config(vocab_size=1, n_embd=1, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0))
    args = DPOConfig("none", loss_type=["exo_pair"], report_to="none", use_cpu=True, bf16=False)
    data = Dataset.from_list([{"prompt_ids": [0], "chosen_ids": [0], "rejected_ids": [0]}])
    try:
        return DPOTrainer(model, args=args, train_dataset=data, processing_class=words).label_smoothing
    except ValueError as error:
        return str(error)


@library.fact(
    "With gradient accumulation the NLL is the mean of the micro-batches' means, 0.974, where that of all tokens is 0.727",
    gives=0.9743148,
    topic="accumulation",
    objective="sft",
)
def trl_accumulation() -> Any:
    """`a` has probability 1/4 and `b` 3/4 at every place; one micro-batch has `a`, and the other `bbba`."""
    import tempfile
    from copy import deepcopy

    import torch
    from datasets import Dataset
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
    from trl import DPOConfig, DPOTrainer

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1}, "a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    words = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="a", pad_token="a")
    model = GPT2LMHeadModel(GPT2Config(vocab_size=2, n_embd=1, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0))
    last, head = model.transformer.ln_f, model.lm_head.weight  # 1 at every place, and the logits of it
    with torch.no_grad():
        last.weight.fill_(0.0), last.bias.fill_(1.0), head.copy_(torch.tensor([[1.0], [3.0]]).log())
    data = [{"prompt": "a", "chosen": chosen, "rejected": "a"} for chosen in ("a", "bbba")]
    with tempfile.TemporaryDirectory() as folder:
        args = DPOConfig(
            folder, loss_type=["sft"], report_to="none", use_cpu=True, bf16=False, max_steps=1, learning_rate=0.0,
            per_device_train_batch_size=1, gradient_accumulation_steps=2, save_strategy="no", disable_tqdm=True,
            gradient_checkpointing=False,
        )  # fmt: skip
        trainer = DPOTrainer(
            model, deepcopy(model), args, train_dataset=Dataset.from_list(data), processing_class=words
        )
        return trainer.train().training_loss


@library.fact(
    "`aot` and `aot_unpaired` sort the pairs of a micro-batch: two pairs at once are not two times one",
    gives=[0.693147, 0.8132617],
    objective="aot",
)
def trl_aot_micro_batches() -> Any:
    """Gaps of 1 and 0 under the policy and of 0 and 1 under the reference: both pairs at once, and the mean of each alone."""
    from unittest.mock import MagicMock

    import torch
    from trl import DPOTrainer

    def loss(policy: list[float], reference: list[float]) -> Any:
        trainer = MagicMock(loss_types=["aot"], loss_weights=[1.0], beta=1.0, label_smoothing=0.0, ld_alpha=None)
        trainer.configure_mock(f_divergence_type="reverse_kl", use_weighting=False, aux_loss_enabled=False)
        trainer.accelerator.gather = trainer.accelerator.gather_for_metrics = lambda x: x
        rejected = torch.full((len(policy), 1), -2.0)
        logps = torch.cat([rejected + torch.tensor(policy)[:, None], rejected])
        ones = torch.ones(2 * len(policy), 2, dtype=torch.long)
        outputs = MagicMock(log_probs=logps, entropy=logps, mean_logits=logps, is_top1=ones[:, 1:] > 0)
        trainer._get_per_token_logps_and_entropies.return_value = logps, logps, outputs  # before 1.15
        batch = dict.fromkeys(("input_ids", "attention_mask", "completion_mask"), ones)
        batch["ref_rejected_logps"] = torch.full((len(policy),), -2.0)
        batch["ref_chosen_logps"] = batch["ref_rejected_logps"] + torch.tensor(reference)
        return DPOTrainer._compute_loss(trainer, lambda **_: outputs, batch, False).item()

    return [loss([1.0, 0.0], [0.0, 1.0]), (loss([1.0], [0.0]) + loss([0.0], [1.0])) / 2]


@library.fact(
    "`nca_pair` is NCA of two completions of which the chosen one has all of the weight; `sppo_hard` is twice SPPO of win "
    "rates 1 and 0, with η = 1/β; `apo_down` is the same with every divergence, of which DPOTrainer takes only the reverse KL",
    gives=[1.126523, 0.5, 0.8502616, 0.8502616],
    topic="f_dpo_apo_down",
    objective="apo_down",
)
def trl_nca_sppo_apo_down() -> Any:
    """Log-ratios of 1 and -1, β = 1."""
    from unittest.mock import MagicMock

    import torch
    from trl import DPOTrainer

    def loss(loss_type: str, divergence: str) -> Any:
        trainer = MagicMock(loss_types=[loss_type], loss_weights=[1.0], beta=1.0, ld_alpha=None)
        trainer.configure_mock(f_divergence_type=divergence, use_weighting=False, aux_loss_enabled=False)
        trainer.accelerator.gather = trainer.accelerator.gather_for_metrics = lambda x: x
        logps, ones = torch.tensor([[-1.0], [-3.0]]), torch.ones(2, 2, dtype=torch.long)
        outputs = MagicMock(log_probs=logps, entropy=logps, mean_logits=logps, is_top1=ones[:, 1:] > 0)
        trainer._get_per_token_logps_and_entropies.return_value = logps, logps, outputs  # before 1.15
        batch = dict.fromkeys(("input_ids", "attention_mask", "completion_mask"), ones)
        batch |= dict.fromkeys(("ref_chosen_logps", "ref_rejected_logps"), torch.full((1,), -2.0))
        return DPOTrainer._compute_loss(trainer, lambda **_: outputs, batch, False).item()

    kinds = (
        ("nca_pair", "reverse_kl"),
        ("sppo_hard", "reverse_kl"),
        ("apo_down", "reverse_kl"),
        ("apo_down", "forward_kl"),
    )
    return [loss(*kind) for kind in kinds]


@library.fact(
    "KTO's K is the mean over the ranks of their means, cut off at 0 after it: of -2 and 1 it is 0",
    gives=0.5,
    topic="kto_baseline",
    objective="kto",
)
def trl_kto_baseline() -> Any:
    """A desirable completion as likely as under the reference, β = 1: its loss is 1/2 where K is 0, and 0.62 where it is 1/2."""
    from unittest.mock import MagicMock

    import torch
    from trl import KTOTrainer

    trainer = MagicMock(loss_type="kto", beta=1.0, desirable_weight=1.0, undesirable_weight=1.0, aux_loss_enabled=False)
    trainer.configure_mock(**{"accelerator.device": "cpu", "_compute_kl_logps.return_value": torch.tensor([-3.0])})
    trainer.accelerator.gather_for_metrics = lambda x: torch.stack([x, x + 3])  # the other rank has 3 more
    logps, ones = torch.tensor([[-1.0]]), torch.ones(1, 2, dtype=torch.long)
    outputs = MagicMock(log_probs=logps, entropy=logps, mean_logits=logps)
    trainer._get_per_token_logps_and_entropies.return_value = logps, logps, outputs  # before 1.15
    batch = dict.fromkeys(("input_ids", "attention_mask", "completion_mask"), ones)
    batch |= {"label": torch.tensor([True]), "ref_logps": logps[0], "ref_KL_logps": logps[0]}
    return KTOTrainer._compute_loss(trainer, lambda **_: outputs, batch, False).item()


@library.fact(
    "KTO's batch mean leaves out the losses that are NaN, without a word",
    gives=0.5,
    topic="kto_reduction",
    objective="kto",
)
def trl_kto_nan() -> Any:
    """Two desirable completions as likely as under the reference, of which one has a log-prob of NaN."""
    from unittest.mock import MagicMock

    import torch
    from trl import KTOTrainer

    trainer = MagicMock(loss_type="apo_zero_unpaired", beta=1.0, desirable_weight=1.0, undesirable_weight=1.0)
    trainer.configure_mock(**{"accelerator.device": "cpu"}, aux_loss_enabled=False, calculate_KL=False)
    trainer.accelerator.gather_for_metrics = lambda x: x
    logps, ones = torch.tensor([[-1.0], [float("nan")]]), torch.ones(2, 2, dtype=torch.long)
    outputs = MagicMock(log_probs=logps, entropy=logps, mean_logits=logps)
    trainer._get_per_token_logps_and_entropies.return_value = logps, logps, outputs  # before 1.15
    batch = dict.fromkeys(("input_ids", "attention_mask", "completion_mask"), ones)
    batch |= {"label": torch.tensor([True, True]), "ref_logps": torch.tensor([-1.0, -1.0])}
    return KTOTrainer._compute_loss(trainer, lambda **_: outputs, batch, False).item()
