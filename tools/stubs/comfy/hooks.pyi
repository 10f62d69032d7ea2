from typing import Any

class HookKeyframeGroup:
    def reset(self) -> None: ...

class Hook:
    hook_keyframe: HookKeyframeGroup

class WeightHook(Hook):
    need_weight_init: bool
    weights: dict[str, Any]
    weights_clip: dict[str, Any]
    def __init__(self, strength_model: float = 1.0, strength_clip: float = 1.0) -> None: ...

class HookGroup:
    hooks: list[Hook]
    def add(self, hook: Hook) -> None: ...
    def clone_and_combine(self, other: HookGroup | None) -> HookGroup: ...
