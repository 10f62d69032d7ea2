"""All packs can be imported, and ours doesn't replace other packs' nodes, routes, or extensions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests_beside.conftest import PACKS

if TYPE_CHECKING:
    from tests_beside.conftest import Beside


def failed_imports(beside: Beside) -> set[str]:
    return set(re.findall(r"\(IMPORT FAILED\): \S*/custom_nodes/(\S+)", beside.log))


def test_whoever_imports_without_us_imports_with_us(with_ours: Beside, without: Beside) -> None:
    failed = failed_imports(without)
    print(f"\npacks: {', '.join(sorted(path.name for path in PACKS.iterdir() if path.is_dir()))}")
    print(f"not imported, with or without us: {', '.join(sorted(failed)) or 'none'}")
    assert failed_imports(with_ours) == failed


def test_no_node_of_another_pack_changes(with_ours: Beside, without: Beside) -> None:
    before, after = without.client.get("/object_info"), with_ours.client.get("/object_info")
    ours = {name for name in after if name.startswith("AirLora")}
    assert len(ours) >= 8
    assert after.keys() - ours == before.keys()
    inputs = {name: (facts["input_order"], facts["output"]) for name, facts in before.items()}
    assert {name: (after[name]["input_order"], after[name]["output"]) for name in before} == inputs


def test_no_extension_of_another_pack_changes(with_ours: Beside, without: Beside) -> None:
    before, after = without.client.get("/extensions"), with_ours.client.get("/extensions")
    ours = {path for path in after if path.startswith("/extensions/air-lora/")}
    assert ours
    assert set(after) - ours == set(before)
