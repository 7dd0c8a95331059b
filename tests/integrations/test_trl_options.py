"""Every option of TRL's own losses is an objective with TRL's loss and gradient, or is refused in a sentence."""

import copy
import dataclasses
import re

import pytest
import torch
import transformers
import trl
from trl_tiny import (
    MARKS,
    PAIRS,
    WITH_COLUMNS,
    close,
    inputs,
    kto_settings,
    kto_trainer,
    log_probs,
    loss_and_gradients,
    settings,
    trainer,
)

from poz.integrations.trl import objective_of
from poz.torch import Scored, scored_losses

pytestmark = MARKS

WHOLE = [*PAIRS[:3], {**PAIRS[3], "prompt": "?"}]
"""TRL leaves a completion's token out of `sft` where it is the first one of its row, and keeps it in its lengths."""

EQUAL = [
    {"loss_type": "sigmoid", "beta": 0.7},
    {"loss_type": "hinge", "beta": 0.02},
    {"loss_type": "ipo", "beta": 0.3},
    {"loss_type": "exo_pair", "beta": 0.3, "label_smoothing": 0.1},
    {"loss_type": "nca_pair", "beta": 0.3},
    {"loss_type": "robust", "beta": 0.3, "label_smoothing": 0.2},
    {"loss_type": "bco_pair", "beta": 0.3},
    {"loss_type": "sppo_hard", "beta": 0.3},
    {"loss_type": "aot", "beta": 0.3, "label_smoothing": 0.1},
    {"loss_type": "aot_unpaired", "beta": 0.3, "label_smoothing": 0.1},
    {"loss_type": "apo_zero", "beta": 0.3},
    {"loss_type": "apo_down", "beta": 0.3},
    {"loss_type": "discopop", "beta": 0.3, "discopop_tau": 0.4},
    {"loss_type": "sft"},
    {"loss_type": "sigmoid_norm", "beta": 0.7},
    {"loss_type": "ipo", "loss_weights": [0.4]},
    {"loss_type": ["sigmoid", "sft", "hinge"], "loss_weights": [0.8, 0.3, 1.5], "beta": 0.3},
    {"loss_type": ["robust", "aot"], "label_smoothing": 0.1},
    {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0], "beta": 0.3},  # MPO
    {"loss_type": ["nca_pair", "ipo", "sppo_hard"], "loss_weights": [0.8, 0.2, 0.1], "beta": 0.3},
    {"loss_type": ["bco_pair", "nca_pair"], "beta": 0.3},
    {"beta": 0.3, "f_divergence_type": "forward_kl"},
    {"beta": 0.3, "f_divergence_type": "js_divergence"},
    {"beta": 0.3, "f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.7},
    {"beta": 0.3, "f_divergence_type": "alpha_divergence"},
    {"beta": 0.3, "f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.0},
    {"beta": 0.3, "f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 1.0},
    {"loss_type": ["sigmoid", "sft"], "f_divergence_type": "js_divergence"},
    {"beta": 0.3, "ld_alpha": 0.4},
    {"beta": 0.3, "use_weighting": True},
]
READ_BY_TRL = ("beta", "label_smoothing", "f_divergence_type", "ld_alpha", "use_weighting")
REFUSED = [
    ({"loss_type": "exo_pair"}, "`exo` needs .*for label_smoothing"),
    ({"loss_type": "robust", "label_smoothing": 0.5}, "`robust_dpo` needs .*for label_smoothing"),
    (
        {"label_smoothing": 0.1},
        r"label_smoothing=0.1\) does nothing .*\['sigmoid'\].*poz.dpo.bind\(label_smoothing=0.1",
    ),
    ({"loss_type": "sppo_hard", "beta": 0.0}, "`sppo` needs .*for eta; got inf"),
    ({"discopop_tau": 0.1}, "discopop_tau=0.1.* does nothing"),
    ({"f_alpha_divergence_coef": 0.1}, "f_alpha_divergence_coef=0.1.* does nothing"),
    ({"loss_type": "sft", "beta": 0.3}, "beta=0.3.* does nothing"),
    ({"loss_type": "hinge", "use_weighting": True}, "loss_type=.*, use_weighting=True.* is no objective .*wpo"),
    ({"loss_type": ["sigmoid", "sft"], "use_weighting": True}, "is no objective"),
    ({"loss_type": "ipo", "f_divergence_type": "js_divergence"}, "is no objective .*f_dpo"),
    ({"loss_type": "bco_pair", "ld_alpha": 0.5}, "is no objective .*ld_dpo"),
    ({"ld_alpha": 0.5, "use_weighting": True}, "is no objective .*one at a time"),
    ({"f_divergence_type": "chi"}, "'chi' is no divergence of poz.f_dpo, which has reverse_kl"),
    (
        {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 1.5},
        "`f_dpo` needs .*for alpha; got 1.5",
    ),
    ({"loss_type": "newest"}, r"loss_type=\['newest'\]\) has a loss that poz knows no objective for.*it knows hinge"),
]
ELSEWHERE = {
    *("model_init_kwargs", "trust_remote_code", "router_aux_loss_coef", "disable_dropout", "dataset_num_proc"),
    *("max_length", "truncation_mode", "padding_free", "pad_to_multiple_of", "precompute_ref_log_probs"),
    *("precompute_ref_batch_size", "activation_offloading", "sync_ref_model", "ref_model_mixup_alpha"),
    *("ref_model_sync_steps", "pad_token"),
}
"""What has nothing to do with the loss."""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory, policy, reference):
    """TRL's own trainer, whose head computes all that any option reads."""
    arguments = {"use_weighting": True}
    return trainer(tmp_path_factory.mktemp("trl"), policy, None, WHOLE, ref_model=reference, arguments=arguments)


def configured(made, options):
    """The trainer's configuration with other options of the loss, as making one would end what the trainer runs on."""
    config = copy.copy(made.args)
    for field in dataclasses.fields(trl.DPOConfig):
        if field.name in {*READ_BY_TRL, "loss_weights", "f_alpha_divergence_coef", "discopop_tau"}:
            setattr(config, field.name, options.get(field.name, field.default))
    kinds = options.get("loss_type", "sigmoid")
    config.loss_type = [kinds] if isinstance(kinds, str) else kinds
    return config


@pytest.mark.parametrize("options", EQUAL, ids=str)
def test_the_objective_has_trls_loss_and_gradient(theirs, options):
    config = theirs.args = configured(theirs, options)
    theirs.loss_types, theirs.loss_weights = config.loss_type, config.loss_weights or [1.0] * len(config.loss_type)
    for name in (*READ_BY_TRL, "f_alpha_divergence_coef"):
        setattr(theirs, name, getattr(config, name))
    loss, gradients = loss_and_gradients(theirs)

    logps, mask = log_probs(theirs.model, theirs)
    with torch.no_grad():
        before, _ = log_probs(theirs.ref_model, theirs)
    batch = inputs(theirs)
    logits = theirs.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    collision = (2 * logits.log_softmax(-1)).logsumexp(-1)
    scored = Scored(logps, mask, batch["completion_mask"].sum(1), before, {}, collision)
    theirs.model.zero_grad()
    found = scored_losses(objective_of(config), scored).mean()
    found.backward()
    close(found.detach(), loss, "loss", 1e-5)
    for name, p in theirs.model.named_parameters():
        assert p.grad.abs().max() > 0
        close(p.grad, gradients[name], name, 1e-4)


@pytest.mark.parametrize(("options", "said"), REFUSED, ids=str)
def test_what_no_objective_has_is_refused(tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        objective_of(settings(tmp_path, **options))


def test_every_loss_that_trl_names_is_known(tmp_path):
    """Its help names all of them, so one that a newer TRL adds is found here."""
    (field,) = (field for field in dataclasses.fields(trl.DPOConfig) if field.name == "loss_type")
    named = set(re.findall(r"`'(\w+)'`", field.metadata["help"]))
    assert {"sigmoid", "sigmoid_norm", "sft"} <= named
    assert named == {kind for options in EQUAL for kind in settings(tmp_path, **options).loss_type}
    (field,) = (field for field in dataclasses.fields(trl.KTOConfig) if field.name == "loss_type")
    assert field.metadata["choices"] == ["kto", "apo_zero_unpaired"]


@pytest.mark.parametrize(
    ("make", "kind", "other_loss"),
    [(settings, trl.DPOConfig, ["ipo"]), (kto_settings, trl.KTOConfig, "apo_zero_unpaired")],
)
def test_no_option_is_passed_over(tmp_path, make, kind, other_loss):
    """Each field beyond those of transformers is set away from its default: it makes another objective, is refused, or is
    said to have nothing to do with the loss."""
    base = {field.name for field in dataclasses.fields(transformers.TrainingArguments)}
    plain = repr(objective_of(make(tmp_path)))
    own = [field.name for field in dataclasses.fields(kind) if field.name not in base]
    assert {"beta", "loss_type"} <= {*own}
    for name in own:
        config = make(tmp_path)
        setattr(config, name, {"loss_type": other_loss, "loss_weights": [0.25]}.get(name, 0.25))
        try:
            other = repr(objective_of(config)) != plain
        except ValueError as error:
            other = name in str(error)
        assert other != (name in ELSEWHERE), name


def test_an_option_of_a_newer_trl(tmp_path, monkeypatch):
    @dataclasses.dataclass
    class Newer(trl.DPOConfig):
        sharpness: float = 1.0

    monkeypatch.setattr(trl.trainer.dpo_config, "DPOConfig", Newer)
    assert repr(objective_of(Newer(str(tmp_path), bf16=False))) == "poz.dpo.bind(beta=0.1, label_smoothing=0.0)"
    with pytest.raises(ValueError, match=r"Newer\(sharpness=2.0\) is an option that poz does not know"):
        objective_of(Newer(str(tmp_path), bf16=False, sharpness=2.0))


def test_another_configuration():
    with pytest.raises(TypeError, match=r"a trl.DPOConfig or a trl.KTOConfig; got a dict"):
        objective_of({"loss_type": "ipo"})


class TestTrainers:
    @pytest.mark.parametrize("options", [{"loss_type": "ipo", "beta": 0.3}, {"beta": 0.3, "ld_alpha": 0.4}])
    def test_pairs_without_an_objective(self, tmp_path, policy, reference, options):
        """The columns of the data set, which TRL does not read, change nothing either."""
        expected, gradients = loss_and_gradients(
            trainer(tmp_path, policy, None, ref_model=reference, arguments=options)
        )
        config = settings(tmp_path, **options)
        before = config.to_dict()
        made = trainer(tmp_path, policy, ..., WITH_COLUMNS, ref_model=reference, arguments=options)
        loss, found = loss_and_gradients(made)
        close(loss, expected, "loss", 1e-6)
        for name, gradient in gradients.items():
            close(found[name], gradient, name)
        assert repr(made.objective) == repr(objective_of(config))
        assert {name: made.args.to_dict()[name] for name in options} == {name: before[name] for name in options}

    @pytest.mark.parametrize(
        "options",
        [{"beta": 0.3, "desirable_weight": 1.5}, {"loss_type": "apo_zero_unpaired", "undesirable_weight": 0.5}],
    )
    def test_completions_without_an_objective(self, tmp_path, policy, reference, options):
        made = [kto_trainer(tmp_path, policy, which, ref_model=reference, arguments=options) for which in (None, ...)]
        (expected, gradients), (loss, found) = map(loss_and_gradients, made)
        close(loss, expected, "loss", 1e-6)
        for name, gradient in gradients.items():
            assert gradient.abs().max() > 0
            close(found[name], gradient, name)

    def test_an_objective_beside_an_option(self, tmp_path, policy):
        said = r"which `simpo` replaces.*TRL's own loss is poz.ipo.bind\(tau=0.1, length_normalized=True\)"
        with pytest.raises(ValueError, match=said):
            trainer(tmp_path, policy, "simpo", arguments={"loss_type": "ipo"})
        with pytest.raises(ValueError, match=r"which `bco` replaces.*TRL's own loss is poz.kto.bind.*estimator='zero'"):
            kto_trainer(tmp_path, policy, "bco", arguments={"loss_type": "apo_zero_unpaired"})

    def test_what_is_no_objective(self, tmp_path, policy):
        with pytest.raises(ValueError, match=r"loss_type=\['ipo'\], use_weighting=True\) is no objective"):
            trainer(tmp_path, policy, ..., arguments={"loss_type": "ipo", "use_weighting": True})
