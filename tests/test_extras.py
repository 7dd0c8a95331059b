"""Where a library is missing, a sentence says which extra of poz brings it; each in a process that cannot import it."""

import subprocess
import sys

import pytest

RUN = [sys.executable, "-P", "-c"]
BLOCKED = "import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"  # None there makes an import fail


def run(blocked, code):
    return subprocess.run([*RUN, BLOCKED.format(blocked=blocked) + code], capture_output=True, text=True, check=False)


def command(*arguments):
    return f"sys.argv[1:] = {list(arguments)!r}; from poz.__main__ import main; main()"


@pytest.mark.parametrize(
    ("blocked", "code", "extra"),
    [
        (("torch",), "import poz.torch", "torch"),
        (("torch",), "import poz.kernels.loss", "torch"),
        (("jax",), "import poz.jax", "jax"),
        (("flax",), "import poz.jax", "jax"),
        (("trl",), "import poz.integrations.trl", "trl"),
        (("torch",), "import poz.integrations.trl", "trl"),
        (("torch",), "import poz.integrations.verl", "torch"),
        (("transformers",), "import poz.integrations.hf", "hf"),
        (("hypothesis",), "import poz.testing.strategies", "test"),
        (("torch",), "import poz.bench", "bench"),
        (("torch",), "from poz.testing import conform; conform('dpo', backend='torch')", "torch"),
        (("triton",), "from poz.testing import conform; conform('dpo', backend='triton')", "triton"),
        (("scipy",), "from poz.rewards.transforms import kappa; kappa(40)", "rewards"),
        (("scipy",), "from poz.rewards.fits import min_norm_weights as w; w([[1, 0], [0, 1], [1, 1]])", "rewards"),
        (
            ("scipy",),
            "from poz.rewards.fits import verbosity_penalties as v; v([[1, 0], [0, 1]], verbosity=0)",
            "rewards",
        ),
        (("scipy",), "from poz.rewards.fits import joint_effects; joint_effects([[1], [2]], [0, 1], l1=1)", "rewards"),
    ],
)
def test_importing_a_part_without_its_library(blocked, code, extra):
    result = run(blocked, code)
    assert result.returncode == 1
    assert f"needs {blocked[0]}: pip install 'poz[{extra}]'." in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("blocked", "arguments", "extra"),
    [
        (("typer",), ["list"], "cli"),
        (("rich",), ["--help"], "cli"),
        (("matplotlib",), ["plot", "dpo", "-o", "{folder}/x.png"], "plot"),
        (("torch",), ["bench", "--quick"], "bench"),
    ],
)
def test_a_command_without_its_library_is_one_sentence(tmp_path, blocked, arguments, extra):
    result = run(blocked, command(*(part.format(folder=tmp_path) for part in arguments)))
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert f"needs {blocked[0]}: pip install 'poz[{extra}]'." in line
    assert result.stdout == ""


def test_the_demo_says_both_that_it_needs():
    result = run(("trl",), command("demo", "--steps", "1"))
    assert result.returncode == 1
    assert "pip install 'poz[trl,plot]'" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_verify_names_and_leaves_out_what_is_missing():
    result = run(("torch", "jax", "triton"), command("verify", "dpo", "--cases", "1"))
    said = " ".join(result.stdout.split())
    assert result.returncode == 0, result.stderr
    assert said.count("It is left out.") == 4
    assert "The backend 'jax' needs jax: pip install 'poz[jax]'." in said
    assert "1 passed, 0 failed" in said
    asked = run(("jax",), command("verify", "dpo", "--backend", "jax"))
    assert asked.returncode == 2
    assert "pip install 'poz[jax]'" in asked.stderr


WITHOUT_TRL = """
import importlib, pkgutil, sys, types
import poz.integrations as integrations
asked = []
class Finder:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "trl":
            asked.append(name)
sys.meta_path.insert(0, Finder)
for name in ("transformers", "accelerate"):  # which take seconds, and ask for trl by themselves
    sys.modules[name] = types.ModuleType(name)
sys.modules["transformers"].Trainer = object
names = [module.name for module in pkgutil.iter_modules(integrations.__path__) if not module.name.startswith("trl")]
for version in (None, "0.24.0", "0.29.1"):
    if version:
        sys.modules["trl"] = types.ModuleType("trl")
        sys.modules["trl"].__version__ = version
    for name in names:
        sys.modules.pop("poz.integrations." + name, None)
        try:
            importlib.import_module("poz.integrations." + name)
        except ImportError as error:  # of its own trainer
            assert name in str(error), (name, error)
            names = [other for other in names if other != name]
    assert not asked, asked
print(*names)
"""


def test_adapters_other_than_trls_import_without_it_and_beside_an_older_one():
    """The older one stands in by its name and version alone: whatever is looked for in it is not there."""
    result = run((), WITHOUT_TRL)
    assert result.returncode == 0, result.stderr
    assert {"hf", "llamafactory", "verl"} <= {*result.stdout.split()}
