"""The benchmarks themselves: inputs are as stated, a wrong implementation gets no number, floors are right by hand."""

import argparse
import io
import json
import math

import pytest
import torch

pytest.importorskip("rich")

import poz
from poz.bench import gpu, inputs, jobs, kernel_checks, measure, objective_checks, peers, report, run, shapes
from poz.bench.exact import errors, exact, loss, refusal
from poz.bench.peers import PEERS, Outcome, Peer
from poz.bench.report import Aim, document, draw, write

TINY = shapes.CPU_HEADS["tiny"]
SMALL = shapes.CPU_HEADS["small"]


@pytest.fixture(scope="module")
def given():
    return inputs.make(shapes.Case(TINY, 256, 0.5, "train", "float32"))


@pytest.mark.parametrize(("head", "dtype"), [(SMALL, "float32"), (TINY, "bfloat16")])
def test_logits_are_like_a_language_models(head, dtype):
    made = inputs.make(shapes.Case(head, 1024, 1.0, "train", dtype))
    logits = made.hidden.float() @ made.weight.float().T
    logp = logits.log_softmax(1)
    at_target = logp.gather(1, made.targets[:, None])
    assert logits.std().item() == pytest.approx(6, rel=0.07)
    assert at_target.mean().item() == pytest.approx(-1.5, abs=0.15)
    assert -(logp.exp() * logp).sum(1).mean().item() == pytest.approx(1.5, abs=0.15)
    # Some positions are certain and some open: not the flat distributions of random inputs.
    largest = logp.exp().amax(1)
    assert (largest > 0.9).float().mean() > 0.05
    assert (largest < 0.3).float().mean() > 0.05


def test_the_same_inputs_every_time(given):
    again = inputs.make(given.case)
    other = inputs.make(given.case, seed=1)
    for name in ("hidden", "weight", "targets", "rows", "upstream"):
        assert torch.equal(getattr(given, name), getattr(again, name)), name
    assert not torch.equal(given.hidden, other.hidden)
    jax = inputs.for_jax(given)
    assert torch.equal(torch.from_numpy(jax["hidden"].__array__().copy()), given.hidden)


