"""The rows of a data file, one at a time: JSON lines, a JSON array, CSV, Parquet or Arrow; the texts also gzipped."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from poz._extras import require
from poz.dialogues import kind
from poz.layouts import NUMBERS

_ARCHIVES = {b"BZh": "a bzip2", b"\xfd7zXZ": "an xz", b"\x28\xb5\x2f\xfd": "a Zstandard", b"PK\x03\x04": "a zip"}
_TABLES = (b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")
LIMIT = 64 * 2**20
"""Bytes of one line, or of one entry of an array."""


def rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row with where it stands.

    Args:
        path: A file; what it is shows in its first bytes, CSV in its ending.

    Raises:
        ValueError: A row that cannot be read; the message names file and row and shows none of the text.
        ImportError: Parquet and Arrow need the extra `trl`.
    """
    with path.open("rb") as file:
        begin = file.read(6)
    for mark, archive in _ARCHIVES.items():
        if begin.startswith(mark):
            raise ValueError(f"{path} is {archive} archive. Unpack it, or compress with gzip.")
    if begin.startswith(_TABLES):
        return _tables(path, begin)
    return _texts(path, zipped=begin.startswith(b"\x1f\x8b"))


def _texts(path: Path, zipped: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    where = str(path)
    try:
        with (
            cast(BinaryIO, gzip.open(path) if zipped else path.open("rb")) as file,
            io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text,
        ):
            start = file.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()
            file.seek(0)
            if start.startswith(_TABLES):
                raise ValueError(f"{path} is gzipped Parquet or Arrow. Unpack it.")
            table = path.name.lower().endswith((".csv", ".csv.gz"))
            found = _csv(text, path) if table else _array(text, path) if start[:1] == b"[" else _lines(file, path)
            for where, row in found:
                if not isinstance(row, dict):
                    raise ValueError(f"{where} must be an object with 'chosen' and 'rejected'; got {kind(row)}.")
                yield where, row
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is a damaged gzip file, after {where}: {error}") from error


def _lines(file: BinaryIO, path: Path) -> Iterator[tuple[str, Any]]:
    number = 0
    while line := file.readline(LIMIT + 1):
        number += 1
        where = f"{path}, line {number}"
        if len(line) > LIMIT:
            raise ValueError(f"{where} is longer than {LIMIT >> 20} MiB. Give one object a line.")
        if line.strip():
            yield where, _value(line, where)


def _array(text: io.TextIOWrapper, path: Path) -> Iterator[tuple[str, Any]]:
    """The entries of a JSON array, however they are broken into lines."""
    decode = json.JSONDecoder(parse_int=_integer, object_pairs_hook=_object).raw_decode
    held, place, number, ended = _more(text, path), 0, 0, False
    while True:
        where = f"{path}, entry {number + 1}"
        place = _skipped(held, place, "," if number else "[")
        if held[place : place + 1] == "]":
            if held[place + 1 :].strip() or text.read(LIMIT).strip():
                raise ValueError(f"{path} goes on after its array of {number} entries.")
            return
        try:
            entry, end = decode(held, place)
            after = _skipped(held, end, "")
            if after < len(held):  # or a number might go on
                if held[after] not in ",]":
                    raise json.JSONDecodeError("Expecting ',' delimiter", held, after)
                yield where, entry
                number, place = number + 1, after
                continue
        except json.JSONDecodeError as error:
            cut_off = error.msg.startswith("Unterminated") or error.pos > len(held) - 16
            if ended or not cut_off:
                raise ValueError(f"{where} is not JSON: {error.msg}.") from None
        except (OverflowError, RecursionError, KeyError) as error:
            raise _unreadable(error, where) from None
        if ended:
            raise ValueError(f"{path} ends within its array, after {number} entries.")
        if len(held) - place > LIMIT:
            raise ValueError(f"{where} is longer than {LIMIT >> 20} MiB.")
        held, place = held[place:], 0
        more = _more(text, where, len(held))
        held, ended = held + more, not more


def _more(text: io.TextIOWrapper, where: Any, held: int = 0) -> str:
    try:
        return text.read(min(max(2**16, held), LIMIT + 1 - held))  # as much again: a long entry is begun a few times
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is not UTF-8: {error.reason}.") from None


def _skipped(text: str, place: int, mark: str) -> int:
    """Beyond white space, and one mark in it."""
    found = re.compile(rf"\s*{re.escape(mark)}{'?' * bool(mark)}\s*").match(text, place)
    return found.end() if found else place


def _csv(text: io.TextIOWrapper, path: Path) -> Iterator[tuple[str, Any]]:
    """Cells are texts, but for those of `NUMBERS`."""
    csv.field_size_limit(max(csv.field_size_limit(), LIMIT))
    reader = csv.DictReader(_short(text, path), strict=True)
    number = 0
    try:
        if len(set(reader.fieldnames or [])) < len(reader.fieldnames or []):
            raise ValueError(f"{path} has two columns of one name. Rename one of them.")
        for number, cells in enumerate(reader, 1):
            where = f"{path}, row {number}"
            if None in cells or None in cells.values():
                raise ValueError(f"{where} has not as many cells as there are columns.")
            yield where, {name: _cell(name, cell) for name, cell in cells.items()}
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}, row {number + 1} is not UTF-8: {error.reason}.") from None
    except csv.Error as error:
        raise ValueError(f"{path}, row {number + 1} is not CSV: {error}.") from None


