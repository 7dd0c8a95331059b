from witness._maths import exp, logistic
from witness._rows import Row


def formula(chosen, rejected, ratio_weight, snr, timesteps):
    def f(m):
        return snr * m / (exp(snr * m) - 1) if m else 1

    return [w + ratio_weight * logistic(timesteps * (f(w) - f(v))) for w, v in zip(chosen, rejected, strict=True)]


# numbers from the formulas in 40 digits
ROWS = [
    # c m = 0.1 and 0.101: u = 1000 (0.1 / (e^0.1 - 1) - 0.101 / (e^0.101 - 1)), about 0.483
    Row(
        item="MaPO",
        fields={"chosen": [0.2], "rejected": [0.202]},
        params={"ratio_weight": 0.1, "snr": 0.5, "timesteps": 1000.0},
        losses=[0.2480431651176],
        gradients={"chosen": [10.21929411726], "rejected": [-9.216118295847]},
    ),
    # no error at all: f = 1, f' = -c/2; u = 10 (1 - 0.5 / (e^0.5 - 1))
    Row(
        item="MaPO at an error of 0",
        fields={"chosen": [0], "rejected": [0.5]},
        params={"ratio_weight": 0.2, "snr": 1.0, "timesteps": 10.0},
        losses=[0.0192457012783],
        gradients={"chosen": [1.091743550049], "rejected": [-0.07657925168549]},
    ),
    # c m = 1 and 0.5: u = 10 (1 / (e - 1) - 0.5 / (e^0.5 - 1)) = -1.88770334399
    Row(
        item="MaPO at a scaled error of 1",
        fields={"chosen": [2], "rejected": [1]},
        params={"ratio_weight": 0.2, "snr": 0.5, "timesteps": 10.0},
        losses=[2.405739716855],
        gradients={"chosen": [1.294156026655], "rejected": [-0.3624700489138]},
    ),
]
