"""A model's digest covers what decides its scores, wherever it lies; its check sees changes and nothing else."""

import json
import os
import shutil
from pathlib import Path

import pytest

from encore_ray.errors import ModelError
from encore_ray.models.files import cache
from encore_ray.models.loading.identity import ModelIdentity, identify_model
from encore_ray.models.spec.source import ModelSource
from tests.models import tiny


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_own_form(tmp_path_factory.mktemp("own"), "llama", pooling="last")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


def identify(folder: Path) -> ModelIdentity:
    return identify_model(ModelSource(folder))


def test_a_named_template_and_a_shard_in_a_subfolder_are_of_the_model(folder: Path) -> None:
    (folder / "parts").mkdir()
    (folder / "model.safetensors").rename(folder / "parts" / "one.safetensors")
    index = {"metadata": {}, "weight_map": {"a.weight": "parts/one.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rm.jinja").write_text("one")
    before = identify(folder)
    for name in ("parts/one.safetensors", "additional_chat_templates/rm.jinja"):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert identify(folder).digest != before.digest, name
        with pytest.raises(ModelError, match=f"{name} on node .* was changed"):
            before.check()
        (folder / name).write_bytes(data)
    before.check()


@pytest.mark.parametrize(
    "name", ["README.txt", "LICENSE.txt", "eval_results.json", "trainer_state.json", "training_args.bin", "rules.yaml"]
)
def test_what_lies_beside_a_model_is_not_of_it(folder: Path, name: str) -> None:
    before = identify(folder)
    (folder / name).write_text("anything")
    before.check()
    assert identify(folder).digest == before.digest


def test_entries_that_are_no_files_are_not_of_it(folder: Path) -> None:
    before = identify(folder)
    (folder / ".#config.json").symlink_to("someone@host")
    (folder / "gone.json").symlink_to("nowhere")
    (folder / "old.json").mkdir()
    before.check()
    assert identify(folder).digest == before.digest


def test_a_stamp_that_changes_without_the_content_is_no_change(folder: Path) -> None:
    before = identify(folder)
    os.link(folder / "model.safetensors", folder.parent / "backup")
    (folder / "config.json").chmod(0o600)
    (folder / "tokenizer.json").touch()
    before.check()
    before.check()


def test_a_link_that_leads_elsewhere_by_now_is_a_change(folder: Path) -> None:
    other = Path(shutil.copytree(folder, folder.parent / "other"))
    link = folder.parent / "current"
    link.symlink_to(folder)
    before = identify(link)
    before.check()
    link.unlink()
    link.symlink_to(other)
    with pytest.raises(ModelError, match=r"current on node .* was changed"):
        before.check()


def test_a_user_without_a_home_has_a_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(cache.Path, "home", no_home)
    assert len(identify(folder).digest) == 64