def _short(text: io.TextIOWrapper, path: Path) -> Iterator[str]:
    number = 0
    while line := text.readline(LIMIT + 1):
        number += 1
        if len(line) > LIMIT:
            raise ValueError(f"{path}, line {number} is longer than {LIMIT >> 20} MiB.")
        yield line


def _cell(name: str, cell: str) -> Any:
    if name not in NUMBERS:
        return cell
    try:
        return json.loads(cell.lower() if cell.lower() in ("true", "false") else cell) if cell else None
    except ValueError:
        return cell


def _tables(path: Path, begin: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    require(f"Reading {path.name}", "trl", "pyarrow")
    import pyarrow
    from pyarrow import ipc, parquet

    number = 0
    try:
        with path.open("rb") as file:
            if begin.startswith(b"PAR1"):
                batches = parquet.ParquetFile(file).iter_batches(1024)
            else:
                open_ = ipc.open_file if begin.startswith(b"ARROW1") else ipc.open_stream
                opened = open_(file)
                count = getattr(opened, "num_record_batches", None)
                batches = opened if count is None else map(opened.get_batch, range(count))
            for batch in batches:
                names = batch.schema.names
                if twice := [name for name in names if names.count(name) > 1]:
                    raise ValueError(f"{path} has two columns of one name, {twice[0]!r}. Rename one of them.")
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read, after row {number}: {str(error).splitlines()[0]}") from None


def _value(line: bytes, where: str) -> Any:
    try:
        return json.loads(line, parse_int=_integer, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is not UTF-8, at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        other = " What is no JSON must be CSV whose name ends in .csv, Parquet or Arrow." * (error.pos == 0)
        raise ValueError(f"{where} is not JSON: {error.msg} at column {error.colno}.{other}") from None
    except (OverflowError, RecursionError, KeyError) as error:
        raise _unreadable(error, where) from None


def _unreadable(error: Exception, where: str) -> ValueError:
    if isinstance(error, KeyError):
        return ValueError(f"{where} has {error.args[0]!r} twice. Keep one of them.")
    if isinstance(error, OverflowError):
        return ValueError(f"{where} holds an integer of more than 64 bits. Write a smaller one, or a text.")
    return ValueError(f"{where} is nested too deeply. Give texts, numbers and messages.")


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
        raise OverflowError
    return int(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise KeyError(next(name for name in names if names.count(name) > 1))
    return found
