"""Mean average precision, mean overlap and agreement, against cases worked out by hand and against COCO's own code."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest

from edgepress.accuracy import Score, evaluate
from edgepress.data import Batch, open_data
from edgepress.detection import Detections, Listed, Measure
from edgepress.errors import BadInput
from edgepress.scoring import (
    AgreementTally,
    MeanOverlap,
    MeanPrecision,
    OverlapTally,
    PrecisionTally,
    average_precision,
)

BOX, FAR = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)


def shifted(box: tuple[float, ...], by: float) -> tuple[float, ...]:
    return (box[0] + by, box[1], box[2] + by, box[3])


def score(
    found: list[list[tuple[int, float, tuple[float, ...]]]],
    truth: list[list[tuple[float, ...]]],
    measure: Measure,
) -> MeanPrecision:
    """Of pictures with boxes found (class, score, box) and true (class, box..., 1 where it does not count)."""
    tally = PrecisionTally(Listed(measure=measure), "test")
    for boxes, labels in zip(found, truth, strict=True):
        tally.add(listed(boxes), np.array([labels], np.float32).reshape(1, -1, 6))
    return tally.result()


def listed(boxes: list[tuple[int, float, tuple[float, ...]]]) -> tuple[np.ndarray, ...]:
    """The outputs of a network that gives these boxes (class, score, box) of one picture."""
    rows = np.array([box for *_, box in boxes], np.float32).reshape(1, -1, 4)
    scores = np.array([[score for _, score, _ in boxes]], np.float32).reshape(1, -1)
    classes = np.array([[number for number, *_ in boxes]], np.float32).reshape(1, -1)
    return rows, scores, classes


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        # Right, wrong, right, and one of three never found: precision 1 up to recall 1/3, then 2/3 up to 2/3.
        ("voc", (1 + 2 / 3) / 3),
        ("voc11", (4 * 1 + 3 * 2 / 3) / 11),
        ("coco", (34 * 1 + 33 * 2 / 3) / 101),
    ],
)
def test_average_precision(measure: Measure, expected: float) -> None:
    scores, right = np.array([0.7, 0.9, 0.8]), np.array([1, 1, 0])
    assert average_precision(scores, right, 3, measure) == pytest.approx(expected)


def test_what_does_not_count_changes_nothing() -> None:
    scores, right = np.array([0.95, 0.7, 0.9, 0.8]), np.array([-1, 1, 1, 0])
    assert average_precision(scores, right, 3, "voc") == pytest.approx((1 + 2 / 3) / 3)
    assert average_precision(scores[:0], right[:0], 3, "coco") == 0


@pytest.mark.parametrize("measure", ["coco", "voc", "voc11"])
def test_what_is_all_right_has_all_of_it(measure: Measure) -> None:
    found = score([[(0, 0.9, BOX), (1, 0.8, FAR)]], [[(0, *BOX, 0), (1, *FAR, 0)]], measure)
    assert (found.map, found.map50, found.samples) == (100, 100, 1)
    assert (found.name, found.percent) == ("mAP", 100)


def test_coco_asks_for_more_overlap_step_by_step() -> None:
    """Shifted by 2 of 10 pixels, a box overlaps by 8 / 12: enough for 0.5, 0.55, 0.6 and 0.65 of the ten limits."""
    near = shifted(BOX, 2)
    assert score([[(0, 0.9, near)]], [[(0, *BOX, 0)]], "coco").map == pytest.approx(40)
    assert score([[(0, 0.9, near)]], [[(0, *BOX, 0)]], "coco").map50 == 100
    assert score([[(0, 0.9, near)]], [[(0, *BOX, 0)]], "voc").map == 100


def test_an_object_found_twice_is_right_once() -> None:
    found = [[(0, 0.9, BOX), (0, 0.8, shifted(BOX, 1)), (0, 0.7, FAR)]]
    truth = [[(0, *BOX, 0), (0, *FAR, 0)]]
    # Right, wrong, right: 1 up to recall 1/2, then 2/3.
    assert score(found, truth, "voc").map == pytest.approx(100 * (1 + 2 / 3) / 2)


def test_classes_count_alike_and_those_without_an_object_do_not() -> None:
    found = [[(0, 0.9, BOX), (7, 0.9, FAR)], []]
    truth = [[(0, *BOX, 0)], [(1, *BOX, 0)]]
    assert score(found, truth, "voc").map == 50


@pytest.mark.parametrize("measure", ["coco", "voc"])
def test_what_lies_in_a_crowd_or_is_difficult_does_not_count(measure: Measure) -> None:
    truth = [[(0, *BOX, 0), (0, *FAR, 1)]]
    alone = score([[(0, 0.5, BOX)]], truth, measure)
    assert alone.map == 100
    assert score([[(0, 0.9, FAR), (0, 0.8, FAR), (0, 0.5, BOX)]], truth, measure).map == 100


def test_boxes_to_be_found_are_needed() -> None:
    with pytest.raises(BadInput, match="no boxes"):
        score([[(0, 0.9, BOX)]], [[(0, *FAR, 1)]], "coco")


@pytest.mark.parametrize("seed", range(3))
def test_coco_agrees_with_its_authors_code(seed: int) -> None:
    coco_api = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    found, truth = _random_pictures(seed)
    images = [{"id": number + 1} for number in range(len(truth))]
    annotations, results = [], []
    for picture, (boxes, labels) in enumerate(zip(found, truth, strict=True), start=1):
        for number, *box, crowd in labels:
            x0, y0, x1, y1 = (float(np.float32(value)) for value in box)
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": picture, "category_id": int(number),
                    "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": int(crowd),
                }
            )  # fmt: skip
        for number, value, box in boxes:
            x0, y0, x1, y1 = (float(np.float32(each)) for each in box)
            results.append(
                {
                    "image_id": picture, "category_id": number, "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "score": float(np.float32(value)),
                }
            )  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        api = coco_api.COCO()
        api.dataset = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": n} for n in range(4)],
        }
        api.createIndex()
        judge = evaluation.COCOeval(api, api.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    ours = score(found, truth, "coco")
    # The same float64 arithmetic, summed in another order.
    assert ours.map == pytest.approx(100 * judge.stats[0], abs=1e-6)
    assert ours.map50 == pytest.approx(100 * judge.stats[1], abs=1e-6)


def _random_pictures(
    seed: int,
) -> tuple[list[list[tuple[int, float, tuple[float, ...]]]], list[list[tuple[float, ...]]]]:
    """Six pictures of objects, found more or less exactly or not at all, and of things found where nothing is."""
    random = np.random.default_rng(seed)
    found, truth = [], []
    for _ in range(6):
        corners = random.uniform(0, 80, (8, 2))
        boxes = np.concatenate([corners, corners + random.uniform(15, 40, (8, 2))], 1)
        classes, crowds = random.integers(0, 4, 8), random.uniform(size=8) < 0.15
        truth.append(
            [(int(n), *map(float, box), float(c)) for n, box, c in zip(classes, boxes, crowds, strict=True)]
        )
        moved = boxes + random.normal(0, 2, boxes.shape)
        seen = [
            (int(n), float(random.uniform()), tuple(map(float, box)))
            for n, box in zip(classes, moved, strict=True)
        ]
        stray = [
            (int(random.integers(0, 4)), float(random.uniform()), (5.0, 5.0, 30.0, 30.0)) for _ in range(3)
        ]
        found.append([one for one in seen if random.uniform() < 0.8] + stray)
    return found, truth


def test_mean_overlap() -> None:
    labels = np.array([[[0, 0, 1, 255]], [[1, 1, 1, 0]]])
    given = np.array([[[0, 1, 1, 1]], [[1, 1, 0, 0]]])
    tally = OverlapTally("test")
    for truth, answer in zip(labels, given, strict=True):
        tally.add((np.eye(3, dtype=np.float32)[answer[None]].transpose(0, 3, 1, 2),), truth[None])
    found = tally.result()
    # Class 0: 2 of 4; class 1: 3 of 5; class 2 is nowhere; the pixel of no class does not count.
    assert found == MeanOverlap(pytest.approx(100 * (2 / 4 + 3 / 5) / 2), pytest.approx(100 * 5 / 7), 2)
    assert (found.name, found.percent) == ("mIoU", found.miou)


USER_FILE = """
import numpy as np

