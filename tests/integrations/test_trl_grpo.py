"""TRL's GRPOTrainer with objectives of poz: equal to TRL's own losses, exact over micro-batches, nothing silent."""

import copy

import datasets
import pytest
import torch
import transformers
import trl
from trl_tiny import MARKS, SHORT, Bytes, close, lora, tiny

import poz
from poz.integrations.trl import GRPOTrainer

pytestmark = [*MARKS, pytest.mark.filterwarnings("ignore:.*rollout_func.*:UserWarning")]
PROMPTS = datasets.Dataset.from_dict({"prompt": ["Say a.", "Say it again:", "Hi", "And then?"]})
PER_PROMPT, LONGEST = 4, 7


def rule(completions, **_):
    """How much of a completion is below the letter P."""
    return [sum(letter < "P" for letter in text) / max(len(text), 1) for text in completions]


def settings(folder, **more):
    given = {
        "per_device_train_batch_size": 2 * PER_PROMPT,
        "num_generations": PER_PROMPT,
        "max_completion_length": LONGEST,
        "gradient_checkpointing": False,
        "generation_kwargs": {"suppress_tokens": list(range(259, 384))},  # which are no bytes
    }
    return trl.GRPOConfig(str(folder), **{**SHORT, **given, **more})


def trainer(folder, model, objective, arguments=None, make=GRPOTrainer, **more):
    """One of ours, or TRL's own where `objective` is None."""
    given = {"processing_class": Bytes(), "train_dataset": PROMPTS, "reward_funcs": rule, **more}
    ours = {} if objective is None else {"objective": objective}
    made = trl.GRPOTrainer if objective is None else make
    return made(copy.deepcopy(model), args=settings(folder, **(arguments or {})), **ours, **given)


def logps_of(model, inputs):
    """Per-token log-probs without TRL's fused head."""
    ids, mask = (
        torch.cat([inputs[f"{side}_{what}"] for side in ("prompt", "completion")], 1) for what in ("ids", "mask")
    )
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    return logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0][:, -LONGEST:]


@pytest.fixture(scope="module")
def inputs(policy):
    """Six completions of 0 to 7 tokens, with an old policy and a reference that are not the policy."""
    draw = torch.Generator().manual_seed(0)
    lengths = torch.tensor([7, 3, 5, 1, 6, 0])
    made = {
        "prompt_ids": torch.randint(3, 259, (6, 4), generator=draw),
        "prompt_mask": torch.ones(6, 4, dtype=torch.long),
        "completion_ids": torch.randint(3, 259, (6, LONGEST), generator=draw),
        "completion_mask": (torch.arange(LONGEST) < lengths[:, None]).long(),
        "advantages": torch.tensor([1.5, -0.5, 0.25, -1.0, -0.25, 1.0]),
        "num_items_in_batch": lengths.sum(),
    }
    with torch.no_grad():
        logps = logps_of(policy, made)
    for name, spread in (("old", 0.3), ("ref", 0.5)):
        made[f"{name}_per_token_logps"] = logps + spread * torch.randn(logps.shape, generator=draw)
    return made


def loss_and_gradients(made, inputs):
    made.model.train()
    made.model.zero_grad()
    made.current_gradient_accumulation_steps = 1
    loss = made.compute_loss(made.model, inputs)
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in made.model.named_parameters()}


