"""Metrics of generated text, of segmentation and of detection, held against the reference implementations."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from carrara.core.errors import DataError
from carrara.evaluation.metrics import METRICS_OF, MetricValue, measure

RANDOM = np.random.default_rng(5)
WORDS = np.array(["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "house", "very", "quickly", "today"])


def sentences(count: int) -> tuple[list[str], list[str]]:
    """References, and answers that change some words, drop some and add some."""
    references, answers = [], []
    for _ in range(count):
        # Of an answer of fewer than four words NLTK counts one n-gram that is not there.
        words = RANDOM.choice(WORDS, RANDOM.integers(12, 20)).tolist()
        references.append(" ".join(words))
        changed = [str(RANDOM.choice(WORDS)) if RANDOM.random() < 0.2 else word for word in words]
        kept = [word for word in changed if RANDOM.random() > 0.1]
        answers.append(" ".join([*kept, *RANDOM.choice(WORDS, RANDOM.integers(0, 3))]))
    return references, answers


def values(found: dict[str, MetricValue]) -> dict[str, float]:
    return {name: one.value for name, one in found.items()}


def measured(labels, scores, kind, **options):
    return values(measure(labels, scores, METRICS_OF[kind], kind=kind, bootstrap=0, **options))


def test_metrics_of_text_are_those_of_the_reference_implementations():
    from nltk.translate.bleu_score import corpus_bleu
    from rouge_score.rouge_scorer import RougeScorer

    references, answers = sentences(60)
    found = measured(references, answers, "text")
    judged = corpus_bleu([[one.split()] for one in references], [one.split() for one in answers])
    assert found["bleu"] == pytest.approx(judged, abs=1e-12)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    scores = [scorer.score(one, other) for one, other in zip(references, answers, strict=True)]
    for ours, theirs in (("rouge1", "rouge1"), ("rouge2", "rouge2"), ("rouge_l", "rougeL")):
        assert found[ours] == pytest.approx(np.mean([one[theirs].fmeasure for one in scores]), abs=1e-12)


def test_words_that_are_wrong_are_counted_and_punctuation_is_none_of_rouges():
    found = measured(["the cat sat", "a dog ran far"], ["the cat ran", "a dog ran far away"], "text")
    assert found["word_error_rate"] == pytest.approx(2 / 7)
    assert found["exact_match"] == 0
    assert measured(["The cat!"], ["the, cat"], "text")["rouge1"] == 1
    assert measured(["cat", "dog"], ["cat", "cow"], "text")["exact_match"] == 0.5
    assert measured(["a b c d e"], ["x"], "text")["bleu"] == 0


def masks(images: int = 30, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    truth = RANDOM.integers(0, classes, (images, 8, 9))
    return truth, np.where(RANDOM.random(truth.shape) < 0.3, RANDOM.integers(0, classes, truth.shape), truth)


def test_metrics_of_segmentation_are_those_of_scikit_learn():
    truth, found = masks()
    flat, answer, measured_ = truth.ravel(), found.ravel(), measured(truth, found, "segmentation")
    assert measured_["mean_iou"] == pytest.approx(jaccard_score(flat, answer, average="macro"))
    assert measured_["mean_dice"] == pytest.approx(f1_score(flat, answer, average="macro"))
    assert measured_["pixel_accuracy"] == pytest.approx(accuracy_score(flat, answer))
    each = [jaccard_score(one.ravel(), other.ravel(), average="macro") for one, other in zip(truth, found, strict=True)]
    assert measured_["image_iou"] == pytest.approx(np.mean(each))
    (third,) = values(measure(truth, found, ["class_iou@3"], kind="segmentation", bootstrap=0)).values()
    assert third == pytest.approx(jaccard_score(flat, answer, average=None)[3])


def boxes(images: int = 40, classes: int = 3) -> tuple[list, list]:
    """Labelled boxes, and found ones: moved, missed, invented, with scores."""
    labels, found = [], []
    for _ in range(images):
        count = int(RANDOM.integers(0, 6))
        corner, size = RANDOM.uniform(0, 50, (count, 2)), RANDOM.uniform(5, 30, (count, 2))
        true = np.hstack([corner, corner + size])
        kinds = RANDOM.integers(0, classes, count)
        labels.append({"boxes": true, "classes": kinds})
        seen = RANDOM.random(count) < 0.8
        moved = np.hstack([corner, corner + size]) + RANDOM.normal(0, 0.7, (count, 4))
        low = RANDOM.uniform(0, 60, (3, 2))
        invented = np.hstack([low, low + RANDOM.uniform(5, 20, (3, 2))])
        found.append(
            {
                "boxes": np.vstack([moved[seen], invented]),
                "classes": np.concatenate([kinds[seen], RANDOM.integers(0, classes, 3)]),
                "scores": RANDOM.random(int(seen.sum()) + 3).round(2),
            }
        )
    return labels, found


def coco(labels, found) -> np.ndarray:
    """What COCO's own code says."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def box(one):
        left, top, right, bottom = map(float, one)
        return [left, top, right - left, bottom - top]

    truth = COCO()
    annotations = [
        {"image_id": place, "category_id": int(kind) + 1, "bbox": box(one), "area": 900.0, "iscrowd": 0}
        for place, image in enumerate(labels)
        for one, kind in zip(image["boxes"], image["classes"], strict=True)
    ]
    truth.dataset = {
        "info": {},
        "images": [{"id": place} for place in range(len(labels))],
        "categories": [{"id": number + 1} for number in range(3)],
        "annotations": [{**one, "id": number + 1} for number, one in enumerate(annotations)],
    }
    answers = [
        {"image_id": place, "category_id": int(kind) + 1, "bbox": box(one), "score": float(score)}
        for place, image in enumerate(found)
        for one, kind, score in zip(image["boxes"], image["classes"], image["scores"], strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(answers), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return judged.stats


def test_metrics_of_detection_are_those_of_coco():
    labels, found = boxes()
    ours, theirs = measured(labels, found, "detection"), coco(labels, found)
    assert 0.1 < theirs[0] < 0.9
    assert ours["mean_average_precision"] == pytest.approx(theirs[0], abs=1e-9)
    assert ours["average_precision"] == pytest.approx(theirs[1], abs=1e-9)
    (at_three_quarters,) = values(measure(labels, found, ["average_precision@0.75"], kind="detection")).values()
    assert at_three_quarters == pytest.approx(theirs[2], abs=1e-9)
    assert ours["average_recall"] == pytest.approx(theirs[8], abs=1e-9)


@pytest.mark.parametrize("kind", ["text", "segmentation", "detection"])
def test_a_row_of_weight_two_counts_as_two_rows_and_an_interval_holds_its_value(kind):
    labels, scores = {"text": lambda: sentences(40), "segmentation": masks, "detection": boxes}[kind]()
    weights = RANDOM.integers(1, 3, len(labels))
    places = np.repeat(np.arange(len(labels)), weights)
    twice = measured([labels[place] for place in places], [scores[place] for place in places], kind)
    weighted = measured(labels, scores, kind, weights=weights)
    # Boxes of one score are counted in the order of their images, whichever are repeated.
    assert weighted == pytest.approx(twice, abs=0.02 if kind == "detection" else 1e-12)
    found = measure(labels, scores, METRICS_OF[kind], kind=kind, bootstrap=30)
    for name, one in found.items():
        assert one.low <= one.value <= one.high or name == "class_iou", name
        assert one.low < one.high or name == "exact_match", name


@pytest.mark.parametrize(
    ("kind", "labels", "scores", "said"),
    [
        ("text", ["a", 3], ["a", "b"], "1 of 2 references are no texts"),
        ("text", ["a"], ["a", "b"], "1 references and 2 answers"),
        ("segmentation", np.zeros((2, 3)), np.zeros((2, 4)), r"the shape \[2, 3\], and the predictions \[2, 4\]"),
        ("segmentation", np.full((2, 3), 0.5), np.zeros((2, 3)), "labels of a segmentation are classes"),
        (
            "detection",
            [{"boxes": [], "classes": []}],
            [{"boxes": [], "classes": []}],
            "image 0 have no scores",
        ),
        ("detection", [{"boxes": [[5, 5, 1, 9]], "classes": [0]}], [{}], "image 0 have a box that is none"),
        ("detection", [{"boxes": [[0, 0, 1, 9]], "classes": []}], [{}], "have 1 boxes and 0 classes"),
    ],
)
def test_what_cannot_be_measured_is_told(kind, labels, scores, said):
    with pytest.raises(DataError, match=said):
        measure(labels, scores, METRICS_OF[kind], kind=kind)
