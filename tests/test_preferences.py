"""Preference files: what is read from a line, and which sentence names a malformed one."""

import gzip
import json
import re

import pytest

from poz import preferences

DIALOGUE = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Which is it?\n\nAssistant:"
TEXTS = {"prompt", "chosen", "rejected"}


def written(folder, *lines, name="pairs.jsonl"):
    path = folder / name
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_with_a_prompt(tmp_path):
    pair = {"prompt": "Why? ", "chosen": "Weil – so.", "rejected": ""}
    assert preferences.load(written(tmp_path, pair, "", "  ", {**pair, "source": "x"})) == [pair, pair]


@pytest.mark.parametrize("zipped", [False, True])
def test_whole_dialogues(tmp_path, zipped):
    path = written(tmp_path, {"chosen": DIALOGUE + " This one.", "rejected": DIALOGUE + " That one."})
    if zipped:
        path.write_bytes(gzip.compress(path.read_bytes()))  # recognised by its content
    assert preferences.load(path) == [{"prompt": DIALOGUE, "chosen": " This one.", "rejected": " That one."}]


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        (DIALOGUE + " Yes", DIALOGUE + " Yes, and no", DIALOGUE),
        (DIALOGUE + " Yes", DIALOGUE, DIALOGUE),
        ("The sky is blue", "The sky is black", "The sky is "),
    ],
)
def test_prompt_is_what_both_begin_with(tmp_path, chosen, rejected, prompt):
    (pair,) = preferences.load(written(tmp_path, {"chosen": chosen, "rejected": rejected}))
    assert pair["prompt"] == prompt
    assert (prompt + pair["chosen"], prompt + pair["rejected"]) == (chosen, rejected)


@pytest.mark.parametrize("whole", [False, True])
def test_messages(tmp_path, whole):
    asked = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
    ]
    answers = [[{"role": "assistant", "content": text}] for text in ("Hello.", "what")]
    line = {"chosen": asked + answers[0], "rejected": asked + answers[1]}
    if not whole:
        line = {"prompt": asked, "chosen": answers[0], "rejected": answers[1]}
    prompt = "\n\nSystem: Be kind.\n\nHuman: Hi\n\nAssistant:"
    assert preferences.load(written(tmp_path, line)) == [{"prompt": prompt, "chosen": " Hello.", "rejected": " what"}]


def test_columns_are_kept(tmp_path):
    pair = {"prompt": "a", "chosen": "b", "rejected": "c", "margin": 0.5, "annotator": 3, "opponents_chosen": [-1.0]}
    pair |= {"entropy": 0.5, "chosen_weights": [1.0, 2.0]}
    assert preferences.load(written(tmp_path, pair)) == [pair]


def test_equal_completions_are_left_out_and_counted(tmp_path):
    same, pair = ({"prompt": "a", "chosen": "b", "rejected": other} for other in ("b", "c"))
    with pytest.warns(UserWarning, match="left out 2 lines"):
        assert preferences.load(written(tmp_path, same, pair, same)) == [pair]


GOOD = {"prompt": "a", "chosen": "b", "rejected": "c"}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"chosen": "secret"', "is not JSON: Expecting ',' delimiter at column 20"),
        ('["secret"]', "must be an object with 'chosen' and 'rejected'; got a list"),
        ({"prompt": "secret", "chosen": "secret"}, "has no 'rejected'; it has 'prompt', 'chosen'"),
        ("{}", "has no 'chosen'; it has no keys"),
        ({**GOOD, "chosen": None}, "'chosen' must be a text or a list of messages; got null"),
        ({**GOOD, "rejected": 3}, "'rejected' must be a text or a list of messages; got a number"),
        ({**GOOD, "prompt": {"secret": 1}}, "'prompt' must be a text or a list of messages; got an object"),
        ({**GOOD, "chosen": ["secret"]}, "'chosen' must hold messages with the texts 'role' and 'content'; got a text"),
        ({**GOOD, "chosen": [{"role": "user"}]}, "'chosen' must hold messages with the texts 'role' and 'content'"),
        ('{"chosen": ' + "[" * 100_000, "is nested too deeply"),
        ('{"chosen": "secret", "margin": ' + "9" * 5000 + "}", "holds an integer of more than 64 bits"),
        ({**GOOD, "annotator": 2**63}, "holds an integer of more than 64 bits"),
        ('{"chosen": "secret \\ud800", "rejected": ""}', "'chosen' holds half a surrogate pair"),
        ({**GOOD, "margin": 1.0}, "has 'margin', but the first pair does not"),
    ],
)
def test_a_malformed_line_names_file_and_line_and_no_text(tmp_path, line, sentence):
    path = written(tmp_path, GOOD, "", line)
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        preferences.load(path)
    assert str(caught.value).startswith(f"{path}, line 3")
    assert "secret" not in str(caught.value)


def test_a_column_that_stops(tmp_path):
    with pytest.raises(ValueError, match=r"line 2 has no 'margin', but the first pair does\. Give it in every line"):
        preferences.load(written(tmp_path, {**GOOD, "margin": 1.0}, GOOD))


def test_files_that_hold_nothing_or_are_damaged(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file"):
        preferences.load(tmp_path / "missing.jsonl")
    with pytest.raises(ValueError, match="holds no preference pairs"):
        preferences.load(written(tmp_path, "", ""))
    path = tmp_path / "latin.jsonl"
    path.write_bytes(b'{"chosen": "\xe4", "rejected": ""}')
    with pytest.raises(ValueError, match="line 1 is not UTF-8, at byte 12"):
        preferences.load(path)
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(GOOD).encode() * 50)[:-9])
    with pytest.raises(ValueError, match="is a damaged gzip file"):
        preferences.load(path)


def test_the_shipped_set():
    pairs = preferences.load()
    assert len(pairs) >= 100
    assert all(pair.keys() == TEXTS and all(pair.values()) for pair in pairs)
    assert len({pair["prompt"] for pair in pairs}) == len(pairs)


def test_hh_rlhf(root):
    path = root.parent / "shared" / "data" / "hh_rlhf_harmless_base_test.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not part of the repository and not beside it")
    pairs = preferences.load(path)
    assert len(pairs) == 2312
    assert all(pair["prompt"].startswith("\n\nHuman:") and pair["prompt"].endswith(preferences.TURN) for pair in pairs)
    assert not any("\n\nHuman:" in pair["chosen"] + pair["rejected"] for pair in pairs)
