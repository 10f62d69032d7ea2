"""File names on Linux, macOS, and Windows: a name from a service or a user never refers to another file."""

from __future__ import annotations

import ntpath
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_resolver.config import ResolverConfig
from lora_resolver.errors import InvalidIdentifier, NotFound
from lora_resolver.identifiers import parse_identifier
from lora_resolver.identifiers.file_names import (
    fitted,
    folded,
    name_below,
    safe_file_name,
    safe_folder,
    short_name,
)
from lora_resolver.on_disk.downloads import Downloads
from lora_resolver.resolver import Resolver
from tests.lora_resolver.civitai_faults import FaultyCivitai
from tests.lora_resolver.served_loras import quick_config, write_safetensors
from tools.civitai_server import CatalogueEntry
from tools.huggingface_server import HuggingFaceServer, Repository

LONGEST_BESIDE_IT = ".air-part.json"
WINDOWS_PATH = 259
"""The longest path on Windows if longer ones aren't enabled: MAX_PATH without its NUL."""


@pytest.mark.parametrize(
    ("given_name", "safe"),
    [
        ("CON.safetensors", "_CON.safetensors"),
        ("aux.safetensors", "_aux.safetensors"),
        ("nul.v2.safetensors", "_nul.v2.safetensors"),
        ("nul .v2.safetensors", "_nul .v2.safetensors"),
        ("com1.safetensors", "_com1.safetensors"),
        ("COM¹.safetensors", "_COM¹.safetensors"),
        ("conout$.safetensors", "_conout$.safetensors"),
        ("console.safetensors", "console.safetensors"),
        ("a:b.safetensors", "a_b.safetensors"),
        ('<>:"|?*.safetensors', "lora.safetensors"),
        ("C:\\Windows\\x.safetensors", "x.safetensors"),
        ("\\\\server\\share\\x.safetensors", "x.safetensors"),
        ("../../x.safetensors", "x.safetensors"),
        ("x. . .safetensors", "x.safetensors"),
        (" x .safetensors", "x.safetensors"),
        (".hidden.safetensors", "hidden.safetensors"),
        ("- .x.safetensors", "x.safetensors"),
        ("x\u202egnp.safetensors", "x_gnp.safetensors"),
        ("x\0y\nz.safetensors", "x_y_z.safetensors"),
        ("", "lora.safetensors"),
        ("..", "lora.safetensors"),
        ("x.SAFETENSORS", "x.safetensors"),
        ("x.pt", "x.pt.safetensors"),
        ("To\u0308ne.safetensors", "T\u00f6ne.safetensors"),
    ],
)
def test_a_name_from_a_service_is_safe_on_every_system(given_name: str, safe: str) -> None:
    assert safe_file_name(given_name) == safe


def reserved(name: str) -> bool:
    """Whether Windows reserves the name for a device, if this Python can tell."""
    return bool(getattr(ntpath, "isreserved", lambda _: False)(name))


@given(st.text(max_size=400))
def test_whatever_a_service_says_is_one_file_in_its_folder(name: str) -> None:
    safe = safe_file_name(name)
    assert safe_file_name(safe) == safe
    assert PurePosixPath(safe).name == PureWindowsPath(safe).name == safe
    assert not PureWindowsPath(safe).drive
    assert not reserved(safe)
    assert safe == unicodedata.normalize("NFC", safe)
    assert not set(safe) & set('<>:"/\\|?*')
    assert len((safe + LONGEST_BESIDE_IT).encode()) <= 255
    assert safe.removesuffix(".safetensors").strip(" .") == safe.removesuffix(".safetensors")


def test_long_names_with_one_beginning_stay_apart() -> None:
    names = {safe_file_name(f"{'流' * 300}{number}.safetensors") for number in range(3)}
    assert len(names) == 3
    assert all(len(name.encode()) < 200 for name in names)


