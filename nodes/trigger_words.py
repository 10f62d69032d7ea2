"""The trigger words of several LoRAs, as one text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lora_resolver import LoraResolverError, SeveralErrors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..lora_resolver import PeekedLora, ResolvedLora


def words_of(
    outcomes: Sequence[ResolvedLora | PeekedLora | LoraResolverError], places: Sequence[str] = ()
) -> tuple[str, ...]:
    """Each word once, in the array's order. Raises the errors among the outcomes, each at its place."""
    errors = [
        outcome.at(places[position]) if places else outcome
        for position, outcome in enumerate(outcomes)
        if isinstance(outcome, LoraResolverError)
    ]
    if errors:
        raise errors[0] if len(errors) == 1 else SeveralErrors(errors)
    loras = [outcome for outcome in outcomes if not isinstance(outcome, LoraResolverError)]
    return tuple(dict.fromkeys(word for lora in loras for word in lora.trigger_words))
