"""The command line: one module for each subcommand, with `add_arguments(parser)` and `run(arguments) -> int`.

Exit status: 0 done, 1 something failed (each failure is reported), 2 invalid usage or invalid input.
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

# Module name and the text in `--help`. A module is imported only when it is used: `parse` doesn't need `requests`.
COMMANDS = {
    "parse": "read a lora array and print it in its shortest form",
    "saved": "print the LoRAs that an image or workflow was made with, as an array (with --json, also hashes)",
    "migrate": "convert the rows of Power Lora Loader, Lora Manager, and other loaders to arrays",
    "resolve": "find or download LoRAs, verify them, and print their paths",
    "prefetch": "download the LoRAs that arrays, workflows, and images need, or list them",
    "inspect": "describe .safetensors files from their headers",
    "verify": "read downloaded files again and check their SHA-256",
    "list": "list the LoRAs in the configured folders",
    "prune": "remove what interrupted downloads and deleted files left behind",
}


def main(argv: Sequence[str]) -> int:
    """Runs one subcommand and returns the exit status. Invalid usage raises SystemExit(2), as in argparse."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a console with another encoding must not cause a crash when a message is printed
            stream.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(
        prog="python -m lora_resolver",
        description="Resolves LoRA identifiers to verified files.",
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
    except InvalidInput as error:  # the settings, or an unreadable argument
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # the exit status that shells use for Ctrl-C
    except BrokenPipeError:  # the program that reads the output has stopped, as in `list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
