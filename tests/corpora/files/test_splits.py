"""Files of different splits are told where they are read together."""

import pytest

from encore_ray.corpora.files.splits import splits_together

ONE = [
    ["/data/train.jsonl"],
    ["/train/a.jsonl", "/train/test.jsonl"],
    ["/data/train/a.parquet", "/data/train/b.parquet"],
    ["/data/testament.jsonl", "/data/train.jsonl"],
    ["/data/train-00000-of-00002.parquet", "/data/train-00001-of-00002.parquet"],
    [],
]
SEVERAL = {
    "test (1 file) and train (2 files)": ["s3://b/train-0.parquet", "s3://b/train-1.parquet", "s3://b/test-0.parquet"],
    "test (1 file) and train (1 file)": ["/d/train/data-00000.arrow", "/d/test/data-00000.arrow"],
    "train (1 file) and validation (1 file)": ["/d/a_TRAIN.jsonl.gz", "/d/a_dev.jsonl.gz"],
    "test (1 file) and train (1 file) and validation (2 files)": [
        *("/d/helpful-base-train.jsonl", "/d/helpful-base-test.jsonl"),
        *("/d/eval.jsonl", "/d/val.jsonl"),
    ],
}


@pytest.mark.parametrize("uris", ONE)
def test_one_split_is_nothing_to_tell(uris):
    assert splits_together(uris) is None


@pytest.mark.parametrize("counted", SEVERAL)
def test_several_are_counted(counted):
    assert f"{counted} are read together" in str(splits_together(SEVERAL[counted]))
