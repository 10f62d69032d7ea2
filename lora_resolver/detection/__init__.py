"""What a file was made for, from its header alone: names and sizes decide, metadata is only compared."""

from .detect import Architecture, detect_architecture, family_name

__all__ = ["Architecture", "detect_architecture", "family_name"]
