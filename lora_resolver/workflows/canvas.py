"""Turns a workflow as ComfyUI's page saves it into the nodes that would run, in the form of the API format.

    in     {"nodes": [{"id": 3, "type": "AirLoraApply", "mode": 0, "inputs": [{"name": "lora", "link": 7}, …],
                       "widgets_values": ["[…]", "error"]}, …],
            "links": [[7, 5, 0, 3, 2, "STRING"], …],                   (objects in subgraphs and in newer files)
            "definitions": {"subgraphs": [{"id": "…", "nodes": …, "links": …, "inputs": …}, …]}}
    out    {"3": {"class_type": "AirLoraApply", "inputs": {"lora": ["5", 0], …}},
            "12:4": a node 4 inside the subgraph or the group of node 12, …}

As in ComfyUI's own graphToPrompt, muted nodes are left out, and bypassed nodes and reroutes pass on their inputs. The
file contains the names of a node's values only if each has a socket. Otherwise they are called `widget 0`, ….

https://docs.comfy.org/specs/workflow_json
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["is_canvas", "nodes_that_run"]

MAX_NODES = 50_000
"""With subgraphs expanded: a small file with nested subgraphs could expand to billions of nodes."""
MAX_NESTING = 32

_MUTED, _BYPASSED = 2, 4
_OUTSIDE = "-10"  # the origin of links inside a subgraph that come from the subgraph's inputs
_RESULT = "-20"  # the target of links that go to the subgraph's outputs
_REROUTES = ("Reroute", "Reroute (rgthree)")
_SETTERS = {"GetNode": "SetNode", "easy getNode": "easy setNode"}
"""KJNodes and Easy Use: on the page only, a value is passed by name from one node to the other."""
_GROUPS = ("workflow/", "workflow>")  # group nodes, the predecessors of subgraphs
_VIRTUAL = frozenset({*_REROUTES, *_SETTERS, *_SETTERS.values()})


def is_canvas(document: object) -> bool:
    """Whether this is a workflow as the page saves it."""
    return isinstance(document, dict) and isinstance(document.get("nodes"), list)


def nodes_that_run(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Id → {"class_type", "inputs"} of every enabled node, including those inside subgraphs and group nodes. Also
    contains "pack", "models", and "properties" if the page saved them, and "members": the classes inside a group node
    whose values don't fit its definition.

    An input is a value or a link [id, output]. Raises InvalidInput for a workflow that is too large.
    """
    subgraphs = _definitions(document)
    groups = _groups(document)
    found: dict[str, dict[str, Any]] = {}
    looked_at = 0
    waiting = [_Graph(document, subgraphs)]
    while waiting:
        graph = waiting.pop()
        looked_at += len(graph.nodes)
        if looked_at > MAX_NODES:
            raise _too_large(f"it has more than {MAX_NODES:,} nodes")
        for key, node in graph.nodes.items():
            if node.get("mode") in (_MUTED, _BYPASSED) or str(node.get("type")) in _VIRTUAL:
                continue
            inside = graph.inside(key)
            if inside is not None:
                waiting.append(inside)
                continue
            whole = {"class_type": str(node.get("type")), "inputs": graph.inputs_of(node), **_said(node)}
            members = _members_of(node, groups)
            unfolded = _unfolded(node, whole["inputs"], members) if members is not None else None
            if members is None or unfolded is None:
                kinds = [str(each.get("type")) for each in members or ()]
                found[graph.prefix + key] = {**whole, "members": kinds} if kinds else whole
            else:
                looked_at += len(members)
                found |= {f"{graph.prefix}{key}:{index}": member for index, member in unfolded.items()}
    return found


