"""Times, memory and ceilings of one case: every implementation in turn, round after round, in one run."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from poz.bench import inputs as generator
from poz.bench.exact import Errors, Exact, errors, exact, refusal, rounding
from poz.bench.peers import Peer, Run
from poz.bench.shapes import BYTES, MATMULS, Case, floor_seconds, flops, traffic

CHUNK = {"cpu": 1024, "cuda": 4096}
"""Rows of the matrix products whose rate is the ceiling: what an implementation multiplies at a time."""
COPIED = {"cpu": 1 << 27, "cuda": 1 << 31}
"""Bytes of the copy whose rate is the other ceiling."""
ROUNDS = (7, 60)
"""Fewest and most rounds."""
SELDOM = 3
"""An implementation that takes over twice the time of the quickest joins one round in so many, so that there can be more."""


@dataclass
class Row:
    """One implementation on one case.

    Attributes:
        peer: Its name.
        task: What it computes, see `Peer`.
        status: "measured", "missing" (not here), "refused" (by the gate) or "failed" (raised).
        reason: Why, where it was not measured.
        seconds: p20, p50 and p80.
        rounds: Number of times.
        peak_bytes: Most memory in use during a call beyond what was there before it, results included.
        errors: Against float64.
        to_best_peer: Median over that of the fastest implementation that is not ours and can serve a preference loss.
        to_floor: Median over the floor.
        tflops: Operations that the definition asks for over the median, 1e12 per second.
    """

    peer: str
    task: str
    status: str
    reason: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    rounds: int = 0
    peak_bytes: int | None = None
    errors: dict[str, float | None] = field(default_factory=dict)
    to_best_peer: float | None = None
    to_floor: float | None = None
    tflops: float | None = None

    @property
    def p50(self) -> float:
        """Median, seconds."""
        return self.seconds["p50"]


@dataclass
class Measured:
    """A case and all its rows.

    Attributes:
        case: What was measured.
        name: The case's name.
        floor: Seconds, the rates it was made of, and what it counted.
        rounding: Relative error of rounding the exact gradients, by name.
        logps: Mean log-prob of the targets, nats: how peaked the inputs are.
        rows: One for each implementation.
    """

    case: dict[str, Any]
    name: str
    floor: dict[str, Any]
    rounding: dict[str, float | None]
    logps: float
    rows: list[Row]

    def row(self, peer: str) -> Row | None:
        """The row of an implementation, if it has numbers."""
        return next((row for row in self.rows if row.peer == peer and row.status == "measured"), None)


def measure(
    case: Case,
    peers: Sequence[Peer],
    device: str = "cpu",
    seconds: float = 20.0,
    until: float | None = None,
    clock: str = "wall",
    tell: Callable[[str], None] = lambda text: None,
) -> Measured:
    """Gate and time all peers that have to do with the case.

    Args:
        case: What to measure.
        peers: Implementations; those of the other library or objective are left out.
        device: "cpu" or "cuda".
        seconds: To spend on timing; at least `ROUNDS[0]` rounds are made whatever they take.
        until: Of `time.monotonic`, when all of the case should be done; takes the place of `seconds`.
        clock: "wall", or "cpu": processor time of all threads, for a CPU that others use too.
        tell: Is given a line of progress.
    """
    tell(f"{case.name}: inputs")
    given = generator.make(case, device)
    answers: dict[bool, Exact] = {}
    rows, runs = [], {}
    for peer in peers:
        if not peer.serves(case):
            continue
        tell(f"{case.name}: {peer.name}")
        mean = peer.task == "mean"
        if mean not in answers and not peer.available(case, device):
            answers[mean] = exact(given, case.mode, mean)
        row, run = _gate(peer, given, device, answers.get(mean))
        rows.append(row)
        if run is not None:
            runs[len(rows) - 1] = run
    first = next(iter(answers.values()), None)
    told = {} if first is None else rounding(first, given.hidden.dtype)
    logp = float("nan") if first is None else first.logps.mean().item()
    del answers, first
    tell(f"{case.name}: timing {len(runs)} implementations")
    products = ceilings(case, device)
    end = time.monotonic() + seconds if until is None else until
    times, product_times = interleaved(list(runs.values()), list(products.values()), device, end, clock)
    for index, taken in zip(runs, times, strict=True):
        rows[index].seconds, rows[index].rounds = quantiles(taken), len(taken)
    floor = _floor(case, device, dict(zip(products, product_times, strict=True)))
    judge(rows, floor["seconds"], flops(case))
    return Measured(asdict_case(case), case.name, floor, told, logp, rows)


def asdict_case(case: Case) -> dict[str, Any]:
    """A case as plain data."""
    return {**case._asdict(), "head": case.head._asdict(), "scored": case.scored}


def _gate(peer: Peer, given: generator.Inputs, device: str, answer: Exact | None) -> tuple[Row, Run | None]:
    """Run once, compare with float64, measure memory; a row that is wrong, or raises, gives no function to time."""
    case = given.case
    reason = peer.available(case, device)
    if reason or answer is None:
        return Row(peer.name, peer.task, "missing", reason or ""), None
    try:
        run = peer.prepare(given, case.mode)
        if device == "cuda" or peer.name == "naive compiled":
            run()  # compiles, tunes, and sets aside what libraries keep, which is not the call's own memory
        peak, result = (_jax_peak(peer, given), run()) if peer.library == "jax" else peak_bytes(run, device)
        found = errors(result, answer, given, peer.task)
        del result
        refused = refusal(found, case.dtype, case.objective)
        if refused:
            return Row(peer.name, peer.task, "refused", refused, errors=_plain(found)), None
    except Exception as error:  # a peer that breaks is a result
        kind = type(error).__name__
        reason = (
            "out of memory" if "OutOfMemory" in kind else f"{kind}: {str(error).strip().partition(chr(10))[0][:160]}"
        )
        if device == "cuda":
            torch.cuda.empty_cache()
        return Row(peer.name, peer.task, "failed", reason), None
    return Row(peer.name, peer.task, "measured", errors=_plain(found), peak_bytes=peak), run


def _plain(found: Errors) -> dict[str, float | None]:
    return found._asdict()


def peak_bytes(run: Callable[[], Any], device: str) -> tuple[int, Any]:
    """Most memory in use during a call beyond what was there before, torch's own account of it; and the call's result."""
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        kept = run()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated() - before), kept
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, acc_events=True
    ) as record:
        kept = run()
    alive = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            alive += event.nbytes()
            peak = max(peak, alive)
    return peak, kept


def _jax_peak(peer: Peer, given: generator.Inputs) -> int:
    """What XLA's plan of the compiled function sets aside: temporaries and results."""
    plan = peer.compiled(given, given.case.mode)[0].memory_analysis()
    return int(plan.temp_size_in_bytes + plan.output_size_in_bytes)


