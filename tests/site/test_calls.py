"""The programs on the pages of objectives run as they stand, and give the values beside them."""

import ast
import re

import numpy as np
import pytest
import torch
from trl import DPOConfig, GRPOConfig, KTOConfig, RewardConfig

import poz
from poz.integrations import trl
from poz.testing import draw_batch

ON_CPU = {"use_cpu": True, "bf16": False}
TRAINERS = {"DPO": DPOConfig, "KTO": KTOConfig, "Ranked": DPOConfig, "Reward": RewardConfig, "GRPO": GRPOConfig}


@pytest.fixture(scope="module")
def shown(seen):
    """By objective the programs and the values of the first example."""
    pages = {name: seen[f"objectives/{name}.html"] for name in poz.zoo}
    return {name: (page["programs"], np.array(page["values"][0], float)) for name, page in pages.items()}


def ran(program):
    names = {}
    exec(compile(program, "page", "exec"), names)
    return names


def test_numpy(shown, capsys):
    for name, (programs, values) in shown.items():
        np.testing.assert_allclose(ran(programs["NumPy"])["losses"], values, rtol=1e-11, atol=1e-15, err_msg=name)
        said = [float(word) for word in programs["NumPy"].rpartition("# ")[2].split(", ")]
        np.testing.assert_allclose(said, values, rtol=1e-7, err_msg=name)  # of the eight digits that are shown
    assert capsys.readouterr().out


def test_torch(shown):
    for name, (programs, values) in shown.items():
        names = ran(programs["torch"])
        np.testing.assert_allclose(names["losses"].detach(), values, rtol=1e-11, atol=1e-15, err_msg=name)
        batch = next(x for x in names.values() if type(x) is poz.zoo[name].family)
        slopes = [x.grad for x in batch if isinstance(x, torch.Tensor) and x.requires_grad]
        assert slopes, name
        assert all(slope is not None for slope in slopes), name


def test_jax(shown):
    """The first of each family: compiling all takes minutes."""
    for name in {spec.family: spec.name for spec in reversed([*poz.zoo.values()])}.values():
        programs, values = shown[name]
        names = ran(programs["JAX"])
        # float32, of log-probs around 10
        np.testing.assert_allclose(names["losses"], values, rtol=1e-5, atol=1e-5, err_msg=name)
        assert np.isfinite(names["gradient"]).all(), name


@pytest.mark.filterwarnings("ignore")
def test_trl(shown):
    """Each trainer takes the objectives that its name stands beside: what it then misses is a model. None takes the others."""
    for name, (programs, _) in shown.items():
        program = programs["TRL"]
        if "import" not in program:
            for kind, config in TRAINERS.items():
                with pytest.raises(ValueError, match=rf"`{name}`"):
                    getattr(trl, f"{kind}Trainer")(None, args=config(name, **ON_CPU), objective=poz.zoo[name])
            continue
        assert "trainer.train()" in ast.unparse(ast.parse(program))
        program = program.replace(f'("{name}")', f'("{name}", use_cpu=True, bf16=False)')
        with pytest.raises(ValueError, match="model must be a model of transformers"):
            exec(compile(program, "page", "exec"), dict.fromkeys(("model", "dataset", "tokenizer", "rule")))


def test_instances_of_limits(seen):
    """Where a page says that one call is another, both give the same losses."""
    said = 0
    for page, one in seen.items():
        for here, there in re.findall(
            r" \((poz\.[^ ]*(?:\(.*?\))?) is (poz\..*?)\)(?=; or, |\.$)", one["text"], re.MULTILINE
        ):
            ours, theirs = eval(here), eval(there)
            batch, needed = (draw_batch(one, np.random.default_rng(0), 6, 10.0) for one in (ours, theirs))
            batch = type(batch)(*[x if x is not None else y for x, y in zip(batch, needed, strict=True)])
            np.testing.assert_allclose(ours(batch), theirs(batch), rtol=1e-9, atol=1e-12, err_msg=page)
            said += 1
    assert said > 20
