"""Every header is read or rejected, without any other exception and with less than 64 MiB.

`python -m tools.fuzz_headers` does the same for any number of headers, guided by coverage if atheris is installed, with
a limit of a second for each. This is the part that is fast enough for every test run, even on a busy machine.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_resolver import detect_architecture, parse_header
from tests.conftest import ROOT
from tools.fuzz_headers import MAX_MEMORY, Finding, cost_of, read_everywhere
from tools.hostile_headers import COSTLY, claimed_size, mutated, seeds, with_length

if TYPE_CHECKING:
    from pathlib import Path

CASES = 2000

# The costliest of their kind, with their outcome. `python -m tools.fuzz_headers --costly` reads all of them.
IN_EVERY_RUN = {
    "deep objects": "headerMalformed",
    "long names, over the limit": "tooManyTensors",
    "shapes that all differ": "tooManyTensors",
    "backslashes and quotes": "not_a_diffusion_lora",
    "a long text of line breaks": "not_a_diffusion_lora",
    "modules without a number, long": "unknown",
    "numbers in names": "unknown",
    "words of other models": "unknown",
}


def test_mutated_headers_are_read_or_refused(tmp_path: Path) -> None:
    chance = random.Random(20261124)
    for number in range(CASES):
        file = mutated(chance.choice(seeds()), chance)
        size = claimed_size(file) if number % 10 else len(file)
        path = tmp_path / "x.safetensors" if number % 50 == 0 else None
        assert read_everywhere(file, size, path).outcome  # raises every unexpected error


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Finding, int]]:
    """What each header took, and by how many bytes the memory of a process that read nothing else grew."""
    folder, files = tmp_path_factory.mktemp("costly"), []
    for number, name in enumerate(IN_EVERY_RUN):
        path, file = folder / f"{number}.safetensors", with_length(COSTLY[name]())
        path.write_bytes(file)
        files.append((path, claimed_size(file)))
    found = dict(zip(IN_EVERY_RUN, cost_of(files)))
    for path, _ in files:
        path.unlink()
    return found


@pytest.mark.parametrize(("name", "outcome"), IN_EVERY_RUN.items())
def test_the_costliest_headers_take_no_64_mib(
    costs: dict[str, tuple[Finding, int]], name: str, outcome: str
) -> None:
    finding, memory = costs[name]
    assert finding.outcome == outcome
    assert memory < MAX_MEMORY, f"{memory >> 20} MiB"


# Parts of names: pieces of real ones, separators, and pieces that are ambiguous.
PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            """
            lora_unet_ lora_te1_ lora_te text_encoder. te2_ unet: diffusion_model. base_model.model. transformer. # _#
            . _ double_blocks_ down_blocks_1_attentions_0 img_mlp_ to_q attn2.to_k 0 12 999 .lora_down.weight .diff
            .lora_A.weight .lora_B.default.weight .alpha _lora.up.weight .hada_w1_a .lokr_w1 .oft_blocks .boft_R .bias
            .a1.weight .b2.weight .dora_scale .diff_b .weight .reshape_weight emb_params first_stage_model.
            model.layers.3.mlp
            """.split()
        ),
        st.text(max_size=4),
    ),
    min_size=1,
    max_size=6,
).map("".join)
SHAPES = st.lists(st.sampled_from([0, 1, 2, 4, 16, 320, 768, 3072, 10**6]), max_size=5)


@given(
    st.dictionaries(PIECES, SHAPES, min_size=1, max_size=8),
    st.dictionaries(PIECES, st.text(max_size=30), max_size=3),
)
@settings(deadline=None, max_examples=200)
def test_any_names_and_shapes_have_a_verdict(shapes: dict[str, list[int]], metadata: dict[str, str]) -> None:
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name, shape in shapes.items():
        start = end
        product = 1
        for size in shape:
            product *= size
        end += product
        header[name] = {"dtype": "U8", "shape": shape, "data_offsets": [start, end]}
    file = with_length(json.dumps(header, separators=(",", ":")))
    read_everywhere(file, len(file) + end)


@given(st.binary(max_size=3000))
@settings(deadline=None, max_examples=300)
def test_bytes_of_any_kind_are_read_or_refused(content: bytes) -> None:
    for file in (content, with_length(content), with_length(b"{" + content)):
        read_everywhere(file, len(file))


def test_the_command_says_what_it_found(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.fuzz_headers", "--count", "200", "--keep", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr, list(tmp_path.iterdir())) == (0, "", [])
    assert ran.stdout.startswith("200 headers: 0 broke a rule, slowest ")


def one_tensor(name: str) -> bytes:
    return with_length(f'{{"{name}":{{"dtype":"F16","shape":[4,8],"data_offsets":[0,64]}}}}')


@pytest.mark.parametrize(
    "name",
    [
        "lora_unet_double_blocks_#_img_mlp_0.lora_down.weight",
        "diffusion_model.double_blocks.#.img_mlp.#.lora_A.weight",
        "lora_unet_down_blocks_1_attentions_#_proj_in.alpha",
        "lora_te1_text_model_encoder_layers_#_mlp_fc1.lora_up.weight",
        "lora_unet" + "_7" * 200 + ".lora_down.weight",
    ],
)
def test_names_that_look_like_a_pattern_are_of_no_model(name: str) -> None:
    file = one_tensor(name)
    found = detect_architecture(parse_header(file, len(file) + 64))
    assert (found.verdict, found.families) == ("unknown", ())


@pytest.mark.parametrize("length", [511, 512])
def test_names_as_long_as_half_a_kilobyte_are_read(length: int) -> None:
    file = one_tensor("a" * length)
    assert list(parse_header(file, len(file) + 64).tensors) == ["a" * length]
