"""Which units stand, and made from what, is known from the names of their records alone."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from encore_ray.folder.protocol.commits import Commit, DataFile
from encore_ray.folder.protocol.records import Records
from encore_ray.storage import Folder

NAMES = st.from_regex("[0-9a-f]{3}-[0-9]{2}", fullmatch=True)


@given(units=st.dictionaries(NAMES, st.sampled_from(["d1", "d2", "d3"]), max_size=6))
def test_units_are_found_by_what_they_were_made_from_and_by_nothing_else(units: dict[str, str]) -> None:
    records = Records(Folder("memory://records"), "plan")
    records.folder.delete_tree()
    for unit, digest in units.items():
        records.folder.write_atomic(records.path(unit, digest), b"{}")
    found = records.units_by_stamp()
    for digest in ("d1", "d2", "d3"):
        assert sorted(found.get(records.stamp(digest), [])) == sorted(u for u, d in units.items() if d == digest)
        assert Records(records.folder, "other").stamp(digest) not in found


def test_what_cannot_be_read_is_no_record(tmp_path: Path) -> None:
    records = Records(Folder(str(tmp_path)), "plan")
    paths = [records.path(f"u{number}", "d") for number in range(4)]
    for path, data in zip(paths, (b"", b"[]", b'{"schema_version": 1}'), strict=False):
        records.folder.write_atomic(path, data)
    assert [records.read(path) for path in paths] == [None] * 4
    assert records.read_all() == dict.fromkeys(paths[:3])
    records.sweep({paths[1]})
    assert list(records.read_all()) == [paths[1]]


def test_a_record_of_which_anything_was_changed_is_none_and_one_of_before_needs_no_digest(tmp_path: Path) -> None:
    records = Records(Folder(str(tmp_path)), "plan")
    commit = Commit("u", "plan", "d", (DataFile("u", "f", 2, "x"),), None, {"rows": 2}, {"low": 0.1}, 0.5, 1e9)
    records.folder.write_atomic("commits/u.json", commit.to_json())
    assert records.read("commits/u.json") == commit
    content = json.loads(commit.to_json())
    for changed in ({"counts": {"rows": 3}}, {"input_digest": "e"}, {"notes": {}}, {"digest": "0" * 64}, {"more": 1}):
        records.folder.write_json("commits/u.json", content | changed)
        assert records.read("commits/u.json") is None
    del content["digest"]
    records.folder.write_json("commits/u.json", content)
    assert records.read("commits/u.json") == commit
