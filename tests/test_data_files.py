"""Data files: every kind gives the same pairs, and a damaged one is refused by its row in bounded memory."""

import bz2
import csv
import gzip
import json
import lzma
import re
import sys
import tracemalloc

import pytest

from poz import preferences

PAIRS = [
    {
        "prompt": f"Question {i}, “two” lines\nhere?",
        "chosen": f' Yes, "{i}"',
        "rejected": " NA" if i else "",
        "margin": i - 0.5,
    }
    for i in range(300)
]
GOOD = {"prompt": "a", "chosen": "b", "rejected": "c"}


def json_lines(path):
    path.write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))


def windows_lines(path):
    path.write_bytes(
        b"\xef\xbb\xbf" + "".join(json.dumps(pair, ensure_ascii=False) + "\r\n" for pair in PAIRS).encode()
    )


def array(path):
    path.write_text(json.dumps(PAIRS))


def indented_array(path):
    path.write_bytes(b"\xef\xbb\xbf\n" + json.dumps(PAIRS, indent=2, ensure_ascii=False).encode() + b"\n")


def table(path):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, PAIRS[0])
        writer.writeheader()
        writer.writerows(PAIRS)


def parquet(path):
    datasets = pytest.importorskip("datasets", reason="belongs to the extra `trl`")
    datasets.Dataset.from_list(PAIRS).to_parquet(path)


def arrow(path):
    datasets = pytest.importorskip("datasets", reason="belongs to the extra `trl`")
    datasets.Dataset.from_list(PAIRS).save_to_disk(path.parent / "set")
    (path.parent / "set" / "data-00000-of-00001.arrow").rename(path)


def arrow_file(path):
    pyarrow = pytest.importorskip("pyarrow", reason="belongs to the extra `trl`")
    made = pyarrow.Table.from_pylist(PAIRS)
    with pyarrow.ipc.new_file(path, made.schema) as file:
        file.write_table(made, max_chunksize=70)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("write", [json_lines, windows_lines, array, indented_array, table])
def test_texts(tmp_path, write, zipped):
    path = tmp_path / "pairs.csv"
    path = path if write is table else path.with_suffix(".json")
    write(path)
    if zipped:
        path = path.rename(f"{path}.gz")
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert preferences.load(path) == PAIRS


@pytest.mark.parametrize("write", [parquet, arrow, arrow_file])
def test_tables(tmp_path, write):
    write(tmp_path / "pairs")
    assert preferences.load(tmp_path / "pairs") == PAIRS


def test_tables_without_the_extra(tmp_path, monkeypatch):
    path = tmp_path / "pairs.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"Reading pairs\.parquet needs pyarrow: pip install 'poz\[trl\]'"):
        preferences.load(path)


def test_a_table_says_numbers_and_truth(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("prompt,completion,label\n1,2,True\n1,3,false\n")
    assert preferences.load(path) == [{"prompt": "1", "chosen": "2", "rejected": "3"}]
    path.write_text("prompt,completion,label\n1,2,TRUE\n1,3,FALSE\n")  # as spreadsheets write it
    assert preferences.load(path) == [{"prompt": "1", "chosen": "2", "rejected": "3"}]
    path.write_text("prompt,human_ref_A,human_ref_B,history,labels\n,nan,null,True,1\n")
    (pair,) = preferences.load(path)
    assert pair == {"prompt": "\n\nHuman: True\n\nAssistant:", "chosen": " nan", "rejected": " null"}


def test_two_columns_of_one_name_in_a_table(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="belongs to the extra `trl`")
    parquet = pytest.importorskip("pyarrow.parquet", reason="belongs to the extra `trl`")
    made = pyarrow.table({name: [value] for name, value in GOOD.items()}).append_column("chosen", [["other"]])
    parquet.write_table(made, tmp_path / "pairs.parquet")
    with pytest.raises(ValueError, match="two columns of one name, 'chosen'"):
        preferences.load(tmp_path / "pairs.parquet")


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is a folder\. Give one of its files"):
        preferences.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"https://here/pairs\.jsonl is an address\. Download it"):
        preferences.load("https://here/pairs.jsonl")


def text(name, content):
    def write(folder):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder / name

    return write


