"""Atomic writes."""

import json

import pytest

from reprolib.files import write_atomic, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_a_write_that_breaks_half_way_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "text"
    write_atomic(path, "old")

    def full(self, content):
        with self.open("wb") as file:
            file.write(content[:1])
        raise OSError("no space left")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="no space"):
        write_atomic(path, "new")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["text"]


def test_folders_are_made_and_bytes_kept(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "c", b"\x00\xff")
    assert (tmp_path / "a" / "b" / "c").read_bytes() == b"\x00\xff"