@pytest.mark.parametrize(
    ("folder", "safe"),
    [
        ("120096@135931", "120096@135931"),
        ("ink-org/ink.lora@refs/pr/3", "ink-org/ink.lora@refs/pr/3"),
        ("con/repo@main", "_con/repo@main"),
        ("org/repo@v1.", "org/repo@v1"),
        ("Aux.org/nul@main/com1", "_Aux.org/nul@main/_com1"),
        ("a\\b/c:d", "a_b/c_d"),
        ("org/../..", "org/../.."),
    ],
)
def test_a_folder_from_a_service_is_safe_on_every_system(folder: str, safe: str) -> None:
    assert safe_folder(folder) == safe
    assert safe_folder(safe) == safe


@pytest.mark.parametrize(
    "folder",
    [
        r"C:\Users\somebody\AppData\Local\ComfyUI\models\loras\air\civitai\120096@135931",
        "D:\\" + "deep\\" * 35,
        r"\\server\share\models\loras\air\huggingface\organisation\repository@main",
    ],
)
def test_on_windows_the_whole_path_is_short_enough(folder: str) -> None:
    there = PureWindowsPath(folder)
    names = {fitted(there, f"{'a' * 139}{number}.safetensors") for number in range(3)}
    assert len(names) == 3
    for name in names:
        assert name.endswith(".safetensors")
        assert len(str(there / (name + LONGEST_BESIDE_IT))) <= WINDOWS_PATH
    assert fitted(there, "pixel.safetensors") == "pixel.safetensors"


def test_elsewhere_a_long_folder_shortens_nothing() -> None:
    name = f"{'a' * 140}.safetensors"
    assert fitted(PurePosixPath("/" + "deep/" * 100), name) == name


def test_what_is_just_short_enough_keeps_its_name() -> None:
    assert safe_file_name(f"{'a' * 150}.safetensors") == f"{'a' * 150}.safetensors"
    assert len(safe_file_name(f"{'a' * 151}.safetensors")) == 150 + len(".safetensors")
    folder = PureWindowsPath("D:\\" + "a" * 97)
    longest = WINDOWS_PATH - len(str(folder / LONGEST_BESIDE_IT)) - len(".safetensors")
    for length, stays in ((longest, True), (longest + 1, False)):
        name = f"{'b' * length}.safetensors"
        assert (fitted(folder, name) == name) is stays
        assert len(str(folder / (fitted(folder, name) + LONGEST_BESIDE_IT))) <= WINDOWS_PATH


def test_a_short_name_stays_and_a_long_one_keeps_its_end() -> None:
    assert (
        short_name("civitai+120096@135931+pixel.safetensors", 100)
        == "civitai+120096@135931+pixel.safetensors"
    )
    one, other = (short_name(f"{beginning}{'流' * 90}.safetensors", 100) for beginning in "ab")
    assert one != other
    assert len(one.encode()) <= 100
    assert one.endswith("流.safetensors")


@pytest.mark.parametrize(
    ("path", "folders", "name"),
    [
        (r"C:\ComfyUI\models\loras\sub\x.safetensors", [r"c:\comfyui\models\loras"], "sub/x.safetensors"),
        (r"C:/ComfyUI/models/loras/x.safetensors", [r"C:\ComfyUI\models\loras"], "x.safetensors"),
        (r"\\nas\loras\sub\x.safetensors", [r"\\NAS\loras"], "sub/x.safetensors"),
        (r"\\nas\loras\x.safetensors", [r"\\nas\other", "D:\\"], None),
        (r"D:\x.safetensors", ["D:\\"], "x.safetensors"),
        (r"D:\lorasX\x.safetensors", [r"D:\loras"], None),
    ],
)
def test_windows_paths_below_a_folder(path: str, folders: list[str], name: str | None) -> None:
    assert name_below(PureWindowsPath(path), [PureWindowsPath(each) for each in folders]) == name


def test_linux_paths_below_a_folder() -> None:
    folders = [PurePosixPath("/models/Loras"), PurePosixPath("/models")]
    assert name_below(PurePosixPath("/models/Loras/a/x.safetensors"), folders) == "a/x.safetensors"
    assert name_below(PurePosixPath("/models/loras/x.safetensors"), folders) == "loras/x.safetensors"
    assert name_below(PurePosixPath("/other/x.safetensors"), folders) is None
    assert name_below(PurePosixPath("/models/../other/x.safetensors"), folders) is None


