"""comfy-cli's converter from the page's format to API format.

comfy-cli creates a folder for its settings when it is imported. Here it is a temporary one, because the user's home
folder may be read-only.
"""

import tempfile

import pytest

__all__ = ["convert_ui_to_api"]

with tempfile.TemporaryDirectory() as _home, pytest.MonkeyPatch.context() as _environment:
    for _name in ("HOME", "USERPROFILE", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "APPDATA", "LOCALAPPDATA"):
        _environment.setenv(_name, _home)
    from comfy_cli.workflow_to_api import convert_ui_to_api
