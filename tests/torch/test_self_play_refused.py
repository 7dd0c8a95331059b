"""What `poz.torch.SelfPlay` counts, says or refuses, and what it leaves as it was."""

import pytest
import torch
from self_play_tiny import Tree, cyclic_game, everything, judge_of, law, rows, solve

import poz
from poz.torch import Completions, SelfPlay

P, START = cyclic_game(16)
COMBINED = poz.combine({"onpo": 1.0, "sft": 0.1})


def model():
    return Tree(START)


@pytest.mark.parametrize(
    ("objective", "settings", "said"),
    [
        ("odpo", {}, "`odpo` reads margin, which self-play does not make"),
        (poz.mnpo.bind(target="reward"), {}, "`mnpo` reads margin, which self-play does not make"),
        ("gpo", {}, "`gpo` reads poz.Samples; self-play makes pairs"),
        ("kto", {}, "`kto` reads poz.Unpaired; self-play makes pairs"),
        ("aot", {}, "`aot` is defined over a batch"),
        (COMBINED, {}, "`onpo` has rounds of its own"),
        ("inpo", {"history": 2}, "`inpo` plays one, if any; got 2"),
        ("mnpo", {"history": 0}, "at least 1; `mnpo` plays any number; got 0"),
        (poz.mnpo.bind(weights=(0.5, 0.5)), {"history": 3}, "weights must hold 3 numbers for history=3"),
        (poz.mnpo.bind(weights=(0.0, 1.0)), {"history": 2}, "the newest policy's > 0"),
        ("nash_md", {}, "`nash_md` needs one, such as 0.25"),
        ("nash_md", {"mixture": 1.5}, r"in \[0, 1\]"),
        ("inpo", {"mixture": 0.1}, "no other objective; got 0.1 for `inpo`"),
        ("egpo", {}, "is for `egpo`, which needs it; got none"),
        ("egpo", {"reference": "last"}, "`egpo` has its own reference"),
        ("sppo", {"reference": "last"}, "`sppo` has no reference"),
        ("inpo", {"reference": "newest"}, "reference must be 'start' or 'last'"),
    ],
)
def test_what_a_method_does_not_take_is_refused(objective, settings, said):
    with pytest.raises(ValueError, match=said):
        SelfPlay(model(), objective, everything, judge_of(P), **settings)


def test_an_optimizer_is_for_egpo_and_a_policy_learns_something():
    policy = model()
    with pytest.raises(ValueError, match="got one for `inpo`"):
        SelfPlay(policy, "inpo", everything, judge_of(P), optimizer=torch.optim.SGD(policy.parameters(), 1.0))
    with pytest.raises(TypeError, match="objective must be a name or a poz"):
        SelfPlay(policy, 3, everything, judge_of(P))
    with pytest.raises(ValueError, match="no parameter that requires a gradient"):
        SelfPlay(policy.requires_grad_(False), "inpo", everything, judge_of(P))


def changed(**fields):
    return lambda policy, prompts: everything(policy, prompts)._replace(**fields)


WHOLE = rows(model())
EMPTY = WHOLE.mask.clone()
EMPTY[0, 3] = False
FIRST = WHOLE.mask.clone()
FIRST[0, 0, 0] = True
TILTED = torch.as_tensor(P).clone()
TILTED[1, 0] += 0.01
ABOVE = torch.as_tensor(P).clone()
ABOVE[2, 1] = 1.5


@pytest.mark.parametrize(
    ("generate", "judge", "said"),
    [
        (changed(mask=EMPTY), P, "Completion 3 of prompt 0 has no token"),
        (changed(mask=FIRST), P, "begins with the first token of a row"),
        (changed(mask=WHOLE.mask[..., :2]), P, r"mask of completions must be \(1, 16, 3\); got \(1, 16, 2\)"),
        (changed(mask=WHOLE.mask.long()), P, "mask of completions must be a tensor of torch.bool; got torch.int64"),
        (changed(weights=torch.full((1, 16), 0.1)), P, "weights must be >= 0 and sum to 1"),
        (changed(input_ids=WHOLE.input_ids[:, :1].expand(1, 16, 3)), P, "On each prompt all completions are the same"),
        (lambda policy, prompts: [1, 2], P, "generate must give poz.torch.Completions; got list"),
        (everything, P[:, :1], r"The judge must give \(1, 16, 16\), .* got \(1, 16, 1\)"),
        (everything, ABOVE, r"probabilities in \[0, 1\]; got 1.5"),
        (everything, ABOVE * torch.nan, r"probabilities in \[0, 1\]; got nan"),
        (everything, TILTED, "must sum to 1; they are off by 0.01"),
        (everything, (P > 0.5), "must give a tensor of probabilities; got torch.bool"),
    ],
)
def test_what_cannot_be_compared_is_refused(generate, judge, said):
    play = SelfPlay(model(), "inpo", generate, judge_of(judge))
    with pytest.raises((ValueError, TypeError), match=said):
        next(play.round(None))


