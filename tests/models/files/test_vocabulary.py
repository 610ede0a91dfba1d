"""A tokenizer that knows nothing is refused with the name of the file that is missing; vocabularies are put to use."""

import json

import pytest
from tokenizers import Tokenizer

from encore_ray.errors import ModelError
from encore_ray.models.loading.checkpoint import load_rules
from encore_ray.models.spec.source import ModelSource
from tests.models import tiny

CLASSES = (
    "LlamaTokenizer", "LlamaTokenizerFast", "Qwen2Tokenizer", "Qwen2TokenizerFast", "GPT2Tokenizer", "CohereTokenizer",
    "RobertaTokenizer", "BertTokenizer", "GemmaTokenizer", "DebertaV2Tokenizer", "XLMRobertaTokenizer", "T5Tokenizer",
    "PreTrainedTokenizerFast", "TokenizersBackend", None,
)  # fmt: skip


def named(folder, tokenizer_class):
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text())
    if tokenizer_class is None:
        config.pop("tokenizer_class", None)
    else:
        config["tokenizer_class"] = tokenizer_class
    file.write_text(json.dumps(config))


@pytest.mark.parametrize("tokenizer_class", CLASSES)
def test_a_folder_without_its_vocabulary_is_refused(tmp_path, tokenizer_class):
    folder = tiny.save_classifier(tmp_path, "llama")
    (folder / "tokenizer.json").unlink()
    named(folder, tokenizer_class)
    with pytest.raises(ModelError, match=r"tokenizer") as caught:
        load_rules(ModelSource(folder))
    if tokenizer_class in CLASSES[:12]:
        assert "tokenizer.json" in str(caught.value)


def test_a_folder_without_any_file_of_a_tokenizer_is_refused(tmp_path):
    folder = tiny.save_classifier(tmp_path, "llama")
    for file in folder.glob("token*"):
        file.unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        load_rules(ModelSource(folder))


def test_a_damaged_tokenizer_is_refused(tmp_path):
    folder = tiny.save_classifier(tmp_path, "llama")
    file = folder / "tokenizer.json"
    file.write_text(file.read_text()[:-200])
    with pytest.raises(ModelError, match="tokenizer"):
        load_rules(ModelSource(folder))


@pytest.mark.parametrize("tokenizer_class", ["GPT2Tokenizer", "Qwen2Tokenizer", "Qwen2TokenizerFast"])
def test_a_tokenizer_is_built_from_vocabulary_and_merges(tmp_path, tokenizer_class):
    folder = tiny.save_classifier(tmp_path, "qwen2", tok=tiny.tokenizer(bos=False))
    whole = Tokenizer.from_file(str(folder / "tokenizer.json"))
    whole.model.save(str(folder))
    (folder / "tokenizer.json").unlink()
    named(folder, tokenizer_class)
    model = tiny.load(folder)
    text = "the quick brown fox, please"
    assert model.conversations.tokenizer(text)["input_ids"] == whole.encode(text).ids


def test_tokens_that_a_template_writes_and_the_model_lacks_are_named(tmp_path):
    tok = tiny.tokenizer(chat=True)
    rows = len(tok)
    tok.add_special_tokens({"additional_special_tokens": ["<|late|>"]})
    tok.chat_template = tiny.TEMPLATE + "<|late|>"
    config = tiny.config("llama", vocab_size=rows)
    folder = tiny.save_classifier(tmp_path, config, tok=tok, vocab_size=rows)
    with pytest.raises(ModelError, match=rf"beyond the {rows} embeddings of the model: <\|late\|> \({rows}\)"):
        load_rules(ModelSource(folder))
