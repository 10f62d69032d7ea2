"""Resolves the identifier of a LoRA to a verified file: the `lora` array, identifiers, sources, downloads, headers.

These names are the public API. Other programs use them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .array.block_weights import COMMUNITY_PRESETS, STRUCTURAL_PRESETS, BlockWeights
    from .array.image_request import Embedding, ImageRequest, LeftOut, parse_image_request
    from .array.lora_array import LoraEntry, extensions_of, format_lora_array, parse_lora_array
    from .array.schedule import Schedule
    from .config import PICTURE_LEVELS, SHORTEST_TOKEN, ResolverConfig
    from .errors import (
        AccessDenied,
        HostedOnly,
        InvalidIdentifier,
        InvalidInput,
        InvalidLoraArray,
        LoraResolverError,
        Mismatch,
        NotFound,
        Offline,
        SeveralErrors,
        StorageFailed,
        TransferFailed,
        Unavailable,
        VerificationFailed,
        one_or_several,
    )
    from .identifiers import Identifier, parse_identifier
    from .identifiers.file_names import folded, is_safetensors, name_below, safe_file_name, without_ending
    from .model_file.architecture import (
        Architecture,
        Checkpoint,
        detect_architecture,
        detect_checkpoint,
        family_blocks,
        family_name,
    )
    from .model_file.architecture.base_models import declared_families, declared_otherwise
    from .model_file.blocks import block_rows
    from .model_file.gguf_header import read_gguf_header
    from .model_file.pickle_header import read_pickle_header
    from .model_file.safetensors_header import SafetensorsHeader, TensorInfo, parse_header, read_header
    from .model_file.scale import MetadataAlphas, alphas_of_metadata
    from .model_file.suggested_weight import SuggestedWeight
    from .model_file.tensor_names import place_of, plain_name, split_name
    from .model_file.training_notes import common_tags, training_notes
    from .on_disk.library import LibraryFile
    from .on_disk.preview import find_preview
    from .records import FileRecord, LoraRecord, PeekedLora, Progress, ResolvedLora
    from .resolver import Resolver
    from .safe_files import (
        FileState,
        file_state,
        open_regular,
        open_unbuffered,
        parse_json,
        read_bounded,
        state_of,
        storage_error,
        whole_number,
        write_atomically,
    )
    from .settings.presets import PRESETS_FILE, Preset, delete_preset, read_presets, save_preset
    from .settings.settings_file import (
        SETTING_KEYS,
        SETTINGS_FILE,
        read_settings,
        save_settings,
        with_settings,
    )
    from .sources import search as search
    from .sources.model_page import ModelPage, VersionPage
    from .sources.search import Listing
    from .task_protocol import (
        Answer,
        digest_of,
        errors_of,
        failed,
        frame_of,
        merged,
        new_uuid,
        sentences,
        status_of,
        task_uuid,
        tasks_of,
    )
    from .text import nearest
    from .workflows.named_for_sites import is_for_sites, strongest_rows, with_loaders_for_sites
    from .workflows.named_loras import NamedLora, NamedLoras, loras_in
    from .workflows.other_loaders import loaders_of_others
    from .workflows.pasted import DEFAULT_WEIGHT, Pasted, PastedLora, read_dropped, read_pasted
    from .workflows.picture_record import (
        HANDED_ON,
        HASHES_NAME,
        RECORD_NAME,
        RecordedLora,
        format_record,
        lora_hashes,
        read_record,
    )
    from .workflows.prompt_tags import tags_as_array

__all__ = [
    "COMMUNITY_PRESETS",
    "DEFAULT_WEIGHT",
    "HANDED_ON",
    "HASHES_NAME",
    "PICTURE_LEVELS",
    "PRESETS_FILE",
    "RECORD_NAME",
    "SETTINGS_FILE",
    "SETTING_KEYS",
    "SHORTEST_TOKEN",
    "STRUCTURAL_PRESETS",
    "AccessDenied",
    "Answer",
    "Architecture",
    "BlockWeights",
    "Checkpoint",
    "Embedding",
    "FileRecord",
    "FileState",
    "HostedOnly",
    "Identifier",
    "ImageRequest",
    "InvalidIdentifier",
    "InvalidInput",
    "InvalidLoraArray",
    "LeftOut",
    "LibraryFile",
    "Listing",
    "LoraEntry",
    "LoraRecord",
    "LoraResolverError",
    "MetadataAlphas",
    "Mismatch",
    "ModelPage",
    "NamedLora",
    "NamedLoras",
    "NotFound",
    "Offline",
    "Pasted",
    "PastedLora",
    "PeekedLora",
    "Preset",
    "Progress",
    "RecordedLora",
    "ResolvedLora",
    "Resolver",
    "ResolverConfig",
    "SafetensorsHeader",
    "Schedule",
    "SeveralErrors",
    "StorageFailed",
    "SuggestedWeight",
    "TensorInfo",
    "TransferFailed",
    "Unavailable",
    "VerificationFailed",
    "VersionPage",
    "alphas_of_metadata",
    "block_rows",
    "common_tags",
    "declared_families",
    "declared_otherwise",
    "delete_preset",
    "detect_architecture",
    "detect_checkpoint",
    "digest_of",
    "errors_of",
    "extensions_of",
    "failed",
    "family_blocks",
    "family_name",
    "file_state",
    "find_preview",
    "folded",
    "format_lora_array",
    "format_record",
    "frame_of",
    "is_for_sites",
    "is_safetensors",
    "loaders_of_others",
    "lora_hashes",
    "loras_in",
    "merged",
    "name_below",
    "nearest",
    "new_uuid",
    "one_or_several",
    "open_regular",
    "open_unbuffered",
    "parse_header",
    "parse_identifier",
    "parse_image_request",
    "parse_json",
    "parse_lora_array",
    "place_of",
    "plain_name",
    "read_bounded",
    "read_dropped",
    "read_gguf_header",
    "read_header",
    "read_pasted",
    "read_pickle_header",
    "read_presets",
    "read_record",
    "read_settings",
    "safe_file_name",
    "save_preset",
    "save_settings",
    "search",
    "sentences",
    "split_name",
    "state_of",
    "status_of",
    "storage_error",
    "strongest_rows",
    "tags_as_array",
    "task_uuid",
    "tasks_of",
    "training_notes",
    "whole_number",
    "with_loaders_for_sites",
    "with_settings",
    "without_ending",
    "write_atomically",
]

_NAMES = {
    ".model_file.architecture": (
        "Architecture",
        "Checkpoint",
        "detect_architecture",
        "detect_checkpoint",
        "family_blocks",
        "family_name",
    ),
    ".model_file.architecture.base_models": ("declared_families", "declared_otherwise"),
    ".config": ("PICTURE_LEVELS", "SHORTEST_TOKEN", "ResolverConfig"),
    ".errors": (
        "AccessDenied",
        "HostedOnly",
        "InvalidIdentifier",
        "InvalidInput",
        "InvalidLoraArray",
        "LoraResolverError",
        "Mismatch",
        "NotFound",
        "Offline",
        "SeveralErrors",
        "StorageFailed",
        "TransferFailed",
        "Unavailable",
        "VerificationFailed",
        "one_or_several",
    ),
    ".identifiers.file_names": ("folded", "is_safetensors", "name_below", "safe_file_name", "without_ending"),
    ".model_file.blocks": ("block_rows",),
    ".model_file.gguf_header": ("read_gguf_header",),
    ".identifiers": ("Identifier", "parse_identifier"),
    ".array.image_request": ("Embedding", "ImageRequest", "LeftOut", "parse_image_request"),
    ".on_disk.library": ("LibraryFile",),
    ".array.block_weights": ("COMMUNITY_PRESETS", "STRUCTURAL_PRESETS", "BlockWeights"),
    ".array.schedule": ("Schedule",),
    ".array.lora_array": ("LoraEntry", "extensions_of", "format_lora_array", "parse_lora_array"),
    ".workflows.pasted": ("DEFAULT_WEIGHT", "Pasted", "PastedLora", "read_dropped", "read_pasted"),
    ".model_file.pickle_header": ("read_pickle_header",),
    ".workflows.picture_record": (
        "HANDED_ON",
        "HASHES_NAME",
        "RECORD_NAME",
        "RecordedLora",
        "format_record",
        "lora_hashes",
        "read_record",
    ),
    ".settings.presets": ("PRESETS_FILE", "Preset", "delete_preset", "read_presets", "save_preset"),
    ".on_disk.preview": ("find_preview",),
    ".records": ("FileRecord", "LoraRecord", "PeekedLora", "Progress", "ResolvedLora"),
    ".resolver": ("Resolver",),
    ".safe_files": (
        "FileState",
        "file_state",
        "open_regular",
        "open_unbuffered",
        "parse_json",
        "read_bounded",
        "state_of",
        "storage_error",
        "whole_number",
        "write_atomically",
    ),
    ".model_file.safetensors_header": ("SafetensorsHeader", "TensorInfo", "parse_header", "read_header"),
    ".model_file.scale": ("MetadataAlphas", "alphas_of_metadata"),
    ".model_file.tensor_names": ("place_of", "plain_name", "split_name"),
    ".model_file.suggested_weight": ("SuggestedWeight",),
    ".model_file.training_notes": ("common_tags", "training_notes"),
    ".sources.model_page": ("ModelPage", "VersionPage"),
    ".task_protocol": (
        "Answer",
        "digest_of",
        "errors_of",
        "failed",
        "frame_of",
        "merged",
        "new_uuid",
        "sentences",
        "status_of",
        "task_uuid",
        "tasks_of",
    ),
    ".sources.search": ("search", "Listing"),
    ".settings.settings_file": (
        "SETTING_KEYS",
        "SETTINGS_FILE",
        "read_settings",
        "save_settings",
        "with_settings",
    ),
    ".workflows.named_for_sites": ("is_for_sites", "strongest_rows", "with_loaders_for_sites"),
    ".workflows.named_loras": ("NamedLora", "NamedLoras", "loras_in"),
    ".text": ("nearest",),
    ".workflows.other_loaders": ("loaders_of_others",),
    ".workflows.prompt_tags": ("tags_as_array",),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> object:
    # ComfyUI imports every pack before it opens its page. Modules are imported on first use to keep the start fast.
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(_MODULE_OF[name], __name__)
    value = module if name == "search" else getattr(module, name)
    globals()[name] = value
    return value