def _definitions(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Id → subgraph, including those that are defined inside another subgraph."""
    found: dict[str, Mapping[str, Any]] = {}
    waiting: list[Mapping[str, Any]] = [document]
    while waiting and len(found) <= MAX_NODES:
        definitions = waiting.pop().get("definitions")
        for each in _objects(definitions.get("subgraphs") if isinstance(definitions, dict) else None):
            if str(each.get("id")) not in found:
                found[str(each.get("id"))] = each
                waiting.append(each)
    return found


def _said(node: Mapping[str, Any]) -> dict[str, Any]:
    """What the page saved about a node besides its values: its pack, and where its models come from."""
    properties = node.get("properties")
    if not isinstance(properties, dict):
        return {}
    pack = " ".join(
        str(properties[key]) for key in ("cnr_id", "aux_id") if isinstance(properties.get(key), str)
    )
    return {"pack": pack, "models": _objects(properties.get("models")), "properties": properties}


def _groups(document: Mapping[str, Any]) -> Mapping[str, Any]:
    extra = document.get("extra")
    groups = extra.get("groupNodes") if isinstance(extra, dict) else None
    return groups if isinstance(groups, dict) else {}


def _members_of(node: Mapping[str, Any], groups: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The nodes in a group node's definition; None for any other node, or if there is no definition."""
    kind = str(node.get("type"))
    definition = groups.get(kind[len(_GROUPS[0]) :]) if kind.startswith(_GROUPS) else None
    return _objects(definition.get("nodes")) if isinstance(definition, dict) else None


def _unfolded(
    node: Mapping[str, Any], inputs: Mapping[str, Any], members: Sequence[Mapping[str, Any]]
) -> dict[int, dict[str, Any]] | None:
    """The nodes inside a group node, by their index; None if the group node's values don't fit them.

    The group node's widgets are those of its nodes, one after the other. Their values take precedence over those in
    the definition. Links inside the group aren't followed: every node gets all links that come into the group.
    """
    counts = [
        len(each["widgets_values"]) if isinstance(each.get("widgets_values"), list) else 0 for each in members
    ]
    values = node.get("widgets_values")
    if not isinstance(values, list) or sum(counts) != len(values) or len(members) > MAX_NODES:
        return None
    links = {name: value for name, value in inputs.items() if isinstance(value, list)}
    found: dict[int, dict[str, Any]] = {}
    at = 0
    for index, (member, count) in enumerate(zip(members, counts)):
        own = {**member, "widgets_values": values[at : at + count]}
        at += count
        if member.get("mode") not in (_MUTED, _BYPASSED):
            found[index] = {
                "class_type": str(member.get("type")),
                "inputs": {**_widgets(own), **links},
                **_said(member),
            }
    return found


class _Graph:
    """The canvas itself, or a subgraph in the place of one node."""

    def __init__(
        self,
        document: Mapping[str, Any],
        subgraphs: Mapping[str, Mapping[str, Any]],
        outer: _Graph | None = None,
        stands_for: str = "",
    ) -> None:
        self.nodes = {str(node.get("id")): node for node in _objects(document.get("nodes"))}
        self.prefix: str = f"{outer.prefix}{stands_for}:" if outer is not None else ""
        self._depth: int = outer._depth + 1 if outer is not None else 0
        self._document = document
        self._subgraphs = subgraphs
        self._outer = outer
        self._stands_for = stands_for
        self._links = dict(_links(document))
        self._inside: dict[str, _Graph] = {}
        self._origins: dict[str, object] = {}
        self._setters: dict[tuple[str, object], str] | None = None
        self._slots = [str(each.get("name")) for each in _objects(document.get("inputs"))]
        self._results: dict[int, str] | None = None
        self._outside: dict[str, tuple[str | None, object]] | None = None
        if self._depth > MAX_NESTING:
            raise _too_large(f"its subgraphs are nested more than {MAX_NESTING} levels deep")

    def inside(self, key: str) -> _Graph | None:
        """The subgraph of a node; None if the node isn't a subgraph's."""
        definition = self._subgraphs.get(str(self.nodes[key].get("type")))
        if definition is None:
            return None
        if key not in self._inside:
            self._inside[key] = _Graph(definition, self._subgraphs, self, key)
        return self._inside[key]

    def inputs_of(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """The values of its widgets. Linked inputs override them."""
        inputs = _widgets(node)
        for entry in _objects(node.get("inputs")):
            arrives = self._origin(str(entry.get("link")))
            if arrives is not None:
                inputs[str(entry.get("name"))] = arrives
        return inputs

    def _origin(self, link: str) -> object:
        """[id, output] of the node that a link comes from, or a value; None if there is neither."""
        graph = self
        passed: dict[tuple[_Graph, str], None] = {}
        found: object = None
        while link in graph._links and (graph, link) not in passed:  # otherwise the links form a cycle
            if link in graph._origins:
                found = graph._origins[link]
                break
            passed[graph, link] = None
            key, slot = graph._links[link][:2]
            if key == _OUTSIDE:
                outer = graph._outer
                if outer is None:
                    break
                entry, value = graph._from_outside(outer.nodes[graph._stands_for], slot)
                if entry is None:
                    found = value
                    break
                graph, link = outer, entry
                continue
            node = graph.nodes.get(key)
            if node is None or node.get("mode") == _MUTED:
                break
            if str(node.get("type")) in _SETTERS:
                graph, link = graph._set_as(node)
            elif node.get("mode") == _BYPASSED or str(node.get("type")) in _VIRTUAL:
                link = _hands_on(node, slot)
            elif node.get("type") == "PrimitiveNode":  # exists only on the page
                found = next(iter(_widgets(node).values()), None)
                break
            elif (inside := graph.inside(key)) is not None:
                graph, link = inside, inside._link_to_result(slot)
            else:
                found = [graph.prefix + key, slot]
                break
        for at, each in passed:
            at._origins[each] = found
        return found

    def _set_as(self, getter: Mapping[str, Any]) -> tuple[_Graph, str]:
        """(graph, link into the node) that sets the value for this getter, in this graph or an outer one."""
        name, setter = _first_widget(getter), _SETTERS[str(getter.get("type"))]
        graph: _Graph | None = self
        while graph is not None:
            if graph._setters is None:
                graph._setters = {
                    (str(each.get("type")), _first_widget(each)): _first_link(each)
                    for each in graph.nodes.values()
                    if str(each.get("type")) in _SETTERS.values()
                    and each.get("mode") not in (_MUTED, _BYPASSED)
                }
            if (setter, name) in graph._setters:
                return graph, graph._setters[setter, name]
            graph = graph._outer
        return self, ""

    def _from_outside(self, node: Mapping[str, Any], slot: int) -> tuple[str | None, object]:
        """(link in the outer graph, None), or (None, value) from the node that this subgraph replaces."""
        if self._outside is None:
            values: dict[str, tuple[str | None, object]] = {
                name: (None, value) for name, value in _widgets(node).items()
            }
            for entry in reversed(_objects(node.get("inputs"))):
                if entry.get("link") is not None:
                    values[str(entry.get("name"))] = (str(entry["link"]), None)
            self._outside = values
        return self._outside.get(self._slots[slot] if slot < len(self._slots) else "", (None, None))

    def _link_to_result(self, slot: int) -> str:
        if self._results is None:
            self._results = {}
            for link, (_key, _slot, target, target_slot) in self._links.items():
                if target == _RESULT:
                    self._results.setdefault(target_slot, link)
        return self._results.get(slot, "")


def _first_widget(node: Mapping[str, Any]) -> object:
    value = next(iter(_widgets(node).values()), None)
    return value if isinstance(value, str) else None


def _first_link(node: Mapping[str, Any]) -> str:
    return next(
        (str(each["link"]) for each in _objects(node.get("inputs")) if each.get("link") is not None), ""
    )


def _hands_on(node: Mapping[str, Any], slot: int) -> str:
    """The link that a bypassed node or a reroute passes on to one of its outputs; empty if there is none."""
    outputs = _objects(node.get("outputs"))
    kind = outputs[slot].get("type") if slot < len(outputs) else "*"
    linked = [
        (position, entry)
        for position, entry in enumerate(_objects(node.get("inputs")))
        if entry.get("link") is not None and ("*" in (kind, entry.get("type")) or entry.get("type") == kind)
    ]
    beside = [entry for position, entry in linked if position == slot] or [entry for _, entry in linked]
    return str(beside[0]["link"]) if beside else ""


def _links(document: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, int, str, int]]]:
    """Id → (origin, its output, target, its input)."""
    listed = document.get("links")
    for link in listed if isinstance(listed, list) else ():
        if isinstance(link, dict):
            parts = [link.get(name) for name in _LINK]
        elif isinstance(link, list):
            parts = link[: len(_LINK)]
        else:
            continue
        if len(parts) == len(_LINK) and isinstance(parts[2], int) and isinstance(parts[4], int):
            yield str(parts[0]), (str(parts[1]), parts[2], str(parts[3]), parts[4])


