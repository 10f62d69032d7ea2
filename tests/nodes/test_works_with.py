"""Arrays together with other changes to a model: other nodes, other dtypes, little memory, errors during a run."""

from __future__ import annotations

import hashlib
import re
import warnings
from typing import TYPE_CHECKING, Any

import comfy.hooks
import comfy.lora
import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.sd
import comfy.utils
import pytest
import torch
from air_lora_pack.nodes.patching.application import WeightedLora, apply_loras
from air_lora_pack.nodes.patching.loaded_model import diffusion_weights

from tests import lora_files
from tools.tiny_checkpoints import make_checkpoints

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ComfyUI's own warnings during its import
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete
    from comfy_extras.nodes_model_merging import (
        ModelAdd,
        ModelMergeBlocks,
        ModelMergeSimple,
        ModelSubtract,
    )

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("as_comfyui_runs_nodes")]

CPU = torch.device("cpu")
MODULES = lora_files.modules_of("sd15", parts=("unet",))
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Path:
    return make_checkpoints(folder, ["sd15"])["sd15"]


def load(checkpoint: Path, **options: Any) -> Any:
    """The MODEL, as Load Checkpoint returns it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ComfyUI's own warnings while it loads
        return comfy.sd.load_checkpoint_guess_config(
            str(checkpoint), output_vae=False, output_clip=False, model_options=options
        )[0]


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Any:
    return load(checkpoint)


@pytest.fixture(scope="module")
def loras(folder: Path) -> list[WeightedLora]:
    entries = []
    for seed, strength in enumerate([0.7, 0.5]):
        path = lora_files.write_lora(folder / f"{seed}.safetensors", MODULES, seed=seed)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        entries.append(WeightedLora(f"lora[{seed}]", path.stem, path, digest, strength, strength))
    return entries


def ours(model: Any, entries: list[WeightedLora]) -> Any:
    return apply_loras(model, None, entries, skip_mismatches=False).model


def core(model: Any, entries: list[WeightedLora]) -> Any:
    """The same with a chain of ComfyUI's own loaders."""
    for entry in entries:
        file = comfy.utils.load_torch_file(str(entry.path))
        model, _ = comfy.sd.load_lora_for_models(model, None, file, entry.model_strength, 0)
    return model


def weights(patcher: Any) -> dict[str, torch.Tensor]:
    """All weights while the patcher is in use. It is unpatched afterwards."""
    patcher.patch_model(device_to=CPU)
    try:
        return {name: tensor.clone() for name, tensor in patcher.model.state_dict().items()}
    finally:
        patcher.unpatch_model(device_to=CPU)


def base(patcher: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in patcher.model.state_dict().items()}


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """The bytes, which can be compared for every dtype and also for NaN."""
    return tensor.contiguous().view(torch.uint8)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(bits(first[name]), bits(second[name])) for name in first
    )


def assert_close(
    mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], roundings: float = 1.0
) -> None:
    """Checks that each weight differs by at most this number of roundings of its dtype."""
    for name, tensor in theirs.items():
        if not tensor.is_floating_point():
            continue
        step = torch.finfo(tensor.dtype).eps * tensor.float().abs() + torch.finfo(tensor.dtype).tiny
        difference = (mine[name].float() - tensor.float()).abs()
        assert (difference <= roundings * step + 1e-7).all(), (name, float(difference.max()))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_of_weights(checkpoint: Path, loras: list[WeightedLora], dtype: torch.dtype) -> None:
    model = load(checkpoint, dtype=dtype)
    before = base(model)
    assert before["diffusion_model.input_blocks.1.1.proj_in.weight"].dtype == dtype
    mine, theirs = weights(ours(model, loras)), weights(core(model, loras))
    # In fp8, both round stochastically, so a weight can be on either side of the exact value.
    assert_close(mine, theirs, roundings=2.0 if dtype.itemsize == 1 else 1.0)
    changed = [name for name in before if not torch.equal(bits(mine[name]), bits(before[name]))]
    assert len(changed) > 30
    assert same(base(model), before)
    assert same(weights(ours(model, loras)), mine), "the same array gives the same weights, in fp8 too"


