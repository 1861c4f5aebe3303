"""Metrics of generated text, against one reference a row: each one function of rows and their weights.

Words are those between spaces, for ROUGE also lower-cased letters and digits alone, as the reference implementations
have it (Papineni et al., 2002; Lin, 2004).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from carrara.core.errors import DataError
from carrara.evaluation.ranked import as_weights
from carrara.evaluation.weighing import Floats, Ints, mean, ratio

_ORDER = 4
_NO_WORD = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class TextRows:
    """Of each row what all metrics are sums or means of.

    `matched` and `grams` are the n-grams of the answer that the reference has, and all, of shape (rows, 4); `lengths`
    words of answer and reference; `rouge` the F1 of single words, of pairs, and of the longest common subsequence;
    `edits` the words to change; `same` whether both are equal.
    """

    matched: Floats
    grams: Floats
    lengths: Floats
    rouge: Floats
    edits: Floats
    same: Floats
    weights: Floats | None = None

    def __len__(self) -> int:
        return len(self.same)

    def take(self, places: Ints) -> TextRows:
        return TextRows(
            self.matched[places],
            self.grams[places],
            self.lengths[places],
            self.rouge[places],
            self.edits[places],
            self.same[places],
            None if self.weights is None else self.weights[places],
        )


def text_rows(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float = 0.5, weights: npt.ArrayLike | None = None
) -> TextRows:
    """Compare answers (`scores`) with references (`labels`), texts of shape (rows,); DataError for what is none.

    The threshold has no meaning here.
    """
    references, answers = _texts(labels, "references"), _texts(scores, "answers")
    if len(references) != len(answers):
        raise DataError(f"there are {len(references):,} references and {len(answers):,} answers")
    bleu = [_bleu_counts(one.split(), other.split()) for one, other in zip(answers, references, strict=True)]
    rouge = [_rouges(_words(one), _words(other)) for one, other in zip(answers, references, strict=True)]
    words = [(len(one.split()), len(other.split())) for one, other in zip(answers, references, strict=True)]
    edits = [_distance(one.split(), other.split()) for one, other in zip(answers, references, strict=True)]
    return TextRows(
        matched=np.array([one for one, _ in bleu], np.float64).reshape(-1, _ORDER),
        grams=np.array([one for _, one in bleu], np.float64).reshape(-1, _ORDER),
        lengths=np.array(words, np.float64).reshape(-1, 2),
        rouge=np.array(rouge, np.float64).reshape(-1, 3),
        edits=np.array(edits, np.float64),
        same=np.array([one == other for one, other in zip(answers, references, strict=True)], np.float64),
        weights=as_weights(weights, len(answers)),
    )


def bleu(rows: TextRows, weights: Floats) -> Any:
    """BLEU of all rows together, with n-grams of up to four words and no smoothing; 0 where one order has no match."""
    precisions = ratio(weights @ rows.matched, weights @ rows.grams)
    answer, reference = np.moveaxis(weights @ rows.lengths, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_of_logs = np.log(np.nan_to_num(precisions)).mean(axis=-1)
        brevity = np.where(answer > reference, 0.0, 1 - reference / answer)
        return np.where(answer > 0, np.exp(mean_of_logs + brevity), 0.0)[()]


def rouge1(rows: TextRows, weights: Floats) -> Any:
    """The mean F1 of single words."""
    return mean(rows.rouge[:, 0], weights)


def rouge2(rows: TextRows, weights: Floats) -> Any:
    """The mean F1 of pairs of words."""
    return mean(rows.rouge[:, 1], weights)


def rouge_l(rows: TextRows, weights: Floats) -> Any:
    """The mean F1 of the longest common subsequence of words."""
    return mean(rows.rouge[:, 2], weights)


def word_error_rate(rows: TextRows, weights: Floats) -> Any:
    """The words to insert, leave out or replace, over the references' words."""
    return ratio(weights @ rows.edits, weights @ rows.lengths[:, 1])


def exact_match(rows: TextRows, weights: Floats) -> Any:
    """The share of answers that are their reference."""
    return mean(rows.same, weights)


def _texts(values: npt.ArrayLike, what: str) -> list[str]:
    found = np.asarray(values, object)
    if wrong := sum(not isinstance(one, str) for one in found.ravel()):
        raise DataError(f"{wrong:,} of {found.size:,} {what} are no texts")
    return [str(one) for one in found.ravel()]


def _words(text: str) -> list[str]:
    return _NO_WORD.sub(" ", text.lower()).split()


def _ngrams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))


def _bleu_counts(answer: Sequence[str], reference: Sequence[str]) -> tuple[list[int], list[int]]:
    matched, grams = [], []
    for order in range(1, _ORDER + 1):
        ours = _ngrams(answer, order)
        matched.append((ours & _ngrams(reference, order)).total())
        grams.append(ours.total())
    return matched, grams


def _rouges(answer: Sequence[str], reference: Sequence[str]) -> tuple[float, float, float]:
    found = []
    for order in (1, 2):
        ours, theirs = _ngrams(answer, order), _ngrams(reference, order)
        found.append(_f1((ours & theirs).total(), ours.total(), theirs.total()))
    return found[0], found[1], _f1(_common(answer, reference), len(answer), len(reference))


def _f1(common: int, ours: int, theirs: int) -> float:
    return 2 * common / (ours + theirs) if common else 0.0


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for place, theirs in enumerate(other, start=1):
            above = row[place]
            row[place] = before + 1 if word == theirs else max(above, row[place - 1])
            before = above
    return row[-1]


def _distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Levenshtein's distance in words."""
    row = list(range(len(other) + 1))
    for number, word in enumerate(one, start=1):
        before, row[0] = row[0], number
        for place, theirs in enumerate(other, start=1):
            before, row[place] = row[place], min(before + (word != theirs), row[place] + 1, row[place - 1] + 1)
    return row[-1]
