"""Several models as one: found, identified, and their rules shared out."""

import json
import shutil

import numpy as np
import pytest

from encore_ray.errors import ModelError
from encore_ray.models.forward.scorer import PairScorer
from encore_ray.models.loading.checkpoint import load_members, load_model, load_rules
from encore_ray.models.loading.fetch import fetch_members
from encore_ray.models.loading.identity import identify_model
from encore_ray.models.loading.saving import save_ensemble
from encore_ray.models.spec.source import ModelSource
from encore_ray.rules import Rule, RuleSet, Scale
from tests.models import tiny, tiny_families

RULES = RuleSet(Rule(name, "", "better", Scale(-99.0, 99.0)) for name in ("helpful", "harmful", "a", "b", "c"))
TURNS = [{"role": "user", "content": "How do I store bleach?"}]
ANSWER = [{"role": "assistant", "content": "High up and locked."}]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Two single-head models and one with three heads; each with its own tokenizer and template."""
    root = tmp_path_factory.mktemp("shelf")
    tiny_families.save_beaver(root / "reward")
    tiny_families.save_beaver(root / "cost", score_type="cost", do_normalize=True, normaliser=True)
    tiny.save_classifier(root / "three", "qwen2", tok=tiny.tokenizer(chat=True, bos=False))
    save_ensemble(root / "all", members=[root / "reward", root / "cost", root / "three"], rules=RULES)
    return root


@pytest.fixture
def copy(shelf, tmp_path):
    return shutil.copytree(shelf, tmp_path / "copy")


def edit_form(model, members):
    (model / "encore.json").write_text(json.dumps({"schema_version": 1, "members": members}))


def score(model):
    pairs = model.conversations.tokenize_pairs([TURNS], chosen=[ANSWER], rejected=[None])
    return PairScorer(model).score(pairs)[0, 0]


def test_the_scores_side_by_side_are_those_of_each_model_alone(shelf):
    members = load_members(shelf / "all", device="cpu")
    assert [member.rules.names for member in members] == [["helpful"], ["harmful"], ["a", "b", "c"]]
    alone = [
        tiny.load(shelf / name, rules=tiny_families.rules(num_rules))
        for name, num_rules in (("reward", 1), ("cost", 1), ("three", 3))
    ]
    together = np.concatenate([score(member) for member in members])
    np.testing.assert_array_equal(together, np.concatenate([score(model) for model in alone]))
    assert len(set(together)) == 5


def test_every_member_keeps_its_template_and_tokenizer(shelf):
    reward, _, three = load_members(shelf / "all", device="cpu")
    assert reward.conversations.tokenizer.chat_template.startswith("{{ 'BEGINNING OF CONVERSATION: '")
    assert three.conversations.tokenizer.chat_template == tiny.TEMPLATE
    assert (reward.conversations.bos_id, three.conversations.bos_id) == (0, None)


def test_a_model_without_members_is_its_only_one(shelf):
    (model,) = load_members(shelf / "three", device="cpu")
    assert model.rules == tiny.RULES == load_rules(ModelSource(shelf / "three"))
    assert fetch_members(ModelSource(shelf / "three")) == [shelf / "three"]


def test_the_rules_of_all_members_follow_each_other(shelf):
    assert load_rules(ModelSource(shelf / "all")) == RULES
    renamed = RuleSet(Rule(f"mine_{k}", "", "worse", Scale(0, 1)) for k in range(5))
    assert load_rules(ModelSource(shelf / "all"), rules=renamed) == renamed


def test_rules_with_levels_are_shared_out_by_their_outputs(shelf):
    levels = Rule("levels", "", "better", Scale(0.0, 2.0, (0.0, 1.0, 2.0)), link="expected_level")
    rules = RuleSet([RULES[0], RULES[1], levels])
    members = load_members(shelf / "all", device="cpu", rules=rules)
    assert [member.rules.names for member in members] == [["helpful"], ["harmful"], ["levels"]]
    with pytest.raises(ModelError, match=r"has 1 \+ 1 \+ 3 head outputs, but its 3 rules need 5"):
        load_rules(ModelSource(shelf / "all"), rules=RuleSet([levels, RULES[0], RULES[1]]))


@pytest.mark.parametrize("num_rules", [1, 4, 6])
def test_too_few_or_too_many_rules_are_refused_with_all_figures(shelf, num_rules):
    message = rf"has 1 \+ 1 \+ 3 head outputs, but its {num_rules} rules need {num_rules}"
    with pytest.raises(ModelError, match=message):
        load_rules(ModelSource(shelf / "all"), rules=tiny_families.rules(num_rules))


def test_missing_rules_are_answered_with_the_heads_of_all_members(copy):
    (copy / "all" / "rules.yaml").unlink()
    with pytest.raises(ModelError, match="its 5 heads mean is not known") as caught:
        load_rules(ModelSource(copy / "all"))
    skeleton = str(caught.value).split("\n\n", 1)[1].replace("higher_is: ?", "higher_is: better")
    rules = RuleSet.from_yaml(skeleton.replace("lo: ?, hi: ?", "lo: 0, hi: 1"))
    assert rules.names == ["reward", "cost", "LABEL_0", "LABEL_1", "LABEL_2"]
    assert [rule.higher_is for rule in rules][:2] == ["better", "worse"]


def test_members_are_found_from_the_folder_not_from_where_the_job_runs(copy, tmp_path, monkeypatch):
    assert json.loads((copy / "all" / "encore.json").read_text())["members"] == ["../reward", "../cost", "../three"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner").mkdir()
    assert fetch_members(ModelSource("copy/all")) == [copy / "reward", copy / "cost", copy / "three"]


def test_the_identity_is_that_of_all_members_wherever_they_lie(shelf, copy):
    before = identify_model(ModelSource(shelf / "all")).digest
    assert identify_model(ModelSource(copy / "all")).digest == before
    shutil.move(copy / "cost", copy / "elsewhere")
    edit_form(copy / "all", ["../reward", "../elsewhere", "../three"])
    assert identify_model(ModelSource(copy / "all")).digest == before
    edit_form(copy / "all", ["../elsewhere", "../reward", "../three"])
    assert identify_model(ModelSource(copy / "all")).digest != before
    edit_form(copy / "all", ["../reward", "../elsewhere", "../three"])
    data = bytearray((copy / "elsewhere" / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "elsewhere" / "model.safetensors").write_bytes(data)
    assert identify_model(ModelSource(copy / "all")).digest != before


def test_loading_several_models_as_a_single_one_is_refused(shelf):
    with pytest.raises(ModelError, match=r"has 3 members, which are no single model\."):
        load_model(shelf / "all", device="cpu")


def test_a_member_with_members_is_refused(copy):
    (copy / "more").mkdir()
    edit_form(copy / "more", ["../all"])
    with pytest.raises(ModelError, match=r"has members itself\. Name those here instead"):
        load_rules(ModelSource(copy / "more"))


@pytest.mark.parametrize("member", ["../nowhere", "/no/such/model", "a/b/c"])
def test_a_member_that_is_not_there_is_named(copy, member):
    edit_form(copy / "all", [member])
    with pytest.raises(ModelError, match=f"its member {member} is neither a folder .* nor a hub id"):
        load_rules(ModelSource(copy / "all"))


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"schema_version": 1, "members": []}, r"members must be a list of folders or hub ids; found \[\]"),
        ({"schema_version": 1, "members": ["a", 1]}, "members must be a list of folders or hub ids"),
        ({"schema_version": 2, "members": ["../reward"]}, "schema_version must be one of 1; found 2"),
        ({"members": ["../reward"]}, "expected the keys schema_version, pooling, template, or schema_version, members"),
    ],
)
def test_a_wrong_list_of_members_is_refused(copy, form, message):
    (copy / "all" / "encore.json").write_text(json.dumps(form))
    with pytest.raises(ModelError, match=message):
        load_rules(ModelSource(copy / "all"))