def test_a_turn_reports_ties_cuts_and_prompts_with_one_completion():
    twice = Completions(WHOLE.input_ids[:, [0, 0, 5]].repeat(2, 1, 1), WHOLE.mask[:, :3].repeat(2, 1, 1))
    twice.input_ids[1] = twice.input_ids[1, :1]
    cut = torch.tensor([[True, False, False], [False, False, True]])
    wins = torch.full((2, 3, 3), 0.5)
    wins[0, 2, :2], wins[0, :2, 2] = 1.0, 0.0
    wins.diagonal(dim1=1, dim2=2).fill_(torch.nan)  # of a completion and itself, which nobody reads
    play = SelfPlay(model(), "inpo", lambda *_: twice._replace(cut=cut), lambda *_: wins)
    with pytest.warns(UserWarning, match="2 of 6 completions were cut before their end"):
        (turn,) = play.round(None)
    assert turn.report == {"prompts": 2, "completions": 6, "cut": 2, "same": 1, "ties": 8 / 12, "tokens": 2.0}
    torch.testing.assert_close(turn.winrates, torch.tensor([[1 / 3, 1 / 3, 5 / 6], [0.5] * 3]))
    losses = turn.losses(policy := play.model)
    losses[1].backward()  # nothing to learn from one completion, whatever beats it
    assert float(policy.table.grad.abs().max()) < 1e-12


@pytest.mark.parametrize("name", ["inpo", "sppo", "vpo", "nash_md"])
def test_micro_batches_of_prompts_have_the_mean_of_the_batch(name):
    policy = model()
    written = rows(policy)

    def generate(writer, prompts):
        some = torch.tensor([[0, 5, 6], [3, 3, 9], [15, 1, 2], [4, 4, 4]])
        return Completions(written.input_ids[0, some], written.mask[0, some])

    wins = torch.as_tensor(P)[:3, :3].expand(4, 3, 3)
    play = SelfPlay(policy, name, generate, lambda *_: wins, **({"mixture": 0.5} if name == "nash_md" else {}))
    (turn,) = play.round(None)
    halves = [turn.losses(policy, part).mean() for part in (slice(2), [2, 3])]
    torch.testing.assert_close(sum(halves) / 2, turn.losses(policy).mean(), rtol=1e-12, atol=0)


def test_policies_score_without_dropout():
    policy = model()
    plain, policy.forward = policy.forward, lambda **x: torch.nn.functional.dropout(plain(**x), 0.5, policy.training)
    (turn,) = SelfPlay(policy.train(), "sppo", everything, judge_of(P)).round(None)
    torch.testing.assert_close(turn.opponents[0, 0].exp(), torch.as_tensor(START))


def test_of_one_completion_sppo_learns_nothing():
    alone = Completions(WHOLE.input_ids[:, :1], WHOLE.mask[:, :1])
    with pytest.raises(ValueError, match="none is better than another"):
        next(SelfPlay(model(), "sppo", lambda *_: alone, lambda *_: torch.ones(1, 1, 1)).round(None))


def test_output_of_generate_is_shifted_and_ends_with_its_end_token():
    output = torch.tensor([[0, 0, 7, 1, 9, 9], [0, 0, 7, 2, 3, 4], [5, 6, 7, 9, 9, 9], [5, 6, 7, 1, 9, 2]])
    made = Completions.of_generate(output, torch.tensor([[0, 0, 1], [1, 1, 1]]), end=9)
    assert made.input_ids[0, :, :4].tolist() == [[7, 1, 9, 9], [7, 2, 3, 4]]
    assert made.input_ids[1].tolist() == output[2:].tolist()
    assert made.mask.sum(-1).tolist() == [[2, 3], [1, 2]]
    assert made.mask[0, 0].tolist() == [False, True, True, False, False, False]
    assert made.cut.tolist() == [[False, True], [False, False]]
    assert Completions.of_generate(output, torch.ones(2, 3), end=None).mask.sum(-1).tolist() == [[3, 3], [3, 3]]
    for mask in ([1, 1, 0], [0, 1, 0], [1, 0, 1]):
        with pytest.raises(ValueError, match="padded on the left"):
            Completions.of_generate(output, torch.tensor([mask, [1, 1, 1]]), end=9)
    with pytest.raises(ValueError, match="padded on the left"):
        Completions.of_generate(torch.ones(1, 5, dtype=torch.int64), torch.tensor([[0, 1, 0, 1]]), end=9)


