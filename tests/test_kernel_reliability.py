"""In the kernel reliabilities of 0 and 1 are clamped as the reference clamps them; it interprets in its own process."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import poz

pytest.importorskip("triton")

LOGPS = np.array([-1.0, -2.0, -0.5, -3.0, -1.5, -0.25])
REF = np.array([-1.5, -1.0, -0.75, -2.0, -2.5, -0.5])
OFFSETS = [0, 1, 3, 5, 6]  # two pairs: chosen, then rejected


def check(mode, reliability):
    from poz.kernels.packed import token_loss

    losses = token_loss(
        "lcpo", torch.tensor(LOGPS), torch.tensor(OFFSETS), anchors=[torch.tensor(REF)], base=poz.dpo.bind(beta=8.0),
        mode=mode, reliability=reliability, implementation="triton",
    )  # fmt: skip
    (chosen, rejected), (ref_chosen, ref_rejected) = (
        np.add.reduceat(x, OFFSETS[:-1]).reshape(2, 2) for x in (LOGPS, REF)
    )
    expected, _ = poz.reference.lcpo(
        chosen=chosen, rejected=rejected, ref_chosen=ref_chosen, ref_rejected=ref_rejected,
        base="dpo", base_params={"beta": 8.0}, mode=mode, reliability=reliability,
    )  # fmt: skip
    np.testing.assert_allclose(losses, expected, rtol=1e-5, err_msg=f"{mode} {reliability}")  # float32


def test_an_absorbing_reliability_is_clamped():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


if __name__ == "__main__":
    for mode in ("gibbs", "weighted"):
        for reliability in (0.0, 1.0):
            check(mode, reliability)