BAND = {"epsilon_low": 0.02, "epsilon_high": 0.03}
SEQUENCE = {"importance_sampling_level": "sequence", "epsilon": 0.02, "epsilon_high": 0.03}
KL = {"beta": 0.04}
CLIPPED = "clip_ratio/low_mean clip_ratio/high_mean clip_ratio/region_mean"
LOSSES = {
    "grpo": ({"loss_type": "grpo"}, poz.grpo.bind(kl_weight=0.0), CLIPPED),
    "grpo with a KL": ({"loss_type": "grpo", **KL}, poz.grpo.bind(kl="r*k3"), CLIPPED),
    "grpo with k3": ({"loss_type": "grpo", **KL, "use_bias_correction_kl": False}, poz.grpo, f"{CLIPPED} kl"),
    "bnpo": ({"loss_type": "bnpo"}, poz.ppo_clip, CLIPPED),
    "dr_grpo": ({"loss_type": "dr_grpo"}, poz.dr_grpo.bind(length=LONGEST), CLIPPED),
    "dapo": ({"loss_type": "dapo"}, poz.dapo.bind(epsilon_high=0.2), CLIPPED),
    "dapo with a KL": ({"loss_type": "dapo", **KL}, poz.dapo.bind(epsilon_high=0.2, kl_weight=0.04, kl="r*k3"), CLIPPED),
    "cispo": ({"loss_type": "cispo", "epsilon_high": 1.1}, poz.cispo.bind(epsilon_high=0.1), ""),
    "sapo": ({"loss_type": "sapo"}, poz.sapo, ""),
    "gspo": ({"loss_type": "grpo", **SEQUENCE}, poz.gspo.bind(**BAND), ""),
    "luspo": ({"loss_type": "luspo", **SEQUENCE}, poz.luspo.bind(**BAND), ""),
    "vespo": ({"loss_type": "vespo"}, poz.vespo, ""),
    "two-sided": ({"delta": 1.3}, poz.ppo_clip.bind(ratio_cap=1.3), ""),
    "off-policy": ({"off_policy_mask_threshold": 0.01}, poz.ppo_clip.bind(off_policy_limit=0.01), ""),
    "entropy": ({"entropy_coef": 0.1}, poz.ppo_clip.bind(entropy_weight=0.1), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_every_gradient_equal_trls(tmp_path, policy, inputs, name):
    arguments, objective, metrics = LOSSES[name]
    arguments = dict(arguments)
    beta = arguments.pop("beta", 0.0)
    theirs = trainer(tmp_path, policy, None, arguments)
    theirs.beta = beta  # of which TRL would load a reference from where this model was not read from
    expected, gradients = loss_and_gradients(theirs, inputs)
    made = trainer(tmp_path, policy, objective)
    loss, found = loss_and_gradients(made, inputs)
    close(loss, expected, "loss", 1e-5)
    for key, gradient in gradients.items():
        close(found[key], gradient, key)
    assert gradients["lm_head.weight"].abs().max() > 1e-4
    logged = [one.log_history for one in (theirs.state, made.state)]
    for one in (theirs, made):
        one.log({})
    for metric in ("entropy", *metrics.split()):
        theirs_, ours = (logs[-1][metric] for logs in logged)
        assert ours == pytest.approx(theirs_, rel=1e-5)
    if metrics:
        assert 0 < logged[1][-1]["clip_ratio/region_mean"] < 1


def test_on_policy_where_there_is_no_old_policy(tmp_path, policy, inputs):
    alone = {name: x for name, x in inputs.items() if name != "old_per_token_logps"}
    expected, gradients = loss_and_gradients(trainer(tmp_path, policy, None), alone)
    loss, found = loss_and_gradients(trainer(tmp_path, policy, "dapo"), alone)
    close(loss, expected, "loss", 1e-6)
    close(found["lm_head.weight"], gradients["lm_head.weight"], "gradient")


class Seen(GRPOTrainer):
    """Keeps what it is trained on, and the losses."""

    def compute_loss(self, model, inputs, **more):
        loss = super().compute_loss(model, inputs, **more)
        if not hasattr(self, "seen"):
            self.seen = []
        self.seen.append((inputs, loss.detach()))
        return loss


def written(prompts, made):
    """What stands for a sampler: completions of 1 to 7 tokens, a third of them without an end, and their log-probs."""
    ids = [[*(9 * i + j for j in range(3, 3 + 3 * i % LONGEST)), 1 if i % 3 else 2] for i in range(len(prompts))]
    return {
        "prompt_ids": [Bytes()(prompt)["input_ids"] for prompt in prompts],
        "completion_ids": ids,
        "logprobs": [[-5.0 - 0.1 * j for j in range(len(row))] for row in ids],
    }


SPLIT = {"gradient_accumulation_steps": 2, "steps_per_generation": 4, "per_device_train_batch_size": 4}


@pytest.mark.parametrize("objective", [
    poz.dapo.bind(kl_weight=0.5),
    poz.ppo_clip.bind(aggregation="sequence_mean", count_empty=False),
    poz.dr_grpo.bind(length=5.0, count_empty=False),
    poz.combine([("cispo", 0.5), ("grpo", 2.0)]),
])  # fmt: skip
def test_micro_batches_add_up_to_the_objective_of_a_step(tmp_path, policy, objective):
    """At a rate of 0 the policy stays; the completions of a generation are trained on in two steps of two micro-batches."""
    arguments = {**SPLIT, "learning_rate": 0.0, "mask_truncated_completions": True}
    made = trainer(tmp_path, policy, objective, arguments, Seen, rollout_func=written)
    made.train()
    assert len(made.seen) == 4
    tokens = []
    for step in (0, 2):
        parts = [one for one, _ in made.seen[step : step + 2]]
        whole = {name: torch.cat([one[name] for one in parts]) for name in parts[0] if parts[0][name].ndim}
        logps = whole["old_per_token_logps"]
        with torch.no_grad():
            close(logps[whole["completion_mask"] > 0], logps_of(policy, whole)[whole["completion_mask"] > 0], "old")
        reference = whole.get("ref_per_token_logps")
        fields = {"ref_logps": reference, "mask": whole["completion_mask"].bool(), "advantages": whole["advantages"]}
        expected = objective(poz.Rollouts(logps, **fields)).mean()
        assert sum(loss for _, loss in made.seen[step : step + 2]).item() == pytest.approx(expected.item(), rel=1e-5)
        tokens.append(int(whole["completion_mask"].sum()))
    assert tokens[0] != tokens[1]  # so that a mean over the generation would be another one


def test_a_step_may_span_generations_where_nothing_is_counted(tmp_path, policy):
    objective = poz.dr_grpo.bind(length=5.0)
    arguments = {
        **SPLIT,
        "gradient_accumulation_steps": 4,
        "steps_per_generation": 2,
        "learning_rate": 0.0,
        "max_steps": 1,
    }
    made = trainer(tmp_path, policy, objective, arguments, Seen, rollout_func=written)
    made.train()
    assert len(made.seen) == 4
    means = []
    for one, _ in made.seen:
        mask = one["completion_mask"].bool()
        logps = torch.zeros(mask.shape)  # at a ratio of 1 they have no say
        means.append(objective(poz.Rollouts(logps, mask=mask, advantages=one["advantages"])).mean().item())
    assert sum(loss for _, loss in made.seen).item() == pytest.approx(sum(means) / 4, rel=1e-5)
    assert abs(sum(means)) > 0.1


def test_what_the_sampler_gave_its_tokens(tmp_path, policy, inputs):
    objective = poz.cispo.bind(correction="token_truncate", correction_high=1.1)
    made = trainer(tmp_path, policy, objective, rollout_func=written)
    sampler = inputs["old_per_token_logps"] + 0.2 * torch.sin(torch.arange(LONGEST))
    lost = sampler.clone()
    lost[0, 2] = torch.nan  # a token of which vLLM has no number
    sampler[0, 2] = inputs["old_per_token_logps"][0, 2]
    loss, _ = loss_and_gradients(made, {**inputs, "sampling_per_token_logps": lost})
    mask, advantages = inputs["completion_mask"].bool(), inputs["advantages"]
    rollouts = poz.Rollouts(
        logps_of(policy, inputs), inputs["old_per_token_logps"], sampler_logps=sampler, mask=mask, advantages=advantages
    )
    close(loss, objective(rollouts).mean(), "loss", 1e-5)


def test_tokens_of_tools_are_left_out(tmp_path, policy, inputs):
    tools = torch.ones_like(inputs["completion_mask"])
    tools[:, 1::3] = 0
    theirs, made = (trainer(tmp_path, policy, objective) for objective in (None, poz.dapo.bind(epsilon_high=0.2)))
    counted = {**inputs, "tool_mask": tools, "num_items_in_batch": (inputs["completion_mask"] * tools).sum()}
    close(loss_and_gradients(made, counted)[0], loss_and_gradients(theirs, counted)[0], "loss", 1e-5)


def test_the_load_balancing_of_a_mixture_of_experts_is_added(tmp_path, inputs):
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokens = {"vocab_size": 384, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "router_aux_loss_coef": 0.5, "num_key_value_heads": 2}
    model = transformers.MixtralForCausalLM(transformers.MixtralConfig(**shape, **tokens, **experts))
    theirs, made = (trainer(tmp_path, model, objective) for objective in (None, poz.dapo.bind(epsilon_high=0.2)))
    expected, gradients = loss_and_gradients(theirs, inputs)
    loss, found = loss_and_gradients(made, inputs)
    close(loss, expected, "loss", 1e-5)
    router = next(name for name in gradients if "gate." in name)
    close(found[router], gradients[router], router)
    for one in (theirs, made):
        one.log({})
    ours, trls = (one.state.log_history[-1]["aux_loss"] for one in (made, theirs))
    assert ours == pytest.approx(trls)
    assert ours > 1


@pytest.mark.parametrize("objective", ["cispo", "grpo", "clip_cov"])
def test_it_trains(tmp_path, policy, objective):
    evaluation = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": PER_PROMPT}
    made = trainer(tmp_path, policy, objective, evaluation, eval_dataset=PROMPTS)
    made.train()
    logs = [entry for entry in made.state.log_history if "loss" in entry]
    assert len(logs) == 2
    assert all({"reward", "entropy", "clip_ratio/region_mean"} <= entry.keys() for entry in logs)
    assert (made.ref_model is None) == (objective != "grpo")
    assert all(("kl" in entry) == (objective == "grpo") for entry in logs)
    if objective == "grpo":
        assert abs(logs[0]["kl"]) < 1e-6 < logs[1]["kl"]
    assert any("eval_loss" in entry for entry in made.state.log_history)
    moved = [not torch.equal(p, policy.get_parameter(name)) for name, p in made.model.named_parameters()]
    assert all(moved)


def test_the_reference_and_the_old_policy_have_no_dropout(tmp_path):
    model = tiny(0)
    model.config.attention_dropout = 0.5
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    made = trainer(
        tmp_path, model, "grpo", {"num_iterations": 2, "max_steps": 1}, Seen, rollout_func=written, peft_config=lora()
    )
    made.train()
    ((inputs, _),) = made.seen
    with torch.no_grad():
        plain = logps_of(model.eval(), inputs)
    mask = inputs["completion_mask"] > 0
    for name in ("ref", "old"):
        close(inputs[f"{name}_per_token_logps"][mask], plain[mask], name)


OF_LOSS = {
    "loss_type": "grpo",
    "importance_sampling_level": "sequence",
    "use_bias_correction_kl": False,
    "use_adaptive_entropy": True,
    "vllm_importance_sampling_mode": "token_mask",
    "vllm_importance_sampling_cap": 2.0,
    "top_entropy_quantile": 0.5,
    **dict.fromkeys(
        ("beta", "epsilon", "epsilon_high", "off_policy_mask_threshold", "vllm_importance_sampling_clip_min"), 0.1
    ),
    **dict.fromkeys(("entropy_coef", "entropy_coef_min", "entropy_coef_delta", "entropy_target"), 0.1),
    **dict.fromkeys(("delta", "sapo_temperature_pos", "sapo_temperature_neg", "entropy_coef_max"), 1.5),
    **dict.fromkeys(("vespo_k_pos", "vespo_k_neg", "vespo_lambda_pos", "vespo_lambda_neg"), 1.5),
    "vllm_importance_sampling_clip_max": 2.0,
}
LEFT = """
    model_init_kwargs trust_remote_code router_aux_loss_coef disable_dropout cast_lm_head_to_fp32 num_generations
    num_generations_eval max_completion_length ds3_gather_for_generation shuffle_dataset pad_to_multiple_of
    generation_batch_size steps_per_generation temperature top_p top_k min_p generation_kwargs chat_template_kwargs
    repetition_penalty cache_implementation num_iterations reward_weights multi_objective_aggregation scale_rewards
    mask_truncated_completions sync_ref_model ref_model_mixup_alpha ref_model_sync_steps max_tool_calling_iterations
    log_completions log_multimodal num_completions_to_print log_unique_prompts log_completions_hub_repo
    use_transformers_continuous_batching transformers_continuous_batching_config use_transformers_paged use_vllm vllm_mode
    vllm_model_impl vllm_enable_sleep_mode vllm_structured_outputs_regex vllm_server_base_url vllm_server_host
    vllm_server_port vllm_server_timeout vllm_group_port vllm_gpu_memory_utilization vllm_max_model_length
    vllm_tensor_parallel_size vllm_importance_sampling_correction
"""
"""What TRL does with completions and rewards before there is a loss, and with the model."""


def test_every_setting_of_trl_makes_its_loss_or_is_left_to_it():
    """One that a release of TRL adds is neither, until somebody has read what it does."""
    known = {*transformers.TrainingArguments.__dataclass_fields__, *OF_LOSS, *LEFT.split()}
    assert {*trl.GRPOConfig.__dataclass_fields__} - known == set()


UNCORRECTED = {"use_vllm": True, "vllm_importance_sampling_correction": False}


def of(**columns):
    return datasets.Dataset.from_dict(columns)


@pytest.mark.filterwarnings("ignore:.*vllm_importance_sampling_cap.*:FutureWarning")
@pytest.mark.parametrize(("objective", "arguments", "more", "sentence"), [
    *(
        ("dapo", {name: value}, {}, rf"GRPOConfig\({name}=.*\) sets TRL's own loss, which `dapo` replaces. Leave it")
        for name, value in {**OF_LOSS, "label_smoothing_factor": 0.1}.items()
    ),
    ("dpo", {}, {}, r"needs an objective on poz\.Rollouts, such as `grpo`.*got `dpo`, which reads poz\.Pairs\. .* trainers for"),
    (poz.grpo.bind(per_token=True), {}, {}, "`grpo` reads token_advantages, and TRL has one advantage for each"),
    (poz.grpo.bind(correction="token_mask"), {}, {}, "`grpo` reads sampler_logps, .* without use_vllm=True .* Bind corr"),
    ("gvpo", {}, {}, r"`gvpo` reads groups, and TRL does not tell a loss of which prompt"),
    ("a2po", {}, {}, r"`a2po` wants advantages R - V\* .* poz\.advantages\.optimal, and TRL's are within the group of a prompt"),
    ("dapo", {"use_vllm": True}, {}, "with use_vllm=True TRL has vllm_importance_sampling_correction=True. Set it False, or b"),
    (poz.dapo.bind(correction="token_mask"), UNCORRECTED, {}, "vllm_importance_sampling_correction=False. Set it True, which"),
    ("dapo", {"sync_ref_model": True}, {}, "`dapo` reads no reference, but got sync_ref_model=True"),
    ("kl_cov", {"gradient_accumulation_steps": 2}, {}, r"`kl_cov` is defined over the whole batch \(the covariance .* Set 1, or"),
    ("dapo", {"gradient_accumulation_steps": 2, "steps_per_generation": 1}, {}, "not written when the first .* Make steps_per"),
    ("dapo", {}, {"train_dataset": of(prompt=["a"], images=[[]])}, "trains on text; train_dataset holds images"),
    ("dapo", {}, {"eval_dataset": of(question=["a"])}, "eval_dataset must have a column 'prompt'; it has question"),
])  # fmt: skip
def test_refused(tmp_path, policy, objective, arguments, more, sentence):
    with pytest.raises(ValueError, match=sentence):
        trainer(tmp_path, policy, objective, arguments, **more)