def test_little_memory_patches_each_weight_as_it_is_used(model: Any, loras: list[WeightedLora]) -> None:
    whole = weights(ours(model, loras))
    patcher = ours(model, loras)
    patcher.load(CPU, lowvram_model_memory=1)
    try:
        patched = 0
        for name, module in patcher.model.named_modules():
            for function in getattr(module, "weight_function", []):
                assert isinstance(function, comfy.model_patcher.LowVramPatch)
                used = function(module.weight.detach().clone())
                assert_close({name: used}, {name: whole[f"{name}.weight"].to(used.dtype)})
                patched += 1
        assert patched > 30
    finally:
        patcher.unpatch_model(device_to=CPU)


def test_a_part_of_the_model_is_loaded_and_the_rest_later(model: Any, loras: list[WeightedLora]) -> None:
    before, whole = base(model), weights(ours(model, loras))
    patcher = ours(model, loras)
    patcher.patch_model(device_to=CPU, lowvram_model_memory=patcher.model_size() // 2)
    patcher.partially_load(CPU, extra_memory=10**12)
    try:
        assert same(base(patcher), whole)
    finally:
        patcher.unpatch_model(device_to=CPU)
    assert same(base(model), before)


@pytest.mark.parametrize("first", ["core", "ours"])
def test_core_loaders_before_and_after(model: Any, loras: list[WeightedLora], first: str) -> None:
    one, two = loras[:1], loras[1:]
    mixed = ours(core(model, one), two) if first == "core" else core(ours(model, one), two)
    assert_close(weights(mixed), weights(core(model, loras)))


def test_two_arrays_in_a_row_and_two_side_by_side(model: Any, loras: list[WeightedLora]) -> None:
    before = base(model)
    assert_close(weights(ours(ours(model, loras[:1]), loras[1:])), weights(ours(model, loras)))
    left, right = ours(model, loras[:1]), ours(model, loras[1:])
    left_alone, right_alone = weights(ours(model, loras[:1])), weights(ours(model, loras[1:]))
    for _ in range(2):  # like a graph with two samplers: alternating, on the same weights
        assert same(weights(left), left_alone)
        assert same(weights(right), right_alone)
    assert same(base(model), before)


MERGING: dict[str, Callable[[Any, Any], tuple[Any]]] = {
    "ModelMergeSimple": lambda one, two: ModelMergeSimple().merge(one, two, 0.6),
    "ModelMergeBlocks": lambda one, two: ModelMergeBlocks().merge(one, two, input=0.2, middle=0.5, out=0.9),
    "ModelMergeSubtract": lambda one, two: ModelSubtract().merge(one, two, 0.3),
    "ModelMergeAdd": lambda one, two: ModelAdd().merge(one, two),
}


@pytest.fixture(scope="module")
def other_model(checkpoint: Path) -> Any:
    other = load(checkpoint)
    with torch.no_grad():
        for parameter in other.model.diffusion_model.parameters():
            parameter.mul_(1.5)
    return other


@pytest.mark.parametrize(
    ("node", "where"),
    [("ModelMergeSimple", where) for where in ("first", "second", "after")]
    + [(node, "second") for node in MERGING if node != "ModelMergeSimple"],
)
def test_model_merging(
    model: Any, other_model: Any, loras: list[WeightedLora], node: str, where: str
) -> None:
    merge = MERGING[node]

    def merged(add: Callable[[Any, list[WeightedLora]], Any]) -> Any:
        if where == "first":
            return merge(add(model, loras), other_model)[0]
        if where == "second":
            return merge(model, add(other_model, loras))[0]
        return add(merge(model, other_model)[0], loras)

    assert_close(weights(merged(ours)), weights(merged(core)), roundings=2.0)


def test_a_changed_sampling_is_kept(model: Any, loras: list[WeightedLora]) -> None:
    def resampled(patcher: Any) -> Any:
        return ModelSamplingDiscrete().patch(patcher, sampling="v_prediction", zsnr=True)[0]

    def is_resampled(patcher: Any) -> bool:
        return isinstance(patcher.get_model_object("model_sampling"), comfy.model_sampling.V_PREDICTION)

    assert not is_resampled(ours(model, loras))
    before, after = ours(resampled(model), loras), resampled(ours(model, loras))
    assert is_resampled(before)
    assert is_resampled(after)
    # The model's tensors include the sampling's noise schedule.
    mine, first, last = (
        {name: tensor for name, tensor in weights(patcher).items() if name.startswith("diffusion_model.")}
        for patcher in (ours(model, loras), before, after)
    )
    assert same(first, mine)
    assert same(last, mine)


def hooked(patcher: Any, hooks: Any) -> dict[str, torch.Tensor]:
    """The weights while a hook is active."""
    patcher = patcher.clone()
    target = comfy.hooks.create_target_dict(comfy.hooks.EnumWeightTarget.Model)
    patcher.register_all_hook_patches(hooks, target)
    patcher.patch_model(device_to=CPU)
    try:
        patcher.patch_hooks(hooks)
        return {name: tensor.clone() for name, tensor in patcher.model.state_dict().items()}
    finally:
        patcher.clean_hooks()
        patcher.unpatch_model(device_to=CPU)


def test_hooks_beside_an_array(model: Any, loras: list[WeightedLora]) -> None:
    before = base(model)
    file = comfy.utils.load_torch_file(str(loras[1].path))
    hooks = comfy.hooks.create_hook_lora(file, loras[1].model_strength, 0)
    mine = hooked(ours(model, loras[:1]), hooks)
    assert_close(mine, hooked(core(model, loras[:1]), hooks), roundings=2.0)
    assert not same(mine, weights(ours(model, loras[:1])))
    assert same(base(model), before)


def quantize(model: Any) -> dict[str, torch.Tensor]:
    """Stores each Linear's weight in another form, as GGUF packs do: read by `convert_weight`, written by `set_weight`.

    Returns the weights that they represent.
    """
    stands_for = {}
    for name, module in model.model.named_modules():
        if not isinstance(module, torch.nn.Linear):
            continue
        scale = module.weight.detach().float().abs().max() / 127
        packed = (module.weight.detach().float() / scale).round().to(torch.float16)
        module.weight = torch.nn.Parameter(packed, requires_grad=False)
        stands_for[f"{name}.weight"] = packed.float() * scale

        def convert(weight: torch.Tensor, scale: torch.Tensor = scale, **_: Any) -> torch.Tensor:
            return weight.float() * scale

        def write(
            weight: torch.Tensor,
            *,
            inplace_update: bool = False,
            module: Any = module,
            scale: torch.Tensor = scale,
            **_: Any,
        ) -> None:
            packed = (weight / scale).to(torch.float16)
            if inplace_update:
                module.weight.data.copy_(packed)
            else:
                module.weight = torch.nn.Parameter(packed, requires_grad=False)

        module.convert_weight, module.set_weight = convert, write
    return stands_for


def test_weights_that_are_converted_before_they_are_patched(
    checkpoint: Path, loras: list[WeightedLora]
) -> None:
    first, second = load(checkpoint), load(checkpoint)
    stands_for = quantize(first)
    quantize(second)
    before = base(first)
    mine, theirs = weights(ours(first, loras)), weights(core(second, loras))
    assert_close(mine, theirs, roundings=2.0)
    changed = [name for name in stands_for if not torch.equal(mine[name], before[name])]
    assert len(changed) == 30, "all of the attention's and the feed-forward's"
    assert same(base(first), before)


class Stops(Exception):
    """An error in the middle of a run."""


@pytest.mark.parametrize(
    "error", [comfy.model_management.InterruptProcessingException, torch.OutOfMemoryError, MemoryError]
)
def test_an_interruption_in_the_middle_leaves_the_model_usable(
    model: Any, loras: list[WeightedLora], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, whole = base(model), weights(ours(model, loras))
    patcher = ours(model, loras)
    calculate, calls = comfy.lora.calculate_weight, []

    def fails(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 20:
            raise error("in the middle")
        return calculate(*arguments, **options)

    monkeypatch.setattr(comfy.lora, "calculate_weight", fails)
    with pytest.raises(error, match="in the middle"):
        patcher.patch_model(device_to=CPU)
    monkeypatch.undo()
    patcher.unpatch_model(device_to=CPU)
    assert same(base(model), before)
    assert same(weights(patcher), whole)


def test_out_of_memory_in_the_product_itself_is_not_swallowed(
    model: Any, loras: list[WeightedLora], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = base(model)
    patcher = ours(model, loras)
    multiply = torch.Tensor.addmm_

    def fails(self: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        multiply(self, *arguments, **options)
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(torch.Tensor, "addmm_", fails)
    with pytest.raises(torch.OutOfMemoryError):
        patcher.patch_model(device_to=CPU)
    monkeypatch.undo()
    patcher.unpatch_model(device_to=CPU)
    assert same(base(model), before)


def test_the_picture_itself_is_the_same_with_little_memory(model: Any, loras: list[WeightedLora]) -> None:
    """One step of the real UNet, loaded completely and not at all."""
    x, timestep = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(1)), torch.tensor([500.0])
    context = torch.randn(1, 77, 768, generator=torch.manual_seed(2))

    def step(memory: int) -> torch.Tensor:
        patcher = ours(model, loras)
        patcher.patch_model(device_to=CPU, lowvram_model_memory=memory)
        try:
            with torch.no_grad():
                output: torch.Tensor = patcher.model.diffusion_model(x, timestep, context)
                return output
        finally:
            patcher.unpatch_model(device_to=CPU)

    whole, little = step(0), step(1)
    # The partly loaded one rounds each weight to the dtype of the computation, not to its own.
    assert torch.allclose(whole, little, rtol=0.02, atol=0.02 * float(whole.std()))
    assert re.match(r"torch\.float", str(whole.dtype))


def test_two_arrays_on_the_two_experts_of_a_video_model(folder: Path) -> None:
    """Two models, each with its own entries, used alternately like by the two samplers of Wan 2.2."""
    path = make_checkpoints(folder, ["wan"])["wan"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ComfyUI's own warnings while it loads
        high, low = (comfy.sd.load_diffusion_model(str(path)) for _ in range(2))
    entries = []
    for seed in range(3):
        file = lora_files.wan_lora(folder / f"wan{seed}.safetensors", seed=seed)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        entries.append(WeightedLora(f"lora[{seed}]", file.stem, file, digest, 0.8 - 0.3 * seed, 0))
    before = base(high)
    experts = [(high, entries[:2]), (low, entries[1:])]
    patched = [ours(*each) for each in experts]
    for _ in range(2):
        for expert, (model, own) in zip(patched, experts):
            assert_close(weights(expert), weights(core(model, own)))
    assert not same(weights(patched[0]), weights(patched[1]))
    assert same(base(high), before)
    assert same(base(low), before)


def test_shapes_are_the_checkpoint_s_while_a_run_before_has_widened_a_weight(
    checkpoint: Path, loras: list[WeightedLora], folder: Path
) -> None:
    """BFL's control LoRAs widen a weight. A LoRA for the original size must not be rejected while it is widened."""
    model, before = load(checkpoint), base(load(checkpoint))
    stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    out, inputs = MODULES[stem].shape
    module = {stem: lora_files.Module((out, inputs + 8), has_bias=False)}
    path = lora_files.write_lora(folder / "widening.safetensors", module)
    file = comfy.utils.load_torch_file(str(path))
    file[f"{stem}.reshape_weight"] = torch.tensor([out, inputs + 8])
    widened, _ = comfy.sd.load_lora_for_models(model, None, file, 1.0, 0)
    widened.patch_model(device_to=CPU)
    try:
        shapes = diffusion_weights(model).shapes
        assert len(ours(model, loras).patches) > 30
    finally:
        widened.unpatch_model(device_to=CPU)
    assert shapes == {name: tensor.shape for name, tensor in before.items()}