_LINK = ("id", "origin_id", "origin_slot", "target_id", "target_slot")


def _widgets(node: Mapping[str, Any]) -> dict[str, Any]:
    """Name → value of a node's widgets."""
    values = node.get("widgets_values")
    if isinstance(values, dict):
        return {str(name): value for name, value in values.items()}
    if not isinstance(values, list):
        return {}
    names = next((each for each in (_shown(node), _sockets(node)) if len(each) == len(values)), [])
    return {
        names[position] if names else f"widget {position}": value for position, value in enumerate(values)
    }


def _shown(node: Mapping[str, Any]) -> list[str]:
    """Names of the widgets that a subgraph's node shows: of the subgraph's own inputs ("-1"), or of a node inside it.

    The values of the latter are also stored inside, so they get names that no input has.
    """
    properties = node.get("properties")
    shown = properties.get("proxyWidgets") if isinstance(properties, dict) else None
    pairs = [each for each in shown if isinstance(each, list) and len(each) == 2] if shown else []
    return [str(name) if str(key) == "-1" else f"{key} {name}" for key, name in pairs]


def _sockets(node: Mapping[str, Any]) -> list[str]:
    return [str(entry.get("name")) for entry in _objects(node.get("inputs")) if entry.get("widget")]


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _too_large(why: str) -> InvalidInput:
    return InvalidInput(
        f"The workflow is too large: {why}",
        code="workflowTooLarge",
        remedy="Export it in API format, or unpack its subgraphs.",
    )
