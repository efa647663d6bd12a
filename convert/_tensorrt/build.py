"""Has TensorRT build an engine from an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgepress import nvidia
from edgepress.cache import cache_folder
from edgepress.errors import DeviceFailed, UnsupportedModel
from edgepress.files import replacing
from edgepress.signature import Signature


@dataclass(frozen=True, kw_only=True)
class Building:
    """How to build: for `batch` samples at once, with at most `workspace_mib` of memory besides weights and values,
    trying so hard (`level`, 0 to 5), with or without TF32."""

    batch: int
    workspace_mib: int
    level: int
    tf32: bool


def engine(model: bytes, signature: Signature, how: Building, identity: Mapping[str, str]) -> bytes:
    """The serialized engine of a serialized ONNX model. Layers timed once are kept in the cache folder for the next.

    Raises UnsupportedModel for what TensorRT's parser refuses, DeviceFailed where it finds no way to execute it.
    """
    import tensorrt

    logger = nvidia.listener()
    builder = tensorrt.Builder(logger)
    # In TensorRT 11 every network is strongly typed: it computes in the types that the model states.
    typed = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(model):
        raise _refusal(parser)
    config = _configured(builder, signature, how)
    cache = cache_folder("tensorrt") / f"{'_'.join(identity.values()).replace(' ', '-')}.timing"
    known = config.create_timing_cache(cache.read_bytes() if cache.is_file() else b"")
    config.set_timing_cache(known, ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise DeviceFailed(
            f"TensorRT cannot build the engine: {nvidia.last_words(logger)}.",
            hint="a larger workspace_mib, or a smaller batch",
        )
    cache.parent.mkdir(parents=True, exist_ok=True)
    with replacing(cache) as temporary:
        temporary.write_bytes(bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def _configured(builder: Any, signature: Signature, how: Building) -> Any:
    import tensorrt

    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, how.workspace_mib << 20)
    config.builder_optimization_level = how.level
    config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED
    if not how.tf32:
        config.clear_flag(tensorrt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    names, _ = signature.distinct_names()
    for name, spec in zip(names, signature.inputs, strict=True):
        shape = spec.with_batch(how.batch)
        profile.set_shape(name, shape, shape, shape)
    config.add_optimization_profile(profile)
    return config


def _refusal(parser: Any) -> UnsupportedModel:
    """Everything that the parser found, each with its node."""
    found = [parser.get_error(place) for place in range(parser.num_errors)]
    said = "; ".join(f"{error.node_name() or error.node_operator()}: {error.desc()}" for error in found)
    return UnsupportedModel(
        f"TensorRT cannot import this network: {said or 'it gives no reason'}.",
        hint="write the layer with other operators, or convert --to onnx, for ONNX Runtime",
    )
