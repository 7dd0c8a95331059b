from witness._maths import logistic
from witness._rows import Row


def formula(chosen, rejected, ref_chosen, ref_rejected, beta, timestep=None, first=None, last=None):
    out = []
    for i in range(len(chosen)):
        before = first is not None and timestep[i] < first
        after = last is not None and timestep[i] >= last
        u = -beta / 2 * ((chosen[i] - rejected[i]) - (ref_chosen[i] - ref_rejected[i]))
        out.append(0 if before or after else logistic(u))
    return out


# (0.1 - 0.1004) - 0 = -0.0004, u = 2500 * 0.0004 = 1
ERRORS = {"chosen": [0.1], "rejected": [0.1004], "ref_chosen": [0.1002], "ref_rejected": [0.1002]}
ERRORS_3 = {name: value * 3 for name, value in ERRORS.items()}

# numbers from the formulas in 40 digits
ROWS = [
    Row(
        item="Diffusion-DPO",
        fields=ERRORS,
        params={"beta": 5000.0},
        losses=[0.3132616875182],
        gradients={
            "chosen": [672.353553425],
            "rejected": [-672.353553425],
            "ref_chosen": [-672.353553425],
            "ref_rejected": [672.353553425],
        },
    ),
    # the interval has its first end and not its last
    Row(
        item="Diffusion-DPO in an interval",
        fields={**ERRORS_3, "timestep": [50, 100, 300]},
        params={"beta": 5000.0, "first": 100.0, "last": 300.0},
        losses=[0, 0.3132616875182, 0],
        gradients={"chosen": [0, 672.353553425, 0], "rejected": [0, -672.353553425, 0]},
    ),
]
