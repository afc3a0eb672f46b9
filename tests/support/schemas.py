"""Holds JSON against the definitions of the Engine API (tests/data/engine-api.json, made by scripts/condense-engine-api).

Stricter than JSON Schema: a field that no definition has is a fault, and null is one unless the definition is nullable.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[1] / "data" / "engine-api.json"
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_RANGES = {
    "int64": (-(1 << 63), 1 << 63),
    "uint64": (0, 1 << 64),
    "int32": (-(1 << 31), 1 << 31),
    "uint32": (0, 1 << 32),
    "uint16": (0, 1 << 16),
}
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z")


class Schemas:
    """The document's operations and definitions."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._definitions = document["definitions"]
        self.operations: dict[tuple[str, str], Mapping[str, Any]] = {
            (method.upper(), path): operation
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }

    @classmethod
    def load(cls) -> "Schemas":
        """The one that the tests have."""
        return cls(json.loads(DOCUMENT.read_bytes()))

    def operation(self, method: str, path: str) -> tuple[str, str] | None:
        """Which operation a request's path (without version and query) is of."""
        for verb, pattern in self.operations:
            if verb == method and re.fullmatch(_pattern(pattern), path):
                return verb, pattern
        return None

    def faults(self, operation: tuple[str, str], status: int, body: Any) -> Iterator[str]:
        """What is wrong with a response's body."""
        responses = self.operations[operation]["responses"]
        response = responses.get(str(status))
        schema = response.get("schema") if response else None
        if status >= 400:
            schema = {"$ref": "#/definitions/ErrorResponse"}
        elif response is None:
            yield f": status {status} is not one of {', '.join(responses)}"
        if schema is not None:
            yield from self.check(schema, body, "")

    def check(self, schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
        """What is wrong with `value`, each fault with its path."""
        if not schema:
            return
        schema = self._resolved(schema)
        if value is None:
            if not schema.get("x-nullable"):
                yield f"{path}: is null"
            return
        kind = schema.get("type") or ("object" if "properties" in schema else "")
        if kind and (not isinstance(value, _TYPES[kind]) or (kind != "boolean" and isinstance(value, bool))):
            yield f"{path}: is {type(value).__name__}, not {kind}"
            return
        if "enum" in schema and value not in schema["enum"]:
            yield f"{path}: {value!r} is not one of {schema['enum']}"
        if isinstance(value, dict):
            yield from self._object(schema, value, path)
        elif isinstance(value, list):
            for item in value:
                yield from self.check(schema.get("items", {}), item, f"{path}[]")
        else:
            yield from _scalar(schema, value, path)

    def _object(self, schema: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Iterator[str]:
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties", {} if not properties else None)
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{path}.{name}: is missing"
        for name, item in value.items():
            if name in properties:
                yield from self.check(properties[name], item, f"{path}.{name}")
            elif others is None or others is False:
                yield f"{path}.{name}: is not in the API"
            elif isinstance(others, dict):
                yield from self.check(others, item, f"{path}.*")

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Without $ref and allOf; what stands beside a $ref counts, as moby's generator has it."""
        while "$ref" in schema:
            beside = {key: each for key, each in schema.items() if key != "$ref"}
            schema = {**self._definitions[schema["$ref"].rpartition("/")[2]], **beside}
        if "allOf" not in schema:
            return schema
        merged: dict[str, Any] = {key: each for key, each in schema.items() if key != "allOf"}
        properties: dict[str, Any] = {}
        required: list[str] = []
        for part in schema["allOf"]:
            part = self._resolved(part)
            merged = {**part, **merged}
            properties |= part.get("properties", {})
            required += part.get("required", ())
        merged |= {"properties": properties | schema.get("properties", {}), "required": required}
        return merged


def _scalar(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    form = schema.get("format")
    if form in _RANGES and not _RANGES[form][0] <= value < _RANGES[form][1]:
        yield f"{path}: {value} is no {form}"
    if form in ("dateTime", "date-time") and value and not _DATE.match(value):
        yield f"{path}: {value!r} is no date"


def _pattern(path: str) -> str:
    return "".join(
        "[^?]+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\w+\})", path)
    )
