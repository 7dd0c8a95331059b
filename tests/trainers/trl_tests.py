"""What holds in each supported version of TRL: a test_trl_VERSION.py takes these tests into an environment of its own.

Through each trainer's own `train()`, on the tiny model and the pairs of tests/integrations/trl_tiny.py, in float32.
"""

import copy
import importlib

import datasets
import numpy as np
import pytest
import torch
import trl
from packaging.version import Version
from trl.trainer import utils
from trl_tiny import (
    MARKS,
    PAIRS,
    UNPAIRED,
    Bytes,
    inputs,
    kto_trainer,
    lora,
    settings,
    sums,
    tiny,
    trainer,
)
from vlm_tiny import VISION_PAIRS, processor, vision_model

import poz
from poz import reference as exact
from poz.integrations.trl import DPOTrainer, GRPOTrainer, install, uninstall

pytestmark = [*MARKS, pytest.mark.filterwarnings("ignore::FutureWarning:transformers")]
CLOSE = 2e-5  # TRL scores tokens by other sums of float32 terms, and two steps follow each other
SGD = {"optim": "sgd", "learning_rate": 0.1, "lr_scheduler_type": "constant", "max_grad_norm": 0.0}
"""Steps that are the gradient times a number, so that weights after training show gradients."""
OPPONENTS = [
    {**pair, "opponents_chosen": [-20.0 - i, -31.5], "opponents_rejected": [-25.0, -18.5 - i]}
    for i, pair in enumerate(PAIRS)
]


@pytest.fixture
def no_bars():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture(scope="module")
def policy():
    return tiny(0)


@pytest.fixture(scope="module")
def other():
    return tiny(1)


def trained(made):
    """The losses of all calls of a run of `train()`, of which TRL logs four digits, and how far it has moved the weights."""
    losses, plain = [], made.compute_loss

    def kept(*args, **kwargs):
        loss = plain(*args, **kwargs)
        losses.append(loss.detach().clone())
        return loss

    made.compute_loss = kept
    before = {name: p.detach().clone() for name, p in made.model.named_parameters() if p.requires_grad}
    made.train()
    after = dict(made.accelerator.unwrap_model(made.model).named_parameters())
    return losses, [after[name].detach() - p for name, p in before.items()]


TRLS = {
    "dpo": ({}, poz.dpo),
    "ipo": ({"loss_type": ["ipo"], "beta": 0.2}, poz.ipo.bind(tau=0.2, length_normalized=True)),
    "wpo": ({"use_weighting": True}, poz.wpo.bind(beta=0.1, clamp=False)),
}


@pytest.mark.parametrize("name", TRLS)
def test_losses_and_steps_are_trls(tmp_path, policy, other, agree, name):
    theirs, objective = TRLS[name]
    runs = [
        trained(trainer(tmp_path, policy, ours, ref_model=other, arguments={**SGD, **more}))
        for ours, more in ((objective, {}), (None, theirs))
    ]
    assert runs[1][1][0].abs().max() > 1e-5
    agree("own", *([*losses, *moved] for losses, moved in runs), CLOSE)


def test_an_adapter_is_trained_against_its_base(tmp_path, policy, agree):
    def one(objective):
        torch.manual_seed(0)  # which draws the adapter
        return trained(trainer(tmp_path, policy, objective, arguments=SGD, peft_config=lora()))

    agree("own", *([*losses, *moved] for losses, moved in (one("dpo"), one(None))), CLOSE)


@pytest.mark.parametrize("objective", [poz.simpo, poz.ipo, poz.mnpo], ids=lambda spec: spec.name)
def test_losses_are_the_reference(tmp_path, policy, other, agree, objective):
    reads = {} if objective is poz.simpo else {"ref_model": other}
    made = trainer(tmp_path, policy, objective, OPPONENTS, arguments={"max_steps": 1}, **reads)
    with torch.no_grad():
        (chosen, rejected), mask = sums(made.model, made), inputs(made)["completion_mask"]
        given = {"chosen": chosen, "rejected": rejected}
        given |= dict(zip(("chosen_len", "rejected_len"), mask.sum(1).chunk(2), strict=True))
        given |= dict(zip(("ref_chosen", "ref_rejected"), sums(other, made), strict=True)) if reads else {}
    batch = {name: x.double().numpy() for name, x in given.items()}
    if objective is poz.mnpo:
        columns = ("opponents_chosen", "opponents_rejected")
        batch |= {name: np.array([row[name] for row in OPPONENTS]).T for name in columns}
    agree("reference", trained(made)[0], getattr(exact, objective.name)(**batch)[0].mean(), CLOSE)


def test_eight_batches_of_one_are_two_of_four(tmp_path, policy, other, agree):
    moved = []
    for size, steps in ((1, 8), (4, 2)):
        more = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps, "max_steps": 1}
        made = trainer(tmp_path, policy, "dpo", PAIRS * 2, ref_model=other, arguments={**SGD, **more})
        moved.append(trained(made)[1])
    agree("accumulation", *moved, 1e-6)  # the bound; padding alone differs


def test_a_policy_that_is_its_reference_has_margin_0(tmp_path, policy, agree):
    made = trainer(tmp_path, policy, "dpo", arguments={"max_steps": 1})
    trained(made)
    logged = made.state.log_history[0]
    agree("start", [logged["rewards/margins"], logged["loss"]], [0.0, float(np.log(2))], 1e-6)
    assert {"entropy", "mean_token_accuracy", "logits/chosen", "logps/rejected", "num_tokens"} <= logged.keys()


