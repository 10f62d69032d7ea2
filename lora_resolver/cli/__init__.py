"""The command line: one module for each sub-command, with `add_arguments(parser)` and `run(arguments) -> int`.

Exit status: 0 done, 1 something failed (each failure named), 2 bad usage or bad input.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from ..errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "main"]

# Module name and what `--help` says. A module is imported only when it is asked for: `parse` needs no `requests`.
COMMANDS = {
    "parse": "read a lora array and print it in its shortest form",
    "saved": "say which LoRAs a picture or a workflow was made with, as an array, with their hashes",
    "migrate": "turn the rows of Power Lora Loader, Lora Manager and others into arrays",
    "resolve": "find or download LoRAs, verify them, and print where they are",
    "prefetch": "download what arrays, workflows and pictures need, or say what that would be",
    "inspect": "say what .safetensors files are, from their headers",
    "verify": "read downloaded files again and hold them against their SHA-256",
    "list": "list the LoRAs in the configured folders",
    "prune": "remove what interrupted downloads and deleted files left",
}


def main(argv: Sequence[str]) -> int:
    """Run one sub-command and return the exit status. Bad usage ends in SystemExit(2), as argparse has it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a console of another encoding must not turn a message into a crash
            stream.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(
        prog="python -m lora_resolver",
        description="Turns the names of LoRAs into verified files.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose, allow_abbrev=False)
        if argv and argv[0] == name:
            module = import_module(f".{name}", __name__)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    arguments = parser.parse_args(argv)
    try:
        status = int(arguments.run(arguments))
        sys.stdout.flush()
        return status
    except InvalidInput as error:  # the settings, or an argument that cannot be read
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # as a shell counts it
    except BrokenPipeError:  # whoever read our output has seen enough, as in `list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