def ceilings(case: Case, device: str) -> dict[str, Callable[[], Any]]:
    """The matrix products of a mode on one chunk of rows, with float32 sums, and a copy."""
    dtype, head = getattr(torch, case.dtype), case.head
    rows = min(max(case.scored, 1), CHUNK[device])
    mixed = device == "cuda" and dtype in (torch.bfloat16, torch.float16)
    hidden, weight, logits = (
        torch.randn(shape, device=device, dtype=dtype)
        for shape in ((rows, head.hidden), (head.vocabulary, head.hidden), (rows, head.vocabulary))
    )
    out = torch.empty_like(logits, dtype=torch.float32) if mixed else torch.empty_like(logits)
    options: dict[str, Any] = {"out_dtype": torch.float32} if mixed else {}
    factors = {"forward": (hidden, weight.t()), "hidden": (logits, weight), "weight": (logits.t(), hidden)}
    outputs = {"forward": out} | {
        name: torch.empty(factors[name][0].shape[0], head.hidden, device=device, dtype=out.dtype)
        for name in MATMULS[case.mode][1:]
    }

    def product(name: str) -> Callable[[], Any]:
        left, right = factors[name]
        return lambda: torch.mm(left, right, out=outputs[name], **options)

    source = torch.empty(COPIED[device] // 2, dtype=torch.uint8, device=device)
    goal = torch.empty_like(source)
    return {name: product(name) for name in MATMULS[case.mode]} | {"copy": lambda: goal.copy_(source)}


def _floor(case: Case, device: str, times: dict[str, list[float]]) -> dict[str, Any]:
    each = 2 * min(max(case.scored, 1), CHUNK[device]) * case.head.vocabulary * case.head.hidden
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    rates = {name: each / medians[name] for name in MATMULS[case.mode]}
    copy_rate = COPIED[device] / medians["copy"]
    return {
        "seconds": floor_seconds(case, rates, copy_rate),
        "tflops": {name: rate / 1e12 for name, rate in rates.items()},
        "copy_gb_per_s": copy_rate / 1e9,
        "flops": flops(case),
        "bytes": traffic(case),
    }


def interleaved(
    runs: Sequence[Callable[[], Any]], products: Sequence[Callable[[], Any]], device: str, end: float, clock: str = "wall"
) -> tuple[list[list[float]], list[list[float]]]:  # fmt: skip
    """Seconds of each call, round after round, in an order drawn anew: what ran before has a say in the time.

    Args:
        runs: Implementations. One that took over twice the time of the quickest in the first round joins only one round in
            `SELDOM` from then on. On a GPU all are called twice before a time counts, on a CPU the gate's call is enough.
        products: What takes part in every round, however long it takes.
        device: "cpu" or "cuda".
        end: Of `time.monotonic`: no round begins that would probably end after it, once there are enough.
        clock: "wall" or "cpu".

    Returns:
        The seconds of `runs` and of `products`.
    """
    each = [*runs, *products]
    times: list[list[float]] = [[] for _ in each]
    for run in [*each, *each] if device == "cuda" else []:
        run()
    draw = random.Random(0)
    everyone = list(range(len(each)))
    quick = everyone
    for turn in range(ROUNDS[1]):
        begin = time.monotonic()
        joining = quick if turn % SELDOM else everyone
        for which in draw.sample(joining, len(joining)):
            times[which].append(timed(each[which], device, clock))
        if turn == 0:
            least = min((taken[0] for taken in times[: len(runs)]), default=0.0)
            quick = [which for which in everyone if which >= len(runs) or times[which][0] <= 2 * least]
        if turn + 1 >= ROUNDS[0] and 2 * time.monotonic() - begin > end:
            break
    return times[: len(runs)], times[len(runs) :]


def timed(run: Callable[[], Any], device: str, clock: str = "wall") -> float:
    """Seconds of one call, from the first kernel to the last on a GPU."""
    if device != "cuda":
        now = time.perf_counter if clock == "wall" else time.process_time
        begin = now()
        kept = run()
        taken = now() - begin
        del kept
        return taken
    event: Any = torch.cuda.Event
    start, stop = event(enable_timing=True), event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    kept = run()
    stop.record()
    torch.cuda.synchronize()
    del kept
    return float(start.elapsed_time(stop)) / 1e3


def quantiles(taken: Iterable[float]) -> dict[str, float]:
    """The 20th, 50th and 80th percentile."""
    ordered = sorted(taken)
    if len(ordered) == 1:
        return dict.fromkeys(("p20", "p50", "p80"), ordered[0])
    cuts = statistics.quantiles(ordered, n=10, method="inclusive")
    return {"p20": cuts[1], "p50": cuts[4], "p80": cuts[7]}


def judge(rows: Sequence[Row], floor: float, operations: int) -> None:
    """Fill in the ratios."""
    timed_rows = [row for row in rows if row.status == "measured" and row.seconds]
    rivals = [row.p50 for row in timed_rows if not row.peer.startswith("poz") and row.task != "mean"]
    for row in timed_rows:
        row.to_best_peer = row.p50 / min(rivals) if rivals else None
        row.to_floor = row.p50 / floor
        row.tflops = operations / row.p50 / 1e12


def plain(measured: Measured) -> dict[str, Any]:
    """A measured case as plain data."""
    return asdict(measured)


def gradient_bytes(case: Case) -> int:
    """Bytes of the results that any implementation must return: log-probs and gradients."""
    rows, head = case.tokens * case.head.hidden, case.head.vocabulary * case.head.hidden
    size = {"train": rows + head, "frozen": rows, "forward": 0}[case.mode]
    return BYTES[case.dtype] * size + 4 * case.tokens