OUTPUT = torch.tensor([[7, 1, 9, 9], [7, 1, 3, 9]])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"output": {"sequences": OUTPUT}}, "output must be a tensor; got dict. Of a dictionary give its sequences"),
        ({"output": OUTPUT[:, 3:4]}, r"the prompts' own first.*got \(2, 1\) and \(1, 2\)"),
        ({"output": OUTPUT[:0], "prompt_mask": OUTPUT[:0]}, r"got \(0, 4\) and \(0, 4\)"),
        ({"prompt_mask": OUTPUT[:1, :0]}, r"got \(2, 4\) and \(1, 0\)"),
        ({"end": 9.5}, "end must be the number of a token, several, or None; got 9.5"),
        ({"end": "</s>"}, "end must be the number of a token, several, or None; got '</s>'"),
    ],
)
def test_what_generate_does_not_give_is_refused(change, said):
    given = {"output": OUTPUT, "prompt_mask": torch.ones(1, 2), "end": 9}
    assert Completions.of_generate(**given).mask.sum() == 3
    assert Completions.of_generate(**given | {"end": torch.tensor([9])}).mask.sum() == 3
    with pytest.raises((ValueError, TypeError), match=said):
        Completions.of_generate(**given | change)


def test_a_state_of_another_model_is_refused():
    """Of one number where the model learns several, a copy would fill them all with it."""
    play = SelfPlay(model(), "inpo", everything, judge_of(P))
    state = play.state_dict()
    small = {**state, "reference": {name: x[:1] for name, x in state["reference"].items()}}
    with pytest.raises(ValueError, match=r"has other parameters than the model learns now: \['table'\]"):
        play.load_state_dict(small)
    with pytest.raises(ValueError, match="no state of SelfPlay; it has no base, older, reference"):
        play.load_state_dict({})


def test_a_round_leaves_the_model_as_it_was():
    policy = model().train()
    play = SelfPlay(policy, poz.mnpo.bind(eta=0.5), everything, judge_of(P), history=2)
    for _ in range(2):
        before = policy.table.detach().clone()
        (turn,) = play.round(None)
        assert torch.equal(policy.table, before)
        assert policy.training
        assert policy.table.requires_grad
        solve(policy, lambda turn=turn: turn.losses(policy).mean(), steps=5)
    assert len(turn.opponents) == 2  # the start too, in the second round
    torch.testing.assert_close(turn.opponents[1, 0].exp(), torch.as_tensor(START))


@pytest.mark.parametrize(
    ("name", "settings", "copies"),
    [("sppo", {}, 0), ("selm", {}, 0), ("inpo", {}, 1), ("vpo", {}, 1), ("onpo", {}, 1), ("mnpo", {"history": 3}, 3)],
)
def test_copies_are_as_many_as_the_page_says(name, settings, copies, root):
    policy = model()
    play = SelfPlay(policy, name, everything, judge_of(P), **settings)
    for _ in range(4):
        list(play.round(None))
    assert play.bytes == copies * policy.table.numel() * 8
    page = (root / "docs/selfplay.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if f"| `{name}` |" in line]
    assert row.split("|")[-2].strip() == {"mnpo": "`history`"}.get(name, str(copies))


def test_what_is_frozen_is_not_copied_and_stays_frozen():
    policy = model()
    policy.more = torch.nn.Linear(100, 100).requires_grad_(False)
    play = SelfPlay(policy, "inpo", everything, judge_of(P))
    assert play.bytes == policy.table.numel() * 8
    policy.more.requires_grad_(True)
    with pytest.raises(ValueError, match=r"has other parameters than the model learns now: \['more\.bias'"):
        list(play.round(None))


def test_rounds_go_on_from_a_state():
    def after(restart):
        policy = model()
        game = lambda: SelfPlay(policy, poz.mnpo.bind(eta=0.5), everything, judge_of(P), history=2)  # noqa: E731
        play = game()
        for index in range(3):
            if restart and index == 2:
                state, play = play.state_dict(), game()
                play.load_state_dict(state)
            (turn,) = play.round(None)
            solve(policy, lambda turn=turn: turn.losses(policy).mean(), steps=5)
        return law(policy)

    assert torch.equal(after(restart=True), after(restart=False))
    other = SelfPlay(model(), "sppo", everything, judge_of(P))
    with pytest.raises(ValueError, match="The state is of another method"):
        other.load_state_dict(SelfPlay(model(), "inpo", everything, judge_of(P)).state_dict())


def test_rows_are_several():
    policy = model()
    two = lambda policy, prompts: Completions(*(x.repeat(2, 1, 1) for x in everything(policy, prompts)[:2]))  # noqa: E731
    (turn,) = SelfPlay(policy, "inpo", two, lambda *_: torch.as_tensor(P).expand(2, -1, -1)).round(None)
    assert torch.equal(turn.losses(policy, (1, 0)), turn.losses(policy, [1, 0]))
    with pytest.raises(TypeError, match=r"rows must be the numbers of prompts, or a slice; got 1\. Give \[1\]"):
        turn.losses(policy, 1)


def test_a_policy_gradient_takes_one_step():
    policy = model()
    (turn,) = SelfPlay(policy, "nash_md", everything, judge_of(P), mixture=0.0).round(None)
    optimizer = torch.optim.SGD(policy.parameters(), 0.1)
    for part in ([0], slice(0, 1)):  # micro-batches of one step
        turn.losses(policy, part).mean().backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="`nash_md` is a policy gradient"):
        turn.losses(policy)
