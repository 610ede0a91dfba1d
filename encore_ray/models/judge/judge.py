"""LLM-as-a-judge in one forward pass: K questions about every response, each rated by its answers' probabilities.

The questions about one response are branches behind the same tokens, and so are the two responses behind their prompt:
the forward passes are those of a scorer of N * K pairs, which computes every shared prefix once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from encore_ray.errors import ModelError
from encore_ray.models.families.model_folder import Head, ModelFolder, Opened
from encore_ray.models.forward.heads import PooledHeads
from encore_ray.models.forward.multihead import MultiHeadModel
from encore_ray.models.judge.answers import AnswerHeads, load_causal
from encore_ray.models.judge.questions import Ask, answer_form, ask_rating, on_scale
from encore_ray.models.loading.checkpoint import load_opened
from encore_ray.models.loading.ensemble_scorer import EnsembleScorer, PreparedPairs, ScoredPairs
from encore_ray.models.loading.fetch import fetch_only_member
from encore_ray.models.spec.conversation import Message
from encore_ray.models.spec.forward import Strategy
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from encore_ray.models.text.conversations import ConversationTokenizer, TokenizedPairs
from encore_ray.rules import Rule, RuleSet, Scale

# Conversations that are tokenised at a time, under all rules: a tokenizer takes a hundred bytes and more a token.
_AT_A_TIME = 32


class Questions:
    """The token ids of all questions about pairs, as one judge reads them.

    Args:
        rules: K rules.
        conversations: of the judge.
        ask: puts the question of a rule to a conversation.

    Raises:
        ModelError: the question of a rule takes more than half of the judge's tokens.
    """

    def __init__(self, rules: RuleSet, conversations: ConversationTokenizer, *, ask: Ask):
        self.rules, self._conversations, self._ask = rules, conversations, ask
        least: list[Message] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "a"}]
        for rule in rules:
            (ids,) = conversations.encode([ask(least, rule)], [f"with rule {rule.name}"], to_answer=True)
            if len(ids) > conversations.max_length // 2:
                raise ModelError(
                    f"Rule {rule.name} makes a question of {len(ids)} tokens, of {conversations.max_length} that the "
                    "judge reads at most: expected at most half of them. Shorten the rule or raise max_tokens."
                )

    def tokenize_pairs(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        chosen: Sequence[Sequence[Message]],
        rejected: Sequence[Sequence[Message] | None],
        pair_ids: Sequence[str],
    ) -> TokenizedPairs:
        """N pairs under K questions each.

        A conversation that is too long with its longest question loses the same tokens of its beginning under all
        of them: every rule judges the same text, and its end and the question stay whole.

        Args:
            prompts, chosen, rejected, pair_ids: as ConversationTokenizer.tokenize_pairs takes them.

        Returns:
            N * K pairs, all questions about a pair one after the other, in the order of the rules.

        Raises:
            DataError: the chat template refuses a conversation with its question; the pair is named.
        """
        sides = [[*prompt, *answer] for prompt, answer in zip(prompts, chosen, strict=True)]
        present = [i for i, answer in enumerate(rejected) if answer is not None]
        sides += [[*prompts[i], *(rejected[i] or ())] for i in present]
        names = [*pair_ids, *(pair_ids[i] for i in present)]
        num_rules = len(self.rules)
        ids: list[list[np.ndarray]] = []
        altered: set[int] = set()
        for start in range(0, len(sides), _AT_A_TIME):
            few = slice(start, start + _AT_A_TIME)
            asked = [self._ask(side, rule) for side in sides[few] for rule in self.rules]
            names_asked = np.repeat(names[few], num_rules).tolist()
            changed: set[int] = set()
            encoded = self._conversations.encode(asked, names_asked, to_answer=True, altered=changed)
            altered |= {start + place // num_rules for place in changed}
            rows = [np.asarray(row, dtype=np.int32) for row in encoded]
            ids += [rows[first : first + num_rules] for first in range(0, len(rows), num_rules)]
        tokens = [[len(row) for row in of_side] for of_side in ids]
        excess = [max(max(lengths) - self._conversations.max_length, 0) for lengths in tokens]
        cut = [[self._conversations.cut(row, num) for row in of_side] for of_side, num in zip(ids, excess, strict=True)]
        num_pairs = len(prompts)
        place = {i: num_pairs + number for number, i in enumerate(present)}
        nothing: list[None] = [None] * num_rules
        is_altered = [i in altered or place.get(i) in altered for i in range(num_pairs)]
        is_equal = [
            i in place and chosen[i] != rejected[i] and np.array_equal(cut[i][0], cut[place[i]][0])
            for i in range(num_pairs)
        ]
        return TokenizedPairs(
            chosen_ids=[row for of_side in cut[:num_pairs] for row in of_side],
            rejected_ids=[row for i in range(num_pairs) for row in (cut[place[i]] if i in place else nothing)],
            chosen_tokens=_flat(tokens[:num_pairs]),
            rejected_tokens=_flat([tokens[place[i]] if i in place else [0] * num_rules for i in range(num_pairs)]),
            chosen_truncated=np.repeat(np.array(excess[:num_pairs], dtype=np.int64) > 0, num_rules),
            rejected_truncated=np.repeat([i in place and excess[place[i]] > 0 for i in range(num_pairs)], num_rules),
            altered=np.repeat(np.array(is_altered, dtype=bool), num_rules),
            made_equal=np.repeat(np.array(is_equal, dtype=bool), num_rules),
        )


def _flat(rows: Sequence[Sequence[int]]) -> np.ndarray:
    return np.array([value for row in rows for value in row], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class PreparedQuestions(PreparedPairs):
    """N pairs under K questions each, and the forward passes planned for them.

    Attributes:
        num_rules: K.
    """

    num_rules: int

    @property
    def chosen_tokens_N(self) -> np.ndarray:
        """Tokens of the chosen conversation with the first question."""
        return self.pairs[0].chosen_tokens[:: self.num_rules]

    @property
    def rejected_tokens_N(self) -> np.ndarray:
        return self.pairs[0].rejected_tokens[:: self.num_rules]

    @property
    def truncated_N(self) -> np.ndarray:
        return super().truncated_N[:: self.num_rules]

    @property
    def altered_N(self) -> np.ndarray:
        return super().altered_N[:: self.num_rules]

    @property
    def made_equal_N(self) -> np.ndarray:
        return super().made_equal_N[:: self.num_rules]


class Judge(EnsembleScorer):
    """Rates conversations under K rules; used as an EnsembleScorer.

    Args:
        model: a judge: its heads give the rating of every form of answer.
        rules: K rules.
        strategy: exact for the model.
        batch_tokens: token budget of a forward pass, None: the default of the device.
    """

    ask: Ask = staticmethod(ask_rating)

    def __init__(self, model: MultiHeadModel, *, rules: RuleSet, strategy: Strategy, batch_tokens: int | None = None):
        super().__init__([model], strategies=[strategy], batch_tokens=batch_tokens)
        self._questions = Questions(rules, model.conversations, ask=self.ask)
        forms = list(dict.fromkeys(answer_form(rule) for rule in rules))
        self._column_K = [forms.index(answer_form(rule)) for rule in rules]

    def prepare(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        chosen: Sequence[Sequence[Message]],
        rejected: Sequence[Sequence[Message] | None],
        pair_ids: Sequence[str],
    ) -> PreparedQuestions:
        pairs = self._questions.tokenize_pairs(prompts, chosen=chosen, rejected=rejected, pair_ids=pair_ids)
        return PreparedQuestions((pairs,), (self.scorers[0].plan(pairs),), len(self._questions.rules))

    def score(self, prepared: PreparedPairs) -> ScoredPairs:
        """Ratings of N pairs on the scales of their K rules."""
        scored = super().score(prepared)
        rules = self._questions.rules
        raw_NK2F = scored.scores_N2K.reshape(-1, len(rules), 2, scored.scores_N2K.shape[2])
        columns = [on_scale(rule, raw_NK2F[:, k, :, self._column_K[k]]) for k, rule in enumerate(rules)]
        too_long = tuple(sorted({i // len(rules) for i in scored.too_long}))
        return replace(
            scored,
            scores_N2K=np.stack(columns, axis=2),
            embeddings_N2D=scored.embeddings_N2D[:: len(rules)],
            too_long=too_long,
        )


def load_judge(
    source: ModelSource,
    options: LoadOptions,
    *,
    strategy: Strategy,
    rules: RuleSet,
    kind: type[Judge] = Judge,
) -> Judge:
    """Load a causal language model, ready to rate conversations.

    Args:
        source: which model. Its vocabulary head is float32 always.
        options: how it is run, on one device; its `max_length` is that of a conversation with its question.
        strategy: exact for it, see `choose_strategy`.
        rules: K rules, asked in their order.
        kind: what it rates: responses, or how much rules matter to prompts.

    Raises:
        ModelError: it cannot be loaded, is no causal model, or has no single token for an answer.
    """
    folder = ModelFolder(source.at(fetch_only_member(source)))
    forms = list(dict.fromkeys(answer_form(rule) for rule in rules))
    answers = RuleSet(
        Rule(f"answers_{i + 1}", ", ".join(form.answers), "better", Scale(-1.0, 1.0)) for i, form in enumerate(forms)
    )

    def load(dtype: torch.dtype) -> tuple[PreTrainedModel, nn.Module]:
        body, vocabulary = load_causal(folder, dtype)
        return body, PooledHeads(AnswerHeads(vocabulary, forms=forms, tokenizer=folder.tokenizer), pooling="last")

    model = load_opened(folder, Opened(tuple(map(Head, answers.names)), load, adds_bos=True), options, rules=answers)
    return kind(model, rules=rules, strategy=strategy, batch_tokens=options.batch_tokens)