def test_evaluation_and_precomputed_references(tmp_path, policy, other, agree):
    found = []
    for ready in (False, True):
        data = datasets.Dataset.from_list(PAIRS)
        arguments = {"precompute_ref_log_probs": ready, "per_device_eval_batch_size": 3}
        made = trainer(tmp_path, policy, "dpo", ref_model=other, eval_dataset=data, arguments=arguments)
        found.append(made.evaluate()["eval_loss"])
        with torch.no_grad():
            halves = [*sums(made.model, made), *sums(other, made)]
        losses = poz.dpo(poz.Pairs(halves[0], halves[1], ref_chosen=halves[2], ref_rejected=halves[3]))
        found.append(float(losses.mean()))
    agree("own", found[::2], found[1::2], CLOSE)


@pytest.mark.parametrize("name", ["kto", "apo_zero_unpaired"])
def test_kto_is_trls(tmp_path, policy, other, agree, name):
    ours = poz.kto if name == "kto" else poz.kto.bind(estimator="zero")
    examples = UNPAIRED[:-1]  # an even number, for TRL makes each sample of the KL within a batch
    sizes = {"per_device_train_batch_size": len(examples), "train_sampling_strategy": "sequential"}
    runs = [
        trained(kto_trainer(tmp_path, policy, objective, examples, ref_model=other, arguments={**SGD, **sizes, **more}))
        for objective, more in ((ours, {}), (None, {"loss_type": name}))
    ]
    agree("own", *([*losses, *moved] for losses, moved in runs), CLOSE)


def test_pairs_with_images_are_trls(tmp_path, agree):
    runs = []
    for make, more in ((DPOTrainer, {"objective": "dpo"}), (trl.DPOTrainer, {})):
        data = datasets.Dataset.from_list(VISION_PAIRS)
        arguments = settings(tmp_path, **SGD)
        made = make(
            vision_model(0), vision_model(1), arguments, train_dataset=data, processing_class=processor(), **more
        )
        runs.append(trained(made))
    assert max(moved.abs().max() for moved in runs[1][1]) > 1e-5
    agree("own", *([*losses, *moved] for losses, moved in runs), CLOSE)


def rule(completions, **_):
    """How much of a completion is below the letter P."""
    return [sum(letter < "P" for letter in text) / max(len(text), 1) for text in completions]


def test_grpo_is_trls(tmp_path, policy, agree):
    arguments = {
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 7,
        "generation_kwargs": {"suppress_tokens": list(range(259, 384))},  # which are no bytes
        "gradient_checkpointing": False,
        "temperature": 0.9,
    }
    quiet = {name: getattr(settings(tmp_path), name) for name in ("bf16", "use_cpu", "report_to", "disable_tqdm")}
    runs = []
    for make, more in ((GRPOTrainer, {"objective": poz.dapo.bind(epsilon_high=0.2)}), (trl.GRPOTrainer, {})):
        made = make(
            copy.deepcopy(policy),
            rule,
            trl.GRPOConfig(
                str(tmp_path), max_steps=2, logging_steps=1, save_strategy="no", **quiet, **SGD, **arguments
            ),
            train_dataset=datasets.Dataset.from_dict({"prompt": ["Say a.", "Say it again:", "Hi", "And then?"]}),
            processing_class=Bytes(),
            **more,
        )
        runs.append(trained(made))
    assert runs[1][1][0].abs().max() > 1e-5
    agree("own", *([*losses, *moved] for losses, moved in runs), CLOSE)


def test_install_puts_the_head_under_trls_names(agree):
    """Values, and gradients through log-probs and entropies, by the arguments of the version's own function."""
    draw = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(rows, 24, generator=draw) for rows in (33, 301))
    targets = torch.randint(301, (33,), generator=draw)
    fused = Version(trl.__version__) >= Version("1.15")
    names = [] if fused else ["dpo", "kto", "grpo"]  # where each has a name of its own
    modules = [utils, *(importlib.import_module(f"trl.trainer.{name}_trainer") for name in names)]
    theirs, found = utils._ChunkedLogProbFunction, []
    install()
    ours = [module._ChunkedLogProbFunction for module in modules]
    uninstall()
    assert [module._ChunkedLogProbFunction for module in modules] == [theirs] * len(modules)
    for function in (theirs, *ours):
        leaves = [x.clone().requires_grad_() for x in (hidden, weight)]
        given = (*leaves, None, targets, 0.7, 128, 8.0, 1.3, *[("entropy",)] * fused)
        logps, entropy = function.apply(*given)[:2]
        found.append([logps, entropy, *torch.autograd.grad((logps + 0.1 * entropy).sum(), leaves)])
    for one in found[1:]:
        assert function is not theirs
        agree("own", one, found[0], CLOSE)


def test_pairs_that_the_policy_has_just_written_are_trained_as_trls(tmp_path, policy, other, agree):
    online = importlib.import_module("test_trl_online")
    runs = [
        online.trained(online.trainer(tmp_path, policy, objective, ref_model=other))[:2] for objective in ("dpo", None)
    ]
    agree("own", *([losses, *moved.values()] for losses, moved in runs), CLOSE)


def test_a_reward_model_is_trained_as_trls_and_however_a_step_is_split(tmp_path, agree):
    reward, moved = importlib.import_module("test_trl_reward"), {}
    for objective in ("bradley_terry", None):
        for size, steps in ((1, 8), (4, 2)):
            more = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps, "max_steps": 1}
            made = reward.trainer(tmp_path, objective, PAIRS * 2, arguments={**SGD, **more})
            moved[objective, size] = trained(made)[1]
    agree("accumulation", moved["bradley_terry", 1], moved["bradley_terry", 4], 1e-6)
    agree("own", moved["bradley_terry", 4], moved[None, 4], CLOSE)
