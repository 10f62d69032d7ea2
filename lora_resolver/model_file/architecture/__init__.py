"""Detects the model family of a file from its header alone. Names and sizes decide; metadata is only compared.

table.py       the notation of the table, and its index
layouts.py     the modules of each model, by name; flux_, video_, encoder_, recent_ (2025 and 2026) and end_layouts.py
               (first and last layers) have those of related models; unet.py: Stable Diffusion's, computed from numbers
families.py    the table: one row for each size of each family
modules.py     tensors of a LoRA file → the modules that it changes; factors.py: their kind, rank and sizes
matching.py    modules × table → the rows that have them all
detection.py   the verdict on a LoRA; notes.py, metadata.py, other_files.py, sdxl_cuts.py: further information
checkpoint.py  the same for whole models
"""

from .checkpoint import Checkpoint, detect_checkpoint
from .detection import Architecture, detect_architecture
from .families import family_blocks, family_name

__all__ = [
    "Architecture",
    "Checkpoint",
    "detect_architecture",
    "detect_checkpoint",
    "family_blocks",
    "family_name",
]