LINE = json.dumps(GOOD)
DAMAGED = {
    "bzip2": (text("x.jsonl.bz2", bz2.compress(LINE.encode())), "is a bzip2 archive. Unpack it"),
    "xz": (text("x.jsonl.xz", lzma.compress(LINE.encode())), "is an xz archive. Unpack it"),
    "zstandard": (text("x.jsonl.zst", b"\x28\xb5\x2f\xfd"), "is a Zstandard archive. Unpack it"),
    "zip": (text("x.zip", b"PK\x03\x04"), "is a zip archive. Unpack it"),
    "a gzipped table": (
        text("x.parquet.gz", gzip.compress(b"PAR1" + bytes(9))),
        "is gzipped Parquet or Arrow. Unpack it",
    ),
    "tabs": (text("x.tsv", "prompt\tchosen\trejected\na\tb\tsecret\n"), "Expecting value at column 1. What is no JSON"),
    "a prompt that one row lacks": (
        text("x", f'{LINE}\n{{"chosen": "The first", "rejected": "The last"}}'),
        "line 2 has no 'prompt', but the first row does. Give it in every row or in none",
    ),
    "messages after texts": (
        text("x", f"{LINE}\n{json.dumps({**GOOD, 'prompt': [{'role': 'user', 'content': 'a'}]})}"),
        "line 2 holds messages, and the first row texts. Give all as one of them",
    ),
    "a key twice": (text("x", f'{LINE}\n{{"prompt": "secret", "prompt": "a"}}'), "line 2 has 'prompt' twice"),
    "a key of a message twice": (
        text("x", '{"chosen": [{"role": "user", "role": "secret", "content": "b"}], "rejected": "c"}'),
        "line 1 has 'role' twice",
    ),
    "too large a number": (
        text("x", '{"prompt": "a", "chosen": "b", "rejected": "c", "margin": 1e999}'),
        "line 1: 'margin' must hold finite numbers; got inf",
    ),
    "no number": (
        text("x", '{"prompt": "a", "chosen": "b", "rejected": "c", "margin": NaN}'),
        "line 1: 'margin' must hold finite numbers; got nan",
    ),
    "scores that are none": (
        text("x", '{"prompt": "a", "chosen": "b", "rejected": "c", "score_chosen": NaN, "score_rejected": 1}'),
        "line 1: 'margin' must hold finite numbers; got nan",
    ),
    "an array that ends": (text("x", f"[{LINE}, {LINE}"), "ends within its array, after 1 entries"),
    "an entry that ends": (text("x", f"[{LINE}, {LINE[:-3]}"), "entry 2 is not JSON"),
    "an entry that is no JSON": (text("x", f"[{LINE}, {{secret: 1}}, {' ' * 100_000}{LINE}]"), "entry 2 is not JSON"),
    "entries without a comma": (text("x", f"[{LINE} {LINE}]"), "entry 1 is not JSON: Expecting ',' delimiter"),
    "an entry that is none": (text("x", f"[{LINE}, 3]"), "entry 2 must be an object with 'chosen' and 'rejected'"),
    "two arrays": (text("x", f"[{LINE}]\n[{LINE}]"), "goes on after its array of 1 entries"),
    "an entry with a key twice": (text("x", '[{"chosen": "secret", "chosen": "b"}]'), "entry 1 has 'chosen' twice"),
    "an array in Latin-1": (text("x", b'[{"chosen": "\xe4"}]'), "is not UTF-8"),
    "an empty array": (text("x", "[]"), "holds no preference pairs"),
    "a cell too many": (text("x.csv", "prompt,chosen,rejected\na,b,c\na,b,c,secret\n"), "row 2 has not as many cells"),
    "a cell too few": (text("x.csv", "prompt,chosen,rejected\na,b\n"), "row 1 has not as many cells"),
    "two columns of one name": (text("x.csv", "prompt,chosen,chosen\na,b,c\n"), "two columns of one name"),
    "a quote that does not end": (text("x.csv", 'prompt,chosen,rejected\na,b,"secret'), "row 1 is not CSV"),
    "a table in Latin-1": (text("x.csv", b"prompt,chosen,rejected\na,b,\xe4\n"), "is not UTF-8"),
    "Parquet that is none": (text("x", b"PAR1" + bytes(100)), "cannot be read, after row 0"),
    "Arrow that is none": (text("x", b"ARROW1" + bytes(100)), "cannot be read, after row 0"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged(tmp_path, case):
    write, sentence = DAMAGED[case]
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        preferences.load(write(tmp_path))
    assert str(caught.value).startswith(str(tmp_path))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("begin", [f"{LINE}\n", "[", "prompt,chosen,rejected\n"])
def test_one_line_over_64_mib_is_refused_in_bounded_memory(tmp_path, begin):
    path = tmp_path / ("pairs.csv.gz" if begin.startswith("prompt") else "pairs.gz")
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write(begin + '{"chosen": "')
        for _ in range(300):
            file.write("a" * 2**20)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="is longer than 64 MiB"):
            preferences.load(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * 64 * 2**20  # the bytes, their text, and a buffer that doubles
    finally:
        tracemalloc.stop()


def test_an_entry_of_many_pieces(tmp_path):
    long = {**GOOD, "chosen": "b" * 3_000_000}
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps([GOOD, long, GOOD], indent=1))
    assert preferences.load(path) == [GOOD, long, GOOD]