def detect():
    x = np.zeros((3, 1), np.float32)
    return [(x[:2], [np.array([[1, 0, 0, 10, 10]]), np.zeros((0, 5))]), (x[2:], [[[0, 5, 5, 9, 9, 1], [1, 0, 0, 10, 10, 0]]])]

def upside_down():
    return [(np.zeros((1, 1), np.float32), [[[1, 10, 10, 0, 0]]])]

def seven():
    return [(np.zeros((1, 1), np.float32), [[[1, 0, 0, 1, 1, 0, 0]]])]

def too_many():
    return [(np.zeros((1, 1), np.float32), [[[1, 0, 0, 1, 1]], [[1, 0, 0, 1, 1]]])]

def halves():
    return [(np.zeros((1, 1), np.float32), [[[0.5, 0, 0, 1, 1]]])]

def segment():
    return [(np.zeros((2, 1), np.float32), np.array([[[0, 1]], [[1, 255]]]))]

def classes():
    return [(np.zeros((2, 1), np.float32), np.array([0, 1]))]
"""


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(USER_FILE)
    return tmp_path / "mine.py"


def finds_one_box(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of class 1, in every picture."""
    boxes = np.tile(np.array(BOX, np.float32), (len(x), 1, 1))
    return boxes, np.ones((len(x), 1), np.float32), np.ones((len(x), 1), np.float32)


