"""Names that have meant several objectives train none."""

import re

import pytest
from typer.testing import CliRunner

import poz
from poz.cli import app

MEANT = {"aot_pair": {"aot", "aot_unpaired"}, "rdpo": {"r_dpo", "gr_dpo", "robust_dpo"}}


def in_trl(name):
    pytest.importorskip("trl")
    from poz.integrations.trl import DPOTrainer

    DPOTrainer(None, objective=name)


def in_trl_kto(name):
    pytest.importorskip("trl")
    from poz.integrations.trl_kto import KTOTrainer

    KTOTrainer(None, objective=name)


def in_trl_reward(name):
    pytest.importorskip("trl")
    from poz.integrations.trl import RewardTrainer

    RewardTrainer(None, objective=name)


def on_the_command_line(name):
    result = CliRunner().invoke(app, ["show", name])
    assert result.exit_code == 2
    raise poz.UnknownObjective(" ".join(result.output.split()))


WAYS = {
    "zoo": (lambda name: poz.zoo[name], poz.UnknownObjective),
    "attribute": (lambda name: getattr(poz, name), AttributeError),
    "hyphens": (lambda name: poz.zoo[name.replace("_", "-")], poz.UnknownObjective),
    "combine": (lambda name: poz.combine({name: 1.0}), poz.UnknownObjective),
    "command line": (on_the_command_line, poz.UnknownObjective),
    "DPOTrainer": (in_trl, poz.UnknownObjective),
    "KTOTrainer": (in_trl_kto, poz.UnknownObjective),
    "RewardTrainer": (in_trl_reward, poz.UnknownObjective),
}


@pytest.mark.parametrize("name", MEANT)
@pytest.mark.parametrize("way", WAYS)
def test_an_ambiguous_name_says_what_it_has_meant(way, name):
    use, error = WAYS[way]
    with pytest.raises(error) as caught:
        use(name)
    assert set(re.findall(r"`(\w+)`", str(caught.value))) - {"poz"} == MEANT[name] <= set(poz.zoo)
    assert str(caught.value).endswith("say which.")
    assert name not in poz.zoo
