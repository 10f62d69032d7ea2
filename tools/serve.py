"""`make serve`: starts ComfyUI with the pack, the showcase checkpoint, and a local CivitAI, to try the pack by hand."""

from __future__ import annotations

import os
import sys
import webbrowser

from tools.comfy_process import ComfyProcess
from tools.runtime import RUNTIME, SetupError, comfyui_in_use, end_well_when_terminated, has_gpu, say
from tools.stage import ShowcaseStage

DEFAULT_PORT = 8188


def main() -> int:
    """Serves until Ctrl-C."""
    end_well_when_terminated()
    try:
        comfyui = comfyui_in_use()
        folders = () if comfyui.own else (comfyui.path / "models",)
        port = _port()
        with ShowcaseStage(RUNTIME / "serve") as stage:
            say("Starting ComfyUI…")
            process = ComfyProcess(
                comfyui,
                stage.base,
                environment=stage.environment,
                model_folders=folders,
                port=port,
                gpu=has_gpu(comfyui),
            )
            with process:
                address = process.url + stage.page
                say(f"\nComfyUI with AIR LoRA: {address}   (press Ctrl+C to stop it)")
                say(f"Its log: {process.log}")
                say(
                    "Styles of the local server, which doesn't contact CivitAI, for the node Apply LoRA Array:"
                )
                for style in stage.styles:
                    say(f'  {{"model": "{style.air}", "weight": 0.75}}   {style.name}')
                say(f'  {{"model": "{stage.foreign_air}", "weight": 0.75}}   for SDXL: is rejected')
                if _has_a_screen():
                    webbrowser.open(address)
                status = process.wait()
                say(
                    f"\nComfyUI ended by itself, with exit status {status}. The end of its log:\n{process.log_tail(12)}"
                )
                return status
    except SetupError as error:
        say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        say("\nStopped.")
        return 0


def _port() -> int:
    named = os.environ.get("PORT", "").strip() or str(DEFAULT_PORT)
    if not (named.isascii() and named.isdecimal() and 0 < int(named) < 65536):
        raise SetupError(f"PORT={named}: a port is a number from 1 to 65535.")
    return int(named)


def _has_a_screen() -> bool:
    """Whether the user can see a browser that is started here. BROWSER names one; if empty, none is opened."""
    if "BROWSER" in os.environ:
        return bool(os.environ["BROWSER"])
    if "SSH_CONNECTION" in os.environ:
        return False
    shown = sys.platform in ("win32", "darwin") or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    return shown and sys.stdout.isatty()


if __name__ == "__main__":
    raise SystemExit(main())
