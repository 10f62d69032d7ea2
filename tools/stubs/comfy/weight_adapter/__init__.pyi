from typing import Any

adapters: list[type[Any]]