def scored(user_file: Path, function: str, reading: Listed | None = None) -> Score:
    return evaluate(finds_one_box, open_data(f"{user_file}:{function}"), None, reading=reading)


def test_boxes_of_a_users_own_function(user_file: Path) -> None:
    """Two of the three boxes found are right; all have the same score."""
    data = open_data(f"{user_file}:detect")
    (batch,) = data.batches("evaluate", None)
    assert isinstance(batch, Batch)
    assert batch.labels is not None
    assert batch.labels.shape == (3, 2, 6)
    assert batch.labels[:, :, 0].tolist() == [[1, -1], [-1, -1], [0, 1]]
    found = scored(user_file, "detect", Listed(measure="voc"))
    # Right, wrong, right, by the order of the pictures.
    assert found == MeanPrecision(
        pytest.approx(100 * (1 + 2 / 3) / 2), pytest.approx(100 * (1 + 2 / 3) / 2), 3
    )


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("upside_down", "Box 0 of sample 0 is not valid: 1, 10, 10, 0, 0"),
        ("seven", "have 7 values each"),
        ("too_many", "boxes of 2 pictures for 1 samples"),
        ("halves", "is not valid: 0.5"),
    ],
)
def test_bad_boxes_are_named(user_file: Path, function: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        scored(user_file, function)


def test_labels_of_another_task_are_refused(user_file: Path) -> None:
    with pytest.raises(BadInput, match="network detects"):
        scored(user_file, "classes", Listed())
    with pytest.raises(BadInput, match="need scores of samples x classes x height x width"):
        scored(user_file, "segment")
    data = open_data(f"{user_file}:detect")
    with pytest.raises(BadInput, match="labels are boxes, but the network gives"):
        evaluate(lambda x: (x,), data, None)


def test_detections_have_a_length() -> None:
    assert len(Detections(np.zeros((2, 4)), np.zeros(2), np.zeros(2, np.int64))) == 2


NOTHING: list[tuple[int, float, tuple[float, ...]]] = []


def alike(
    ours: list[tuple[int, float, tuple[float, ...]]], theirs: list[tuple[int, float, tuple[float, ...]]]
) -> float | None:
    """How far the boxes (class, score, box) of one picture agree."""
    tally = AgreementTally(Listed())
    tally.add(listed(ours), listed(theirs))
    return tally.percent


def test_the_same_boxes_agree_in_any_order() -> None:
    found = [(0, 0.9, BOX), (1, 0.4, BOX), (0, 0.2, FAR)]
    assert alike(found, found[::-1]) == pytest.approx(100)
    assert alike(NOTHING, NOTHING) is None


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (NOTHING, 0),
        ([(1, 0.9, BOX)], 0),
        ([(0, 0.9, FAR)], 0),
        # The lower score of two, over their mean.
        ([(0, 0.3, BOX)], 100 * 0.3 / 0.6),
        # 8 of 12 pixels.
        ([(0, 0.9, shifted(BOX, 2))], 100 * 8 / 12),
        # A box that nobody else has counts half: the means of the sums are 0.9 and 1.2.
        ([(0, 0.9, BOX), (2, 0.6, FAR)], 100 * 0.9 / 1.2),
        # Two for one: the nearer one pairs off, the other is alone.
        ([(0, 0.9, BOX), (0, 0.9, shifted(BOX, 2))], 100 * 0.9 / 1.35),
    ],
)
def test_what_pairs_are_worth(theirs: list[tuple[int, float, tuple[float, ...]]], expected: float) -> None:
    ours = [(0, 0.9, BOX)]
    assert alike(ours, theirs) == pytest.approx(expected)
    assert alike(theirs, ours) == pytest.approx(expected)


def test_a_box_without_a_partner_takes_none_from_another() -> None:
    assert alike([(0, 0.9, FAR), (0, 0.9, BOX)], [(0, 0.9, BOX)]) == pytest.approx(100 * 0.9 / 1.35)
