from typing import Any

models: list[type[Any]]
