"""How an objective is called: programs that run as they stand, and what TRL's trainers take."""

from typing import Any

from witnesses import Example

from poz.columns import columns_read, list_columns
from poz.families import Rollouts, Unpaired, layout_of
from poz.objective import Objective

NAMES = {"Pairs": "pairs", "TokenPairs": "pairs", "RewardPairs": "pairs", "Denoising": "pairs", "Ranked": "lists"}

OWN = "call it in a loop of your own, as in the other tabs."
TRL = """import poz
from poz.integrations.trl import {trainer}
from trl import {config}

trainer = {trainer}(
    model,
{middle}    args={config}("{folder}"),
    train_dataset=dataset,  # {columns}
    processing_class=tokenizer,
{objective},
)
trainer.train()"""
LEARNT = """\
    # learns how reliable each annotator is, over DPO; over another base, with
    # annotators numbered from 0: poz.torch.LCPO(base, num_annotators)
    objective="lcpo_em\""""


def numpy(spec: Objective, example: Example) -> str:
    """In NumPy, with what it gives."""
    given, params = _arguments(spec, example, "np.array({})")
    call = _wrapped(f"losses = poz.{spec.name}", [_batch(spec), *params])
    return "\n".join(("import numpy as np\nimport poz\n", given, call))


def torch(spec: Objective, example: Example) -> str:
    """In torch, with gradients."""
    given, params = _arguments(spec, example, "torch.tensor({}, dtype=torch.float64)", ", requires_grad=True")
    call = _wrapped(f"losses = poz.{spec.name}", [_batch(spec), *params])
    return "\n".join(("import poz\nimport torch\n", given, call, "losses.mean().backward()"))


def jax(spec: Objective, example: Example) -> str:
    """In JAX, with gradients."""
    given, params = _arguments(spec, example, "jnp.array({})")
    batch, side = _batch(spec), _learnt(spec, example)[0]
    bound = _wrapped(f"objective = poz.{spec.name}.bind", params) if params else f"objective = poz.{spec.name}"
    return "\n".join(
        (
            "import jax\nimport jax.numpy as jnp\nimport poz\n",
            given,
            bound,
            f"losses = jax.jit(objective)({batch})",
            "",
            "",
            f"def loss({side}):",
            f"    return objective({batch}._replace({side}={side})).mean()",
            "",
            "",
            f"gradient = jax.grad(loss)({batch}.{side})",
        )
    )


def trl(spec: Objective) -> tuple[str, str]:
    """The trainer for TRL that takes it and a program; or "" and why none does."""
    name, columns, why = trainer(spec)
    if not name:
        return "", why
    config = {"RankedTrainer": "DPOConfig"}.get(name, name.replace("Trainer", "Config"))
    middle = "    reward_funcs=rule,\n" * (name == "GRPOTrainer")
    bound = ", ".join(f"{key}={_value(value)}" for key, value in list(spec.values.items())[:2])
    objective = f"    objective=poz.{spec.name}" + f".bind({bound})" * bool(bound)
    objective = LEARNT if spec.name == "lcpo" else objective
    return name, TRL.format(
        trainer=name, config=config, middle=middle, folder=spec.name, columns=columns, objective=objective
    )


def trainer(spec: Objective) -> tuple[str, str, str]:
    """Its trainer in `poz.integrations.trl`, the columns of the data, and why there is none."""
    from poz.torch.scored import TWO_PROMPTS, check_pairs

    layout = layout_of(spec.family)
    read = {field for field in spec.reads if layout.shapes[field][1] in ("logp", "feature")}
    if layout.errors:
        return "", "", "TRL trains no diffusion models; [in diffusers' script](../trainers.md) it is one line."
    if spec.family is Rollouts:
        unserved = spec.reads & {"token_advantages", "groups"} or spec.name == "a2po"
        return ("", "", _loop("what TRL's GRPOTrainer does not have")) if unserved else ("GRPOTrainer", "prompt", "")
    if layout.scores:
        fits = read <= {"chosen", "rejected"} or read <= {"chosen_embedding", "rejected_embedding"}
        columns = _columns("chosen, rejected", *columns_read(spec))
        return ("RewardTrainer", columns, "") if fits else ("", "", _loop("more than the outputs of a reward model"))
    if layout.lists:
        if spec.name in TWO_PROMPTS:
            return "", "", _loop("log-probs under two prompts, and a list has one")
        numbers = list_columns(spec) or ("scores or ranks",)
        return "RankedTrainer", _columns("prompt, completions", numbers, ()), ""
    if spec.family is Unpaired and {"ref_logps", "desirable"} <= spec.reads:
        return "KTOTrainer", _columns("prompt, completion, label", *columns_read(spec)), ""
    try:
        check_pairs(spec)
    except ValueError as error:
        return "", "", f"{str(error).split('. ')[0]}, and TRL's trainers no more: {OWN}"
    columns = _columns("prompt, chosen, rejected", *columns_read(spec))
    return "DPOTrainer", columns + ", else the reference is the opponent" * ("opponents_chosen" in spec.reads), ""


def _loop(what: str) -> str:
    return f"It reads {what}, so no trainer of TRL's takes it: {OWN}"


def _columns(always: str, required: tuple[str, ...], optional: tuple[str, ...]) -> str:
    return ", ".join((always, *required)) + f"; where there are: {', '.join(optional)}" * bool(optional)


def _batch(spec: Objective) -> str:
    return NAMES.get(spec.family.__name__, spec.family.__name__.lower())


def _learnt(spec: Objective, example: Example) -> list[str]:
    """The fields that a model gives."""
    layout = layout_of(spec.family)
    sides = [side for side in layout.sides if side in example.fields and side in spec.reads]
    return sides or [name for name in example.fields if layout.shapes[name][1] in ("logp", "feature")]


def _arguments(spec: Objective, example: Example, array: str, learnt: str = "") -> tuple[str, list[str]]:
    """The batch as Python makes it, and the hyper-parameters that are not at their defaults as arguments."""
    rows = []
    for name, value in example.fields.items():
        made = array.format(value)
        if layout_of(spec.family).shapes[name][1] in ("integer", "mask"):
            made = made.replace(", dtype=torch.float64", "")
        elif name in _learnt(spec, example):
            made = made.removesuffix(")") + learnt + ")"
        rows.append(f"    {name}={made},")
    given = "\n".join((f"{_batch(spec)} = poz.{spec.family.__name__}(", *rows, ")"))
    params = dict(example.params)
    base = {"base": params.pop("base"), **params.pop("base_params")} if "base_params" in params else {}
    words = [f"base=poz.{base.pop('base')}.bind({_keywords(base)})"] if base else []
    changed = {key: value for key, value in params.items() if value != spec.values[key]}
    return given, words + [f"{key}={_parameter(key, value, array)}" for key, value in changed.items()]


def _wrapped(start: str, arguments: list[str]) -> str:
    """A call, on one line where it fits."""
    line = f"{start}({', '.join(arguments)})"
    return line if len(line) <= 76 else "\n".join((f"{start}(", *(f"    {one}," for one in arguments), ")"))


def _keywords(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={_value(value)}" for key, value in values.items())


def _parameter(name: str, value: Any, array: str) -> str:
    return array.format(list(value)) if name == "reliability" and isinstance(value, tuple | list) else _value(value)


def _value(value: Any) -> str:
    return f"poz.{value.name}" if isinstance(value, Objective) else repr(value)
