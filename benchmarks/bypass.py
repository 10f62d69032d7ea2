"""A forward of one layer with N bypass LoRAs: ours, stacked into one pair of products, compared with its peers.

plain            the layer alone
separate         N separate products, as N bypass loaders would compute if each kept the LoRAs of the others
core's bypass    ComfyUI's own, which supports one LoRA (N=1; if the runtime has it)
core patched     ComfyUI's chain, patched at each forward, as for weights that do not stay on the device
ours patched     one stacked patch at each forward, likewise

Also compared are the expected time, which is that of the plain forward plus the share of operations
Σr·(in + out) / (in·out), and the errors against float64. If there is a GPU, everything is also measured on it.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tests.nodes.conftest  # noqa: F401 - imports ComfyUI and the pack, as the node tests do

# isort: split
import comfy.lora
import comfy.weight_adapter
import torch
from air_lora_pack.nodes.patching import application
from air_lora_pack.nodes.patching.bypass_layers import Factors, parts_of
from air_lora_pack.nodes.patching.key_mapping import Target
from air_lora_pack.nodes.patching.stack import WeightedPatches, stack_patches

from benchmarks.full_models import CPU, make_model, write_lora
from benchmarks.race import race, room_on_disk
from benchmarks.results import BenchmarkResult, lower_is_better

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LAYERS = {
    "SD1.5 320×320": (320, 320),
    "SDXL 1280×1280": (1280, 1280),
    "FLUX 3072×3072": (3072, 3072),
    "FLUX 12288×3072": (12288, 3072),
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TOKENS = (1024, 4096)
LARGE = 12288 * 1024
"""Above this product of outputs and tokens, only one row is measured, because such a layer takes a second on a CPU."""
STRENGTH, KEY = 0.5, "layer.weight"


def run() -> list[BenchmarkResult]:
    """Returns rows for each layer, dtype, number of tokens, rank, and number of LoRAs."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    with torch.inference_mode():
        return [
            *_whole_unet(),
            *(row for device in devices for cell in _cells() for row in _race(device, *cell)),
        ]


def _cells() -> Iterator[tuple[str, str, int, int, int]]:
    for layer in LAYERS:
        for dtype in DTYPES:
            for tokens in TOKENS:
                is_large = LAYERS[layer][0] * tokens > LARGE
                for rank, counts in ((16, (5,)),) if is_large else ((16, (1, 5, 10)), (64, (5,))):
                    for count in counts:
                        yield layer, dtype, tokens, rank, count


def _race(
    device: str, name: str, dtype_name: str, tokens: int, rank: int, count: int
) -> list[BenchmarkResult]:
    outputs, inputs = LAYERS[name]
    made = {"device": device, "dtype": DTYPES[dtype_name]}
    layer = torch.nn.Linear(inputs, outputs, bias=False, **made)
    x = torch.randn(tokens, inputs).to(**made)
    pairs = [(torch.randn(outputs, rank) * 0.02, torch.randn(rank, inputs) * 0.02) for _ in range(count)]
    strengths = torch.full((count,), STRENGTH)
    bypass = parts_of([Factors(n, None, up, down, 1.0) for n, (up, down) in enumerate(pairs)])
    own = [(up.to(**made), down.to(**made)) for up, down in pairs]
    adapters = [
        comfy.weight_adapter.LoRAAdapter(set(), (up, down, None, None, None, None)) for up, down in own
    ]
    chain = [(STRENGTH, adapter, 1.0, None, None) for adapter in adapters]
    entries = [
        WeightedPatches(f"lora[{n}]", "", f"{n:064}", STRENGTH, {Target(KEY): adapter})
        for n, adapter in enumerate(adapters)
    ]
    stacked = [(1.0, stack_patches(entries)[KEY], 1.0, None, None)]

    def separate() -> torch.Tensor:
        y = layer(x)
        for up, down in own:
            y = y + STRENGTH * ((x @ down.T) @ up.T)
        return y

    def at_each_forward(patches: list[Any]) -> torch.Tensor:
        weight = layer.weight.to(dtype=layer.weight.dtype, copy=True)
        weight = comfy.lora.calculate_weight(patches, weight, KEY, intermediate_dtype=weight.dtype)
        return torch.nn.functional.linear(x, weight)

    ways: dict[str, Callable[[], Any]] = {
        "ours": lambda: bypass.add(layer, x, layer(x), strengths),
        "plain": lambda: layer(x),
        "separate": separate,
        "core patched": lambda: at_each_forward(chain),
        "ours patched": lambda: at_each_forward(stacked),
    }
    if count == 1 and hasattr(adapters[0], "h"):
        adapters[0].is_conv, adapters[0].conv_dim, adapters[0].kw_dict, adapters[0].multiplier = (
            False,
            0,
            {},
            STRENGTH,
        )
        ways["core's bypass"] = lambda: adapters[0].g(layer(x) + adapters[0].h(x, None))
    if device == "cuda":
        ways = {way: _synchronized(work) for way, work in ways.items()}
    race(ways, dict.fromkeys(ways, 1))
    seconds = race(ways, dict.fromkeys(ways, 7 if outputs * tokens < LARGE else 3))
    what = f"beside, {name} {dtype_name}{' GPU' if device == 'cuda' else ''}, {tokens} tokens, rank {rank}, N={count}"
    share = count * rank * (inputs + outputs) / (inputs * outputs)
    expected = [(1 + share) * each for each in seconds["plain"]]
    _show_errors(what, layer, x, pairs, ways)
    rows = [
        lower_is_better(f"{what}, {way}", seconds["ours"], seconds[way], way, "s")
        for way in ways
        if way != "ours"
    ]
    return [*rows, lower_is_better(f"{what}, by operations", seconds["ours"], expected, "expected", "s")]