def test_a_link_to_the_folder_is_the_folder(tmp_path: Path) -> None:
    (tmp_path / "disk" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    path = tmp_path / "disk" / "sub" / "x.safetensors"
    assert name_below(path, [tmp_path / "link"]) == "sub/x.safetensors"
    assert name_below(tmp_path / "link" / "sub" / "x.safetensors", [tmp_path / "disk"]) == "sub/x.safetensors"


# From users: `local:` names.


@pytest.fixture
def loras(tmp_path: Path) -> Path:
    folder = tmp_path / "loras"
    write_safetensors(folder / "Styles" / "Pixel.safetensors", 400, seed=1)
    write_safetensors(folder / unicodedata.normalize("NFD", "Töne.safetensors"), 400, seed=2)
    write_safetensors(folder / "CON.safetensors", 400, seed=3)
    return folder


def found(folder: Path, name: str) -> Path | None:
    return Resolver(quick_config(folder)).find_local(f"local:{name}")


@pytest.mark.parametrize(
    "name",
    [
        "Styles/Pixel.safetensors",
        "Styles\\Pixel.safetensors",
        "styles/pixel.safetensors",
        "STYLES\\PIXEL.SAFETENSORS",
    ],
)
def test_a_local_name_in_whatever_letters_and_separators(loras: Path, name: str) -> None:
    path = found(loras, name)
    assert path is not None
    assert path.samefile(loras / "Styles" / "Pixel.safetensors")


def test_accents_composed_or_not_name_one_file(loras: Path) -> None:
    for form in ("NFC", "NFD"):
        assert found(loras, unicodedata.normalize(form, "töne.safetensors")) is not None
    assert folded(unicodedata.normalize("NFC", "STRASSE Ö")) == folded(
        unicodedata.normalize("NFD", "straße ö")
    )


def test_a_name_that_windows_keeps_for_a_device_is_found_where_there_is_such_a_file(loras: Path) -> None:
    assert found(loras, "CON.safetensors") is not None


def test_of_two_that_differ_in_case_alone_the_exact_one_counts(loras: Path) -> None:
    other = write_safetensors(loras / "Styles" / "PIXEL.safetensors", 400, seed=4)
    if len(list(other.parent.iterdir())) == 1:
        return  # the same file on this disk
    assert found(loras, "Styles/PIXEL.safetensors") == other
    assert found(loras, "Styles/Pixel.safetensors") == loras / "Styles" / "Pixel.safetensors"
    with pytest.raises(NotFound) as caught:
        Resolver(quick_config(loras)).resolve("local:Styles/pixel.safetensors")
    assert "local:Styles/PIXEL.safetensors or local:Styles/Pixel.safetensors" in caught.value.remedy


@pytest.mark.parametrize(
    "name",
    [
        "C:\\loras\\x.safetensors",
        "C:x.safetensors",
        "/loras/x.safetensors",
        "\\\\server\\share\\x.safetensors",
        "//server/share/x.safetensors",
        "../x.safetensors",
        "a/..\\x.safetensors",
        "a./x.safetensors",
        "a /x.safetensors",
        "x.safetensors ./y.safetensors",
        "x.safetensors:stream.safetensors",
        f"{'流' * 90}.safetensors",
        "a\0.safetensors",
    ],
)
def test_local_names_that_lead_elsewhere_on_some_system_are_refused(name: str) -> None:
    with pytest.raises(InvalidIdentifier):
        parse_identifier(f"local:{name}")


def test_a_link_that_leads_in_a_circle_is_walked_once(loras: Path) -> None:
    for number in range(3):
        (loras / f"circle{number}").symlink_to(loras)
    with pytest.raises(NotFound, match=r"nothing\.safetensors"):
        Resolver(quick_config(loras)).resolve("local:nothing.safetensors")


def test_a_linked_folder_s_files_go_by_the_link_s_name(loras: Path, tmp_path: Path) -> None:
    write_safetensors(tmp_path / "disk" / "far.safetensors", 400)
    (loras / "linked").symlink_to(tmp_path / "disk")
    assert found(loras, "linked/far.safetensors") == loras / "linked" / "far.safetensors"


# From services: names of downloads.


@pytest.mark.parametrize(
    ("named", "on_disk"),
    [
        ("CON.safetensors", "_CON.safetensors"),
        ("a:b.safetensors", "a_b.safetensors"),
        (f"{'流' * 80}.safetensors", None),
    ],
)
def test_a_download_gets_a_safe_name(tmp_path: Path, named: str, on_disk: str | None) -> None:
    file = write_safetensors(tmp_path / "served" / named, 5_000)
    with FaultyCivitai([CatalogueEntry(7, 70, "Odd", file)]) as server:
        config = quick_config(tmp_path / "loras", civitai_url=server.url)
        lora = Resolver(config).resolve("civitai:7@70")
        assert lora.path.name == (on_disk or safe_file_name(named))
        assert Resolver(config).find_local("civitai:7@70") == lora.path


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Repository]:
    """Repositories with names that some systems don't allow, or can't distinguish."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    files = [write_safetensors(tmp_path / "served" / f"{n}.safetensors", 5_000, seed=n) for n in range(3)]
    composed, decomposed = (unicodedata.normalize(form, "é.safetensors") for form in ("NFC", "NFD"))
    return [
        Repository("con/nul", {"aux/prn.safetensors": files[0]}),
        Repository("org/twins", {composed: files[1], decomposed: files[2]}),
        Repository("org/deep", {"/".join(["流" * 40] * 6) + "/x.safetensors": files[0]}),
    ]


def test_repositories_with_the_names_of_devices(shelf: list[Repository], tmp_path: Path) -> None:
    with HuggingFaceServer(shelf) as hub:
        config = quick_config(tmp_path / "loras", hf_endpoint=hub.url, civitai_url="http://localhost:9")
        lora = Resolver(config).resolve("huggingface:con/nul@main/aux/prn.safetensors")
        inside = lora.path.relative_to(config.download_dir / "air" / "huggingface").as_posix()
        assert inside == "_con/nul@main/_aux/_prn.safetensors"
        assert Resolver(config).find_local("huggingface:con/nul@main/aux/prn.safetensors") == lora.path


def test_two_files_that_would_get_one_name_get_two(shelf: list[Repository], tmp_path: Path) -> None:
    with HuggingFaceServer(shelf) as hub:
        config = quick_config(tmp_path / "loras", hf_endpoint=hub.url, civitai_url="http://localhost:9")
        names = [f"huggingface:org/twins@main/{path}" for path in hub.repositories["org/twins"].files]
        both = Resolver(config).resolve_all(names)
        assert len({lora.sha256 for lora in both}) == len({folded(str(lora.path)) for lora in both}) == 2
        again = Resolver(config).resolve_all(names)
        assert [lora.path for lora in again] == [lora.path for lora in both]
        assert not any(lora.downloaded for lora in again)


def test_deep_folders_become_one_short_one(shelf: list[Repository], tmp_path: Path) -> None:
    with HuggingFaceServer(shelf) as hub:
        config = quick_config(tmp_path / "loras", hf_endpoint=hub.url, civitai_url="http://localhost:9")
        (path,) = hub.repositories["org/deep"].files
        lora = Resolver(config).resolve(f"huggingface:org/deep@main/{path}")
        assert len(lora.path.relative_to(config.download_dir).as_posix().encode()) < 200
        locks = (config.download_dir / "air" / ".locks").iterdir()
        assert all(len(lock.name.encode()) < 120 for lock in locks)


def test_a_lock_s_name_is_short_whatever_the_file_s_is(tmp_path: Path) -> None:
    store = Downloads(ResolverConfig(tmp_path))
    locks = [
        store.lock_file(store.folder("huggingface", f"org/{letter}@main") / f"{'流' * 50}.safetensors")
        for letter in "ab"
    ]
    assert locks[0] != locks[1]
    assert all(len(lock.name.encode()) <= 120 for lock in locks)
