"""What torch's and JAX's log-probs ask of the numbers that logits are multiplied by."""

from __future__ import annotations

SMALLEST, LARGEST = 2.0**-126, 2.0**127


def check_factors(temperature: float, logit_scale: float = 1.0, softcap: float | None = None) -> None:
    """Refuses factors that float32 does not hold: logits would all be 0, or NaN.

    Raises:
        ValueError: One of them, or a quotient of two by which logits are multiplied, is too large or too small.
    """
    cap = 1.0 if softcap is None else softcap
    fit = abs(logit_scale) <= LARGEST and all(SMALLEST <= value <= LARGEST for value in (temperature, cap))
    quotients = ((logit_scale, temperature), (logit_scale, cap), (cap, temperature), (temperature, cap))
    if not fit or any(abs(above) / below > LARGEST for above, below in quotients):
        raise ValueError(
            "Logits would be multiplied by a number that float32 does not hold. `temperature`, `logit_scale` and `softcap`, and "
            f"their quotients, must have sizes from {SMALLEST:.1e} to {LARGEST:.1e}."
        )
