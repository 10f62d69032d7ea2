"""What a file's header says about its training, for people to read.

sd-scripts writes `ss_…` (https://github.com/kohya-ss/sd-scripts, train_util.py), ModelSpec `modelspec.…`
(https://github.com/Stability-AI/ModelSpec), and other trainers use their own names. Counts of tags and lists of folders
are long; only the most frequent tags are listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..safe_files import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["common_tags", "training_notes"]

MOST_NOTES = 100
LONGEST_NOTE = 400
"""Characters. Longer notes are only named: lists of folders and buckets, thumbnails, configurations."""

_FIRST = (
    *("modelspec.title", "modelspec.author", "modelspec.date", "modelspec.architecture", "modelspec.license"),
    *("modelspec.usage_hint", "modelspec.description", "modelspec.resolution"),
    *("ss_output_name", "ss_sd_model_name", "ss_base_model_version", "ss_network_module", "ss_network_dim"),
    *(
        "ss_network_alpha",
        "ss_network_args",
        "ss_resolution",
        "ss_num_train_images",
        "ss_num_epochs",
        "ss_epoch",
    ),
    *(
        "ss_steps",
        "ss_max_train_steps",
        "ss_optimizer",
        "ss_learning_rate",
        "ss_unet_lr",
        "ss_text_encoder_lr",
    ),
    *("ss_lr_scheduler", "ss_clip_skip", "ss_noise_offset", "ss_training_comment"),
)
_COUNTED = "ss_tag_frequency"
_SAYS_NOTHING = frozenset({"", "None", "null", "{}", "[]"})


def training_notes(metadata: Mapping[str, str]) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """((name, text) of each note, the most wanted ones first), and the names of notes that are left out."""
    place = {name: number for number, name in enumerate(_FIRST)}
    names = sorted(metadata, key=lambda name: (place.get(name, len(place)), name))
    said = [name for name in names if metadata[name].strip() not in _SAYS_NOTHING and name != _COUNTED]
    short = [(name, metadata[name].strip()) for name in said if len(metadata[name]) <= LONGEST_NOTE]
    long = [name for name in said if len(metadata[name]) > LONGEST_NOTE]
    return tuple(short[:MOST_NOTES]), (*long, *(name for name, _ in short[MOST_NOTES:]))


def common_tags(metadata: Mapping[str, str], most: int = 20) -> tuple[tuple[str, int], ...]:
    """(tag, number of captions with it), the most frequent first; empty if the file has no counts."""
    try:
        folders = parse_json(metadata.get(_COUNTED, "") or "{}")
    except ValueError:
        return ()
    counts: dict[str, int] = {}
    for tags in folders.values() if isinstance(folders, dict) else ():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if isinstance(count, int) and not isinstance(count, bool) and tag.strip():
                counts[tag.strip()] = counts.get(tag.strip(), 0) + count
    return tuple(sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:most])