def _synchronized(work: Callable[[], Any]) -> Callable[[], Any]:
    def waited() -> Any:
        result = work()
        torch.cuda.synchronize()
        return result

    return waited


def _show_errors(what: str, layer: Any, x: Any, pairs: Any, ways: dict[str, Callable[[], Any]]) -> None:
    weight = layer.weight.double() + sum(
        STRENGTH * (up.double() @ down.double()).to(x.device) for up, down in pairs
    )
    exact = x.double() @ weight.T
    errors = {
        way: float((work().double() - exact).norm() / exact.norm())
        for way, work in ways.items()
        if way != "plain"
    }
    print(f"  {what}: error " + ", ".join(f"{way} {error:.1e}" for way, error in errors.items()), flush=True)


def _whole_unet() -> list[BenchmarkResult]:
    """SD 1.5's UNet at 512×512, with and without five bypass LoRAs of rank 16 on attention and feed-forward layers.

    One row includes inserting and copying the LoRAs before a run's first forward. The other measures only a forward.
    """
    model, other = make_model("SD1.5"), make_model("SD1.5")
    for each in (model, other):
        each.model.diffusion_model.float().dtype = torch.float32
    with tempfile.TemporaryDirectory(dir=room_on_disk(2 << 30)) as folder:
        files = [
            write_lora(Path(folder) / f"{n}.safetensors", model, n, convolutions=False, rank=16)
            for n in range(5)
        ]
        loras = [
            application.WeightedLora(
                f"lora[{n}]", file.stem, file, hashlib.sha256(file.read_bytes()).hexdigest(), STRENGTH, 0.0
            )
            for n, file in enumerate(files)
        ]
        beside = application.apply_loras(model, None, loras, skip_mismatches=False, apply_as="bypass").model
    x, t, words = torch.randn(1, 4, 64, 64), torch.tensor([500.0]), torch.randn(1, 77, 768)

    def forward(own: Any = model) -> None:
        own.model.diffusion_model(x, t, context=words)

    def plain() -> None:
        forward(other)

    def with_loras() -> None:
        beside.patch_model(device_to=CPU)
        forward()
        beside.unpatch_model(device_to=CPU)

    what = "beside, SD1.5's whole UNet fp32, 512×512, rank 16, N=5"
    rows = []
    for name, ours in (("put in and forward", with_loras), ("forward alone", forward)):
        if ours is forward:
            beside.patch_model(device_to=CPU)
        ways: dict[str, Callable[[], None]] = {"ours": ours, "plain": plain}
        race(ways, dict.fromkeys(ways, 1))
        seconds = race(ways, dict.fromkeys(ways, 7))
        rows.append(lower_is_better(f"{what}, {name}", seconds["ours"], seconds["plain"], "plain", "s"))
    beside.unpatch_model(device_to=CPU)
    return rows


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
