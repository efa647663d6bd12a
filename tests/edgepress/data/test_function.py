"""Data from the user's own function: what it may return, and what is said when it is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepress.data import open_data
from edgepress.errors import BadInput, UnknownName


def source(tmp_path: Path, body: str) -> str:
    file = tmp_path / "mine.py"
    file.write_text("import numpy as np\n" + body)
    return f"{file}:batches"


def test_a_generator_is_asked_for_anew_each_time(tmp_path: Path) -> None:
    text = source(
        tmp_path,
        "def batches():\n    for i in range(3):\n        yield np.full((4, 2), i, np.float64), np.full(4, i)\n",
    )
    data = open_data(text)
    assert data.count("train") == 12
    for _ in range(2):
        batches = list(data.batches("train", None, batch_size=5, skip=2))
        assert [len(batch) for batch in batches] == [5, 5]
        assert batches[0].inputs[0].dtype == np.float32
        assert np.concatenate([b.labels for b in batches]).tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert [len(b) for b in data.batches("evaluate", None, limit=7)] == [7]


def test_a_mapping_of_splits(tmp_path: Path) -> None:
    text = source(
        tmp_path, "def batches():\n    x = np.zeros((2, 3), np.float32)\n    return {'train': [(x,), (x,)]}\n"
    )
    data = open_data(text)
    assert data.count("calibrate") == 4
    assert next(data.batches("train", None)).labels is None
    with pytest.raises(BadInput, match="no split 'evaluate'"):
        data.count("evaluate")


def test_torch_tensors_and_loaders(tmp_path: Path) -> None:
    text = source(
        tmp_path,
        "import torch\ndef batches():\n"
        "    set = torch.utils.data.TensorDataset(torch.ones(10, 1, 2, 2, requires_grad=True), torch.arange(10))\n"
        "    return torch.utils.data.DataLoader(set, batch_size=4)\n",
    )
    batches = list(open_data(text).batches("train", None, batch_size=10))
    assert [b.inputs[0].shape for b in batches] == [(10, 1, 2, 2)]
    assert batches[0].labels is not None
    assert batches[0].labels.tolist() == list(range(10))


def test_several_inputs_come_as_a_batch(tmp_path: Path) -> None:
    text = source(
        tmp_path,
        "from edgepress.data import Batch\n"
        "def batches():\n    return [Batch((np.ones((3, 2), np.float32), np.ones((3, 1), np.int32)), np.arange(3))]\n",
    )
    (batch,) = open_data(text).batches("train", None)
    assert [array.dtype.name for array in batch.inputs] == ["float32", "int32"]


@pytest.mark.parametrize(
    "x", ["(a, b)", "[a, b]", "tuple(torch.utils.data.default_collate(list(zip(a, b))))"]
)
def test_several_inputs_come_as_a_tuple_or_as_a_loader_makes_it(tmp_path: Path, x: str) -> None:
    text = source(
        tmp_path,
        "import torch\ndef batches():\n"
        "    a, b = torch.ones(3, 2), torch.zeros(3, 2)\n"
        f"    return [({x}, torch.arange(3))]\n",
    )
    (batch,) = open_data(text).batches("train", None)
    assert [array.mean() for array in batch.inputs] == [1, 0]


def test_a_list_of_samples_is_one_input(tmp_path: Path) -> None:
    text = source(tmp_path, "def batches(): return [([np.ones(2), np.ones(2)], [0, 1])]")
    (batch,) = open_data(text).batches("train", None)
    assert [array.shape for array in batch.inputs] == [(2, 2)]


WRONG = {
    "not an array of numbers": "def batches(): return [('text',)]",
    "A batch is": "def batches(): return [np.zeros((2, 2))]",
    "one integer a sample": "def batches(): return [(np.zeros((2, 2)), np.zeros(3, int))]",
    "returned int, not batches": "def batches(): return 3",
    "ZeroDivisionError": "def batches():\n    yield (np.zeros((1, 1)),)\n    1 / 0",
    "NameError": "def batches(): return nothing",
}


@pytest.mark.parametrize("said", WRONG)
def test_wrong_batches_are_explained(tmp_path: Path, said: str) -> None:
    data = open_data(source(tmp_path, WRONG[said]))
    with pytest.raises(BadInput, match=said) as caught:
        list(data.batches("train", None))
    assert "mine.py" in caught.value.where


def test_the_users_line_is_named(tmp_path: Path) -> None:
    data = open_data(source(tmp_path, "def batches():\n    x = 1\n    return [np.zeros(x) / None]\n"))
    with pytest.raises(BadInput) as caught:
        data.count("train")
    assert "mine.py:4: return [np.zeros(x) / None]" in caught.value.where


def test_files_that_do_not_run(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="SyntaxError") as caught:
        open_data(source(tmp_path, "def batches(:\n"))
    assert "mine.py:2" in caught.value.where
    with pytest.raises(UnknownName, match="Did you mean 'batches'"):
        open_data(source(tmp_path, "def batches(): return []") + "s")
    with pytest.raises(BadInput, match="does not exist"):
        open_data(f"{tmp_path / 'other.py'}:batches")
    with pytest.raises(BadInput, match="No function is named"):
        open_data(str(tmp_path / "mine.py"))
