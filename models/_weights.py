"""Reading a file of weights without running any of it, and fitting the weights into a network."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import safetensors
import safetensors.torch
import torch

from edgepress.errors import BadInput
from edgepress.files import existing_file

State = dict[str, torch.Tensor]

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which training scripts keep the state dict in a checkpoint."""

PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""

SHOWN = 5


@runtime_checkable
class Renaming(Protocol):
    """A network whose published weights go by other names than its own."""

    def renamed_state(self, state: Mapping[str, torch.Tensor]) -> State: ...


def read(path: str | Path) -> State:
    """The tensors of a `.safetensors`, `.npz` or weights-only `.pt` file by their names in the network.

    Raises BadInput for a missing or damaged file, a pickled module, or a file that holds no tensors.
    """
    found = existing_file(path, "weights file")
    reader = READERS.get(found.suffix.lower())
    if reader is None:
        raise BadInput(
            f"Weights are not read from {found.suffix or 'a file without an ending'}.",
            where=str(found),
            hint="one of " + ", ".join(READERS),
        )
    try:
        content = reader(found)
    except pickle.UnpicklingError as error:
        raise _pickled(found, str(error)) from None
    except Exception as error:  # whatever a parser makes of bytes that are not its format
        raise _unreadable(found, error) from None
    return _unwrapped(content, found)


def fit(network: torch.nn.Module, state: State, *, where: str, classes: int | None = None) -> None:
    """Load `state` into `network`, all of it or nothing.

    `classes` is the number the network was built for, if it is known. Raises BadInput that tells which
    names are missing or unexpected and which shapes differ.
    """
    if isinstance(network, Renaming):
        state = network.renamed_state(state)
    wanted = network.state_dict()
    state = {name: tensor for name, tensor in state.items() if name in wanted or not _is_counter(name)}
    differing = [name for name in wanted if name in state and state[name].shape != wanted[name].shape]
    missing = [name for name in wanted if name not in state and not _is_counter(name)]
    unexpected = [name for name in state if name not in wanted]
    if missing or unexpected or differing:
        shapes = [f"{name} {_text(state[name])} for {_text(wanted[name])}" for name in differing]
        parts = (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        what = "; ".join(f"{len(names)} {kind}: {_first(names)}" for kind, names in parts if names)
        count = None if missing or unexpected else _other_class_count(state, wanted, differing, classes)
        if count is not None:
            raise BadInput(
                f"The weights are for {count} classes, but the network has {classes}: {what}.",
                where=where,
                hint=f"--set classes={count}",
            )
        raise BadInput(
            f"The weights do not fit the network: {what}.",
            where=where,
            hint="these are the weights of another network or of other options (--set width=..., classes=...)",
        )
    _check_values(state, wanted, where)
    network.load_state_dict(state, strict=False)


def _check_values(state: State, wanted: Mapping[str, torch.Tensor], where: str) -> None:
    """Raise BadInput for tensors that have the right shape and yet are no weights."""
    for name in (name for name in wanted if name in state and not _is_counter(name)):
        found, kind = state[name], wanted[name].dtype
        if (
            found.layout != torch.strided
            or found.is_meta
            or found.dtype.is_floating_point != kind.is_floating_point
        ):
            what = f"is {found.layout} {found.dtype} on {found.device}, not plain {kind}"
        elif found.is_floating_point() and not bool(found.isfinite().all()):
            what = "holds values that are not finite"
        else:
            continue
        raise BadInput(
            f"The weights cannot be used: {name} {what}.".replace("torch.", ""),
            where=where,
            hint="save the trained float weights: torch.save(model.state_dict(), ...)",
        )


def _torch(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _safetensors(path: Path) -> Any:
    return safetensors.torch.load_file(path)


def _npz(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": _safetensors,
    ".npz": _npz,
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt"), _torch),
}


def _unreadable(path: Path, error: Exception) -> BadInput:
    if "TorchScript" in str(error):
        return BadInput(
            f"{path.name} is a TorchScript program, not weights.",
            where=str(path),
            hint="torch.save(torch.jit.load(...).state_dict(), ...)",
        )
    reason = str(error).strip().splitlines() or [""]
    return BadInput(
        f"The weights file {path.name} cannot be read: {type(error).__name__}: {reason[0].partition('. ')[0]}",
        where=str(path),
        hint="it may be cut short: copy or save it again",
    )


def _pickled(path: Path, reason: str) -> BadInput:
    """A pickle with more than tensors in it: reading it would run code, and so it is not read."""
    holds = re.search(r"GLOBAL ([\w.]+)", reason)
    detail = f" ({holds[1]})" if holds else ""
    return BadInput(
        f"{path.name} holds pickled Python objects{detail}, or is damaged; loading them could run any code.",
        where=str(path),
        hint="save the weights alone, torch.save(model.state_dict(), ...), or give the network as file.py:factory",
    )


def _unwrapped(content: Any, path: Path) -> State:
    """The state dict itself, out of a checkpoint and without the prefixes that wrappers leave."""
    while isinstance(content, Mapping) and (inner := next((key for key in WRAPPERS if key in content), None)):
        content = content[inner]
    if not isinstance(content, Mapping):
        raise BadInput(
            f"{path.name} holds a {type(content).__name__}, not weights by name.",
            where=str(path),
            hint="torch.save(model.state_dict(), ...)",
        )
    state = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if not state:
        raise BadInput(
            f"{path.name} holds no tensors; its keys: {_first([str(key) for key in content]) or 'none'}.",
            where=str(path),
            hint="torch.save(model.state_dict(), ...)",
        )
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _other_class_count(
    state: State, wanted: Mapping[str, torch.Tensor], differing: Sequence[str], classes: int | None
) -> int | None:
    """The class count of `state` when that alone explains all that differs."""
    pairs = {(state[name].shape[:1], wanted[name].shape[:1]) for name in differing}
    same_rest = all(state[name].shape[1:] == wanted[name].shape[1:] for name in differing)
    if classes is None or not same_rest or len(pairs) != 1:
        return None
    ((theirs, ours),) = pairs
    return int(theirs[0]) if ours == (classes,) and len(theirs) == 1 else None


def _is_counter(name: str) -> bool:
    """Batch-norm's count of batches: old checkpoints lack it, and nothing reads it."""
    return name.rpartition(".")[2] == "num_batches_tracked"


def _text(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
