"""What type checkers know: `make types` runs mypy and pyright over it, to which an ignored line without an error is one."""

from typing import assert_type

import numpy as np
import numpy.typing as npt

import poz
from poz.combination import Combination
from poz.testing import conform

Floats = npt.NDArray[np.float64]
some: Floats = np.array([-1.0, -2.0])
pairs = poz.Pairs(chosen=some, rejected=some, ref_chosen=some, ref_rejected=some)
ranked = poz.Ranked(np.array([[-1.0, -2.0]]))

assert_type(pairs, poz.Pairs[Floats])
assert_type(poz.dpo(pairs, beta=0.5), Floats)
assert_type(poz.dpo.bind(beta=0.5).bind(label_smoothing=0.1)(pairs), Floats)
assert_type(poz.Pairs.from_tokens(some, some, chosen_mask=some), poz.Pairs[Floats])
assert_type(pairs.swap(), poz.Pairs[Floats])
poz.dpo.bind(beta=some)
poz.grpo.bind(kl="k3", length=512)
poz.robust_dpo.bind(label_smoothing=0.2)

lengths = np.array([3, 5])
simpo = poz.Pairs(some, some, chosen_len=lengths, rejected_len=lengths, ref_chosen=None)
assert_type(poz.simpo(simpo), Floats)
assert_type(poz.simpo(simpo._replace(label=None)), Floats)

poz.dpo.bind(betta=2)  # type: ignore[call-arg]
poz.dpo.bind(beta="x")  # type: ignore[arg-type]
poz.dpo(ranked)  # type: ignore[arg-type]
poz.dpo(pairs, betta=2)  # type: ignore[call-arg]
poz.grpo.bind(kl="k4")  # type: ignore[arg-type]
poz.Pairs(chosen=some, rejectd=some)  # type: ignore[call-arg]
print(poz.dpo_)  # type: ignore[attr-defined]

assert_type(poz.zoo["dpo"](pairs, beta=0.5), Floats)
assert_type(poz.zoo["sigmoid"].bind(beta=0.5)(pairs), Floats)
name = str(pairs)
assert_type(poz.zoo[name], poz.Objective)
poz.zoo["dpo"].bind(betta=2)  # type: ignore[call-arg]
poz.zoo["plackett_luce"](pairs)  # type: ignore[arg-type]
poz.zoo[name](some)  # type: ignore[arg-type]

mixed = poz.combine({"dpo": 1.0, "sft": 0.2})
assert_type(mixed, Combination)
assert_type(mixed(pairs), Floats)
assert_type(mixed.bind(), Combination)
mixed.bind(beta=0.5)  # type: ignore[call-arg]
mixed(pairs, beta=0.5)  # type: ignore[call-arg]
mixed(some)  # type: ignore[arg-type]

poz.zoo.find(answers=("ties", "noisy-labels"), family="Pairs", reads="label", reference_free=True)
poz.zoo.find(answers="tie")  # type: ignore[arg-type]
poz.zoo.find(answers=["tie"])  # type: ignore[list-item]
poz.zoo.find(family="Pair")  # type: ignore[arg-type]
poz.zoo.find(reads="labels")  # type: ignore[arg-type]

conform("dpo", poz.dpo, backend="jax", dtype="float32", reduction="mean")
conform("dpo", backend="tensorflow")  # type: ignore[arg-type]
conform("dpo", dtype="float16")  # type: ignore[arg-type]
conform("dpo", reduction="max")  # type: ignore[arg-type]