def test_half_of_the_tokens_have_a_target_and_the_upstream_is_that_of_dpo(given):
    count, length = given.case.sequences
    assert (count, length) == (2, 128)
    valid = given.targets != inputs.IGNORED
    assert valid.sum() == given.case.scored == 128
    assert not valid.view(count, length)[:, : length // 2].any()
    logps = (
        (given.hidden.double() @ given.weight.double().T)
        .log_softmax(1)
        .gather(1, given.targets.clamp(0)[:, None])[:, 0]
    )
    logps = (logps * valid).detach().requires_grad_()
    sums = logps.view(count, length).sum(1)
    value = torch.nn.functional.softplus(-inputs.BETA * (sums[:1] - sums[1:])).mean()
    slope = torch.autograd.grad(value, logps)[0] * valid
    torch.testing.assert_close(given.upstream.double(), slope, rtol=1e-5, atol=0)
    assert loss(given, logps.detach()[given.rows], "dpo") == pytest.approx(value.item(), rel=1e-12)


@pytest.fixture(scope="module")
def rollouts():
    return inputs.make(shapes.Case(TINY, 256, 0.5, "train", "float32", objective="dapo"))


def test_the_loss_of_rollouts_is_that_of_dapo_and_clips_some_tokens(rollouts):
    shape = rollouts.case.sequences
    assert shape == (8, 32)
    hidden, weight = rollouts.hidden.double().requires_grad_(), rollouts.weight.double().requires_grad_()
    logps = (hidden @ weight.T).log_softmax(1).gather(1, rollouts.targets.clamp(0)[:, None])[:, 0]
    fields = {"old_logps": rollouts.old.double().view(shape), "advantages": rollouts.advantages.double()}
    batch = poz.Rollouts(logps.view(shape), mask=(rollouts.targets != inputs.IGNORED).view(shape), **fields)
    value = poz.dapo(batch, epsilon_low=inputs.CLIP[0], epsilon_high=inputs.CLIP[1]).mean()
    slopes = torch.autograd.grad(value, (logps, hidden, weight))
    answer = exact(rollouts, "train")
    assert loss(rollouts, answer.logps, "dapo") == pytest.approx(value.item(), rel=1e-12)
    torch.testing.assert_close((answer.hidden, answer.weight), slopes[1:], rtol=1e-9, atol=1e-14)
    moving = slopes[0][rollouts.rows] != 0
    assert 0.02 < (~moving).float().mean() < 0.3


def test_rows_of_rollouts_are_gated_like_the_others(rollouts, monkeypatch):
    monkeypatch.setattr(measure, "COPIED", {"cpu": 1 << 20})
    pytest.importorskip("liger_kernel.chunked_loss")
    names = ("poz", "naive", "poz dapo", "poz in the loop", "liger dapo", "torch chunked mean")
    right = [peer for peer in PEERS if peer.library == "torch" and peer.name in names]
    wrong = Peer(
        "unclipped", "dapo", lambda given: lambda h, w: inputs.dapo(given._replace(old=given.old - 9), (h @ w.T)[:, 0])
    )
    made = measure.measure(rollouts.case, [*right, wrong], seconds=0)
    assert {row.peer: row.status for row in made.rows} == {
        **dict.fromkeys(("poz", "naive", "poz dapo", "liger dapo"), "measured"),
        "unclipped": "refused",
    }
    assert made.row("poz dapo").errors["loss"] is not None
    assert made.row("poz").errors["rms"] < 1e-5


@pytest.mark.parametrize("mean", [False, True])
def test_exact_is_what_autograd_gives(given, mean):
    hidden, weight = given.hidden.double().requires_grad_(), given.weight.double().requires_grad_()
    logps = (hidden @ weight.T).log_softmax(1).gather(1, given.targets.clamp(0)[:, None])[:, 0][given.rows]
    factor = given.upstream[given.rows].double() if not mean else torch.full_like(logps, -1 / len(logps))
    slopes = torch.autograd.grad(logps @ factor, (hidden, weight))
    answer = exact(given, "train", mean)
    torch.testing.assert_close(answer.logps, logps.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close((answer.hidden, answer.weight), slopes, rtol=1e-9, atol=1e-14)


def _peer(name, change):
    naive = next(peer for peer in PEERS if peer.name == "naive" and peer.library == "torch")

    class Wrong(Peer):
        def prepare(self, given, mode):
            good = naive.prepare(given, mode)
            return lambda: change(given, good())

    return Wrong(name, "tokens", naive.build)


def _lose_a_token(given, out):
    values = out.values.clone()
    values[given.rows[0]] = 0
    return out._replace(values=values)


def _score_the_prompt(given, out):
    return out._replace(values=torch.where(given.targets == inputs.IGNORED, -1.0, out.values))


WRONG = {
    "token lost": _lose_a_token,
    "prompt scored": _score_the_prompt,
    "sign": lambda given, out: out._replace(hidden=-out.hidden),
    "half the head": lambda given, out: out._replace(weight=out.weight / 2),
    "biased": lambda given, out: out._replace(values=out.values * 1.01),
    "not a number": lambda given, out: out._replace(weight=out.weight * math.nan),
    "transposed": lambda given, out: out._replace(weight=out.weight.T),
    "too few": lambda given, out: Outcome(out.values[:-1], out.hidden, out.weight),
}


def test_the_gate_refuses_what_is_wrong_and_passes_what_is_right(given, monkeypatch):
    monkeypatch.setattr(measure, "COPIED", {"cpu": 1 << 20})
    wrong = [_peer(name, change) for name, change in WRONG.items()]

    def broken(inputs):
        raise RuntimeError("no kernel for this")

    wrong.append(Peer("broken", "tokens", broken))
    absent = Peer("absent", "tokens", broken, lambda case, device: __import__("a_module_that_is_not_there"))
    right = [peer for peer in PEERS if peer.library == "torch" and peer.name in ("poz", "poz in the loop", "naive")]
    made = measure.measure(given.case, [*wrong, absent, *right], seconds=0)
    rows = {row.peer: row for row in made.rows}
    for name in WRONG:
        assert rows[name].status == "refused", name
        assert rows[name].reason
        assert not rows[name].seconds, name
        assert rows[name].to_best_peer is None
    assert (rows["broken"].status, rows["broken"].reason) == ("failed", "RuntimeError: no kernel for this")
    assert rows["absent"].status == "missing"
    assert "a_module_that_is_not_there" in rows["absent"].reason
    for peer in right:
        row = rows[peer.name]
        assert row.status == "measured", row.reason
        assert row.seconds["p20"] <= row.seconds["p50"] <= row.seconds["p80"]
        assert row.rounds >= measure.ROUNDS[0] / measure.SELDOM
        assert row.to_floor == pytest.approx(row.p50 / made.floor["seconds"])
        assert row.peak_bytes > measure.gradient_bytes(given.case) / 2
    assert rows["naive"].to_best_peer == 1
    # The naive way holds float32 logits and their log-softmax.
    assert rows["naive"].peak_bytes > 2 * 4 * 256 * TINY.vocabulary


def test_the_slow_sit_out_rounds(monkeypatch):
    """Whoever takes over twice the time of the quickest implementation joins rounds 0, 3 and 6 of 7; products join all."""
    seconds = {"quick": 1.0, "like it": 1.9, "slow": 2.1, "product": 5.0}
    order = []

    def timed(name, device, clock):
        order.append(name)
        return seconds[name]

    monkeypatch.setattr(measure, "timed", timed)
    times, products = measure.interleaved(["quick", "like it", "slow"], ["product"], "cpu", end=0.0)
    assert times == [[1.0] * 7, [1.9] * 7, [2.1] * 3]
    assert products == [[5.0] * 7]
    assert [order[:4].count("slow"), order[4:10].count("slow"), order[10:14].count("slow")] == [1, 0, 1]


def test_the_page_of_benchmarks_shows_what_was_measured(root):
    """Each table of docs/benchmarks.md comes from a run's JSON: `python -m poz.bench.report JSON --markdown TABLES`."""
    page = (root / "docs/benchmarks.md").read_text()
    runs = sorted((root / "bench/results").glob("*.json"))
    assert runs
    for run_file in runs:
        found = json.loads(run_file.read_text())
        assert report.markdown(report.load(found["cases"])) in page, run_file.name
        assert found["versions"]["torch"].split("+")[0] in page


def test_a_coarse_implementation_passes_in_16_bit_only():
    for dtype, refused in (("bfloat16", False), ("float32", True)):
        case = shapes.Case(TINY, 128, 1.0, "forward", dtype)
        made = inputs.make(case)
        coarse = (made.hidden.bfloat16() @ made.weight.bfloat16().T).float().log_softmax(1)
        found = errors(
            (coarse.gather(1, made.targets[:, None])[:, 0], None, None), exact(made, "forward"), made, "tokens"
        )
        assert (refusal(found, dtype) is not None) is refused


def test_shapes_are_well_formed():
    for name, head in {**shapes.HEADS, **shapes.CPU_HEADS}.items():
        assert head.name == name
        assert head.vocabulary > head.hidden > 0
    assert (shapes.CPU_HEADS["reach"].hidden, shapes.CPU_HEADS["reach"].vocabulary) == (768, 32000)
    cases = [*run.quick_cases(), *run.cpu_cases(), *run.gpu_cases()]
    assert len(run.gpu_cases()) == len(set(run.gpu_cases()))
    grid = {(c.head.name, c.tokens, c.valid, c.mode) for c in run.gpu_cases() if c.library == "torch"}
    assert len(grid) == len(shapes.HEADS) * len(shapes.TOKENS) * len(shapes.VALID) * len(shapes.MODES)
    for case in cases:
        count, length = case.sequences
        assert count * length == case.tokens
        assert count % 2 == 0
        assert case.scored == round(case.tokens * case.valid)


@pytest.mark.parametrize(("mode", "products"), [("train", 3), ("frozen", 2), ("forward", 1)])
def test_floor_by_hand(mode, products):
    # 1000 rows of which half count, 10 x 20: each product is 2 * 500 * 20 * 10 = 200,000 operations.
    case = shapes.Case(shapes.Head("hand", 10, 20), 1000, 0.5, mode, "bfloat16")
    assert shapes.flops(case) == products * 200_000
    # At 1e5, 2e5 and 4e5 operations per second they take 2, 1 and 0.5 seconds.
    rates = {"forward": 1e5, "hidden": 2e5, "weight": 4e5}
    seconds = [2.0, 3.0, 3.5][products - 1]
    assert shapes.floor_seconds(case, rates, 1e12) == pytest.approx(seconds)
    # Hidden states 500 * 10 and head 20 * 10 are read, gradients written, 2 bytes each; 500 float32 log-probs written.
    written = {"train": 5200, "frozen": 5000, "forward": 0}[mode]
    assert shapes.traffic(case) == 2 * (5200 + written) + 2000
    assert shapes.floor_seconds(case, rates, 100.0) == pytest.approx((2 * (5200 + written) + 2000) / 100)


def test_quantiles_and_ratios_by_hand():
    assert measure.quantiles(float(x) for x in range(11)) == {"p20": 2.0, "p50": 5.0, "p80": 8.0}
    rows = [
        measure.Row(name, task, "measured", seconds={"p50": seconds})
        for name, task, seconds in (("poz", "tokens", 3.0), ("a", "tokens", 6.0), ("b", "dpo", 4.0), ("c", "mean", 1.0))
    ]
    measure.judge(rows, 2.0, 6 * 10**12)
    assert [row.to_best_peer for row in rows] == [0.75, 1.5, 1.0, 0.25]
    assert [row.to_floor for row in rows] == [1.5, 3.0, 2.0, 0.5]
    assert rows[0].tflops == 2.0


def test_a_budget_drops_and_names_the_last_cases(monkeypatch):
    cases = [shapes.Case(TINY, tokens, 1.0, "forward", "float32") for tokens in (2, 4, 6, 8)]
    now = iter(range(0, 10_000, 60))
    monkeypatch.setattr(run.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(run, "measure", lambda case, *rest: measure.Measured({}, case.name, {}, {}, 0.0, []))
    done, dropped = run.run(cases, minutes=4)
    assert [*(one.name for one in done), *dropped] == [case.name for case in cases]
    assert 0 < len(done) < len(cases)


def test_json_and_picture(tmp_path):
    row = measure.Row("poz", "tokens", "measured", "", dict.fromkeys(("p20", "p50", "p80"), 1.0), 3, 5, {"rms": 1e-6})
    row.to_floor = 1.5
    one = measure.Measured({}, "a case", {"seconds": math.nan}, {}, -1.5, [row])
    data = document([one], ["another"], [Aim("a / b", math.nan, 0.5)], "cpu")
    assert {"versions", "commit", "digest", "seed", "machine", "cases", "dropped", "aims"} <= set(data)
    assert data["aims"][0]["met"] is False
    write(tmp_path / "sub" / "results.json", data)
    assert '"seconds": null' in (tmp_path / "sub" / "results.json").read_text()
    pytest.importorskip("matplotlib")
    draw(tmp_path / "results.png", [one])
    assert (tmp_path / "results.png").read_bytes()[:4] == b"\x89PNG"


def test_what_was_written_is_read_again(tmp_path):
    row = measure.Row("poz", "tokens", "measured", "", dict.fromkeys(("p20", "p50", "p80"), 1e-3), 3, 5, {"rms": 1e-6})
    lost = measure.Row("trl", "tokens", "missing", "not installed")
    one = measure.Measured({}, "a case", {"seconds": 5e-4}, {"hidden": None}, -1.5, [lost, row])
    report.update(tmp_path / "r.json", cases=document([one], [], [], "cpu")["cases"])
    report.update(tmp_path / "r.json", parts={"table": 1})
    known = json.loads((tmp_path / "r.json").read_text())
    assert known["parts"] == {"table": 1}
    assert report.load(known["cases"]) == [one]
    text = report.markdown(report.load(known["cases"]))
    assert "| poz | 1 |" in text
    assert "No number: trl (not installed)." in text
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_every_objective_that_the_kernels_serve_is_checked_alone_and_on_tokens():
    names = kernel_checks.jobs(True)
    for name in poz.zoo:
        served = poz.testing.runs(name, "triton")
        assert ({f"objective {name}", f"packed {name}"} <= set(names)) is served
    assert "more than 2^31 logits" in names


@pytest.mark.parametrize(("change", "passes"), [(0.0, True), (2e-5, False), (math.nan, False)])
def test_a_wrong_kernel_is_out_of_tolerance(change, passes):
    def losses(leaves, implementation):
        margin = leaves[0].float().double().sum().reshape(1)
        return torch.nn.functional.softplus(-margin) * (1 + change * (implementation == "triton"))

    leaves, signs = [torch.full((3,), -0.25, dtype=torch.float64)], torch.ones(3, dtype=torch.float64)
    # The loss is 1.1, so it is off by 2.2e-5; its scale, 1.1 + 1 + twice 0.5 for conditioning, allows 4 * 1.1e-6 * 3.1.
    found = objective_checks._shares(leaves, signs, losses, [], torch.float32)
    assert (found[0] <= 1) is passes


@pytest.mark.parametrize(("rounding", "passes"), [(6e-8, True), (3e-5, False)])
def test_a_gradient_that_cancels_leaves_its_rounding(rounding, passes):
    # Two softmaxes of the same log-probs differ by the rounding of numbers near 1, whatever their difference is.
    def losses(leaves, implementation):
        first = leaves[0].double().sum()
        return ((first - first.detach()) * (1 + rounding * (implementation == "triton") - 1.0)).reshape(1)

    leaves, signs = [torch.full((3,), -0.25, dtype=torch.float64)], torch.ones(3, dtype=torch.float64)
    assert (objective_checks._shares(leaves, signs, losses, [], torch.float32)[1] <= 1) is passes


def test_jobs_report_their_checks_and_what_died():
    good = list(jobs.run(["selected", "no such job"], seconds=120, environment={"TRITON_INTERPRET": "1"}))
    assert [check.passed for check in good] == [True] * 4 + [False]
    assert "KeyError" in good[-1].problem
    dead = list(jobs.run(["a", "b", "c"], seconds=60, workers=2, prefix=["sh", "-c", "echo oh no >&2; exit 7"]))
    assert sorted(check.name for check in dead) == ["a", "b", "c"]
    assert all("exit code 7: oh no" in check.problem for check in dead)
    late = list(jobs.run(["a", "b"], seconds=0))
    assert [check.problem for check in late] == ["not run: out of time"] * 2
    slow = list(jobs.run(["a", "b"], seconds=0.3, prefix=["sh", "-c", "sleep 30"]))
    assert [check.problem for check in slow] == ["ended: out of time"] * 2


def test_findings_of_the_sanitizer_are_a_failed_check():
    said = """echo '{"ready": 1}'; echo '===== Invalid write'; echo '===== at pairs'; echo '{"done": "a"}'; exit 86"""
    assert list(jobs.run(["a"], seconds=60, prefix=["sh", "-c", said])) == [
        jobs.Check("a to a", 1.0, 0.0, "Invalid write | at pairs | at pairs")
    ]


def _console():
    return gpu.Console(file=io.StringIO(), width=120)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(report, "machine", lambda device: {})
    monkeypatch.setattr(gpu, "gpu_cases", lambda: CASES)
    monkeypatch.setattr(gpu.report, "show", lambda *a: None)


CASES = [shapes.Case(TINY, tokens, 1.0, "forward", "bfloat16") for tokens in (2, 4, 6)]


def _result(case, given):
    rows = [
        measure.Row(peer.name, peer.task, "failed", "not here") for peer in given if not peer.name.startswith("poz")
    ]
    head = {**case._asdict(), "head": case.head._asdict()}
    return measure.Measured(head, case.name, {"seconds": 1.0}, {}, -1.5, rows)


def test_a_table_goes_on_without_who_broke_the_context(no_gpu, monkeypatch, tmp_path):
    path, alive = tmp_path / "r.json", [True]
    report.write(path, {})

    def one(case, given, device, seconds, tell):
        if case == CASES[0]:
            raise ValueError("no such case")
        for peer in given:
            tell(f"{case.name}: {peer.name}")
            alive[0] = alive[0] and not (case == CASES[2] and peer.name == "cce")
        return _result(case, given)

    monkeypatch.setattr(gpu, "measure", one)
    monkeypatch.setattr(gpu, "_healthy", lambda: alive[0])
    assert gpu.table(_console(), path, math.inf, 0.1, "") == gpu.BLAMED
    known = json.loads(path.read_text())
    assert known["blamed"] == [["cce", "torch"]]
    assert list(known["lost"]) == [CASES[0].name]
    assert known["dropped"] == [CASES[2].name]
    alive[0] = True  # as in the fresh process that takes over
    assert gpu.table(_console(), path, math.inf, 0.1, "") == 1
    known = json.loads(path.read_text())
    assert [case["name"] for case in known["cases"]] == [CASES[1].name, CASES[2].name]
    assert [row["peer"] for row in known["cases"][0]["rows"]].count("cce") == 1
    assert [row["peer"] for row in known["cases"][1]["rows"]].count("cce") == 0
    assert known["dropped"] == []


def test_parts_that_find_no_time_are_named_and_one_that_breaks_stops_none(no_gpu, monkeypatch, tmp_path):
    now, limits = [0.0], {}
    monkeypatch.setattr(gpu.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(gpu, "sanitized", lambda seconds: 1 / 0)

    def checks(seconds):
        limits["checks"] = seconds
        now[0] += 30
        yield jobs.Check("fine", 0.0, 1.0)
        yield jobs.failed("lost", "it broke")

    def part(name, arguments, end):
        limits[name], now[0] = end - now[0], end
        return ""

    monkeypatch.setattr(gpu, "checks", checks)
    monkeypatch.setattr(gpu, "in_process", part)
    arguments = argparse.Namespace(json=tmp_path / "r.json", minutes=9.0, parts=list(gpu.PARTS))
    console = _console()
    assert gpu.everything(arguments, console) == 1
    parts = json.loads(arguments.json.read_text())["parts"]
    # 540 s, less what is kept for the four later parts (750 s), leaves the first its own share; then as time allows.
    assert limits["checks"] == gpu.PARTS["checks"]
    assert parts["checks"] == {"status": "not all passed", "seconds": 30.0}
    assert parts["sanitize"]["status"].startswith("ZeroDivisionError")
    assert limits["table"] == 540 - 30 - gpu.PARTS["tune"] - gpu.PARTS["end-to-end"] == 210
    assert limits["tune"] == 100
    assert limits["end-to-end"] == 200
    said = console.file.getvalue()
    assert "checks: 1 passed, 1 failed" in said
    assert "lost: it broke" in said
    arguments.minutes = (gpu.LEAST - 1) / 60
    gpu.everything(arguments, _console())
    parts = json.loads(arguments.json.read_text())["parts"]
    assert {part["status"] for part in parts.values()} == {"not begun: out of time"}


def test_a_package_that_breaks_as_it_is_imported_is_missing(given):
    def missing(case, device):
        raise AttributeError("module 'jax' has no attribute 'gone'")

    reason = peers.Peer("odd", "tokens", None, missing).available(given.case, "cpu")
    assert reason == "cannot be imported: AttributeError: module 'jax' has no attribute 'gone'"
