"""Schemas of the OpenAPI document: each entity as it is read, created and updated, and what they share."""

from __future__ import annotations

from typing import Any

from twinstack.sensorthings.model import EntityType, Property, PropertyType
from twinstack.sensorthings.versions import ApiVersion

Json = dict[str, Any]
ID: Json = {"type": "integer", "format": "int64", "minimum": 0}
_OBJECTS = ("properties", "unitOfMeasurement")
_INTERVAL = "An ISO 8601 instant, or an interval start/end."


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def schemas_of(entities: list[EntityType], version: ApiVersion) -> Json:
    """By name."""
    schemas: Json = {**_COMMON}
    for entity in entities:
        schemas[entity.name] = _read(entity, version)
        schemas[f"{entity.name}Set"] = {
            "type": "object",
            "required": ["value"],
            "properties": {
                version.count: {"type": "integer"},
                version.next_link: {"type": "string"},
                "value": {"type": "array", "items": {"type": "object"} if _is_grouped(entity) else ref(entity.name)},
            },
        }
        schemas[f"{entity.name}Create"] = _write(entity, version, new=True)
        schemas[f"{entity.name}Update"] = _write(entity, version, new=False)
    return schemas


def _is_grouped(entity: EntityType) -> bool:
    """Data arrays hold Observations in another form."""
    return entity.name == "Observation"


def _read(entity: EntityType, version: ApiVersion) -> Json:
    properties: Json = {version.id: ID, version.self_link: {"type": "string"}}
    properties |= {p.name: property_schema(p) for p in entity.properties_of(version.version)}
    for link in entity.links_of(version.version):
        target = ref(link.target)
        properties[f"{link.name}{version.navigation_link}"] = {"type": "string"}
        properties[link.name] = (
            {"type": "array", "items": target} if link.many else {"anyOf": [target, {"type": "null"}]}
        )
    return {"type": "object", "properties": properties}


def _write(entity: EntityType, version: ApiVersion, *, new: bool) -> Json:
    properties: Json = {}
    required: list[str] = []
    for p in entity.properties_of(version.version):
        if not p.computed:
            properties[p.name] = property_schema(p, null=not p.mandatory or p.type is PropertyType.RESULT)
            if new and p.mandatory and p.default is None:
                required.append(p.name)
    for link in entity.links_of(version.version):
        target = {"anyOf": [ref("Link"), ref(f"{link.target}Create")]} if new else ref("Link")
        properties[link.name] = {"type": "array", "items": target} if link.many else target
    schema: Json = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return schema


def property_schema(p: Property, *, null: bool = True) -> Json:
    match p.type:
        case PropertyType.TEXT:
            return {"type": ["string", "null"] if null else "string"}
        case PropertyType.INSTANT:
            return {"type": ["string", "null"] if null else "string", "format": "date-time"}
        case PropertyType.INTERVAL | PropertyType.EXTRA_INTERVAL:
            return {"type": ["string", "null"] if null else "string", "description": _INTERVAL}
        case _ if p.name in _OBJECTS:
            return {"type": ["object", "null"] if null else "object"}
        case _:
            return {"description": "Any JSON value."}


_COMMON: Json = {
    "Problem": {
        "type": "object",
        "required": ["code", "type", "message"],
        "properties": {"code": {"type": "integer"}, "type": {"type": "string"}, "message": {"type": "string"}},
    },
    "Link": {
        "type": "object",
        "description": "A link to an entity that exists.",
        "required": ["@iot.id"],
        "properties": {"@iot.id": ID},
    },
    "ServiceRoot": {
        "type": "object",
        "required": ["value"],
        "properties": {
            "value": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "url"],
                    "properties": {"name": {"type": "string"}, "url": {"type": "string"}},
                },
            },
            "serverSettings": {"type": "object"},
        },
    },
    "DataArray": {
        "type": "object",
        "required": ["components", "dataArray"],
        "properties": {
            "Datastream": ref("Link"),
            "MultiDatastream": ref("Link"),
            "components": {"type": "array", "items": {"type": "string"}},
            "dataArray@iot.count": {"type": "integer"},
            "dataArray": {"type": "array", "items": {"type": "array"}},
        },
    },
    "JsonPatch": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["op", "path"],
            "properties": {
                "op": {"enum": ["add", "remove", "replace", "move", "copy", "test"]},
                "path": {"type": "string"},
                "from": {"type": "string"},
                "value": {},
            },
        },
    },
    "Batch": {
        "type": "object",
        "required": ["requests"],
        "properties": {
            "requests": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["id", "method", "url"],
                    "properties": {
                        "id": {"type": "string", "minLength": 1},
                        "atomicityGroup": {"type": "string", "minLength": 1},
                        "dependsOn": {"type": "array", "items": {"type": "string"}},
                        "method": {"enum": ["GET", "POST", "PATCH", "PUT", "DELETE"]},
                        "url": {"type": "string", "minLength": 1},
                        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
                        "body": {},
                    },
                },
            }
        },
    },
    "BatchAnswer": {
        "type": "object",
        "required": ["responses"],
        "properties": {
            "responses": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["id", "status"],
                    "properties": {"id": {"type": "string"}, "status": {"type": "integer"}, "body": {}},
                },
            }
        },
    },
}
