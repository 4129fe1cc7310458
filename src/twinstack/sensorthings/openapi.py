"""The OpenAPI 3.1 document of a version, made from the entity model: served at `/v1.1/api`, where FROST has it.

It says what OpenAPI can express. Paths are listed to one link below an entity; deeper ones follow the same rules, and
the languages of `$filter`, `$orderby` and `$expand` are texts here.
"""

from __future__ import annotations

import json
from functools import lru_cache

from twinstack.core import limits
from twinstack.sensorthings.model import BY_NAME, EntityType, Link
from twinstack.sensorthings.openapi_schemas import ID, Json, property_schema, ref, schemas_of
from twinstack.sensorthings.options import RESULT_FORMATS
from twinstack.sensorthings.versions import VERSIONS, ApiVersion

_JSON_TYPE = "application/json"
_PATCH_TYPE = "application/json-patch+json"


@lru_cache(maxsize=16)
def openapi(segment: str, base: str) -> str:
    """The document as JSON text; `base` is the address of the version as the client used it."""
    version = VERSIONS[segment]
    entities = list(version.sets.values())
    return json.dumps(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "OGC SensorThings API",
                "version": version.version,
                "description": f"OGC {'15-078r6' if version.version == '1.0' else '18-088'}, Part 1: Sensing.",
            },
            "servers": [{"url": base}],
            "tags": [{"name": entity.set_name} for entity in entities],
            "paths": _paths(entities, version),
            "components": {
                "schemas": schemas_of(entities, version),
                "parameters": _PARAMETERS,
                "responses": {name: _problem(text) for name, text in _PROBLEMS.items()},
            },
        }
    )


# --- paths ----------------------------------------------------------------------------------------------------------
def _paths(entities: list[EntityType], version: ApiVersion) -> Json:
    paths: Json = {
        "/": {"get": _operation("The sets and what the server promises", _ok(ref("ServiceRoot")))},
        "/api": {"get": _operation("This document", _ok({"type": "object"}))},
        "/CreateObservations": {"post": _create_observations()},
        "/$batch": {"post": _batch()},
    }
    for entity in entities:
        name, tag = entity.set_name, [entity.set_name]
        address = f"/{name}({{id}})"
        paths[f"/{name}"] = {
            "get": _list(f"{name}, page by page", entity, tag),
            "post": _create(f"A new {entity.name}", entity, tag),
        }
        paths[address] = {"parameters": [_parameter("id")], **_entity(entity, tag)}
        for link in entity.links_of(version.version):
            paths[f"{address}/{link.name}"] = {"parameters": [_parameter("id")], **_linked(entity, link, tag)}
        for p in entity.properties_of(version.version):
            answer = _ok({"type": "object", "properties": {p.name: property_schema(p)}})
            get = _operation(f"{p.name} alone", {**answer, "204": {"description": "It is null."}}, tag, "404")
            paths[f"{address}/{p.name}"] = {"parameters": [_parameter("id")], "get": get}
    return paths


def _entity(entity: EntityType, tag: list[str]) -> Json:
    read, changed = _ok(ref(entity.name), etag=True), _ok(ref(entity.name), etag=True)
    if_match = [_parameter("IfMatch")]
    patch = _operation(f"Changes what is named of a {entity.name}", changed, tag, *_CHANGE, parameters=if_match)
    patch["requestBody"] = _body(ref(f"{entity.name}Update"))
    patch["requestBody"]["content"][_PATCH_TYPE] = {"schema": ref("JsonPatch")}
    put = _operation(f"Replaces a {entity.name}", changed, tag, *_CHANGE, parameters=if_match)
    put["requestBody"] = _body(ref(f"{entity.name}Update"))
    options = [*map(_parameter, ("select", "expand")), _parameter("IfNoneMatch")]
    unchanged = {"304": {"description": "It is the one of If-None-Match."}}
    return {
        "get": _operation(f"One {entity.name}", {**read, **unchanged}, tag, "400", "404", "503", parameters=options),
        "patch": patch,
        "put": put,
        "delete": _operation(
            f"Deletes a {entity.name} and what belongs to it",
            {"200": {"description": "It is gone."}},
            tag,
            *("404", "412", "503", "507"),
            parameters=if_match,
        ),
    }


def _linked(entity: EntityType, link: Link, tag: list[str]) -> Json:
    target = BY_NAME[link.target]
    if not link.many:
        options = [*map(_parameter, ("select", "expand"))]
        answer = _ok(ref(target.name), etag=True)
        what = f"The {link.name} of a {entity.name}"
        return {"get": _operation(what, answer, tag, "400", "404", "503", parameters=options)}
    return {
        "get": _list(f"{link.name} of a {entity.name}", target, tag, "404"),
        "post": _create(f"A new {target.name}, linked to the {entity.name}", target, tag, "404"),
    }


def _list(summary: str, entity: EntityType, tag: list[str], *problems: str) -> Json:
    names = ("filter", "count", "orderby", "skip", "top", "expand", "select", "resultFormat", "skiptoken")
    answer = _ok(ref(f"{entity.name}Set"))
    answer["200"]["content"] |= {"text/csv": {"schema": {"type": "string"}}, "application/geo+json": {"schema": {}}}
    return _operation(summary, answer, tag, "400", "501", "503", *problems, parameters=[*map(_parameter, names)])


def _create(summary: str, entity: EntityType, tag: list[str], *problems: str) -> Json:
    headers = {"Location": {"description": "Its address.", "schema": {"type": "string"}}}
    answer = {"201": {"description": "It was created.", "headers": headers, "content": _json(ref(entity.name))}}
    operation = _operation(summary, answer, tag, *_WRITE, "409", *problems)
    operation["requestBody"] = _body(ref(f"{entity.name}Create"))
    return operation


def _create_observations() -> Json:
    row = {"type": "string", "description": 'The address of the new Observation, or "error".'}
    answer = {"201": {"description": "One text for each row.", "content": _json({"type": "array", "items": row})}}
    operation = _operation("Many Observations of many Datastreams", answer, ["Observations"], *_WRITE)
    operation["requestBody"] = _body({"type": "array", "items": ref("DataArray")})
    return operation


def _batch() -> Json:
    operation = _operation("Many requests in one", _ok(ref("BatchAnswer")), None, "400", "413", "415")
    operation["responses"]["200"]["content"]["multipart/mixed"] = {"schema": {"type": "string"}}
    operation["requestBody"] = _body(ref("Batch"))
    operation["requestBody"]["content"]["multipart/mixed"] = {"schema": {"type": "string"}}
    return operation


def _operation(
    summary: str, answers: Json, tag: list[str] | None = None, *problems: str, parameters: list[Json] | None = None
) -> Json:
    responses = {**answers, **{status: {"$ref": f"#/components/responses/{status}"} for status in problems}}
    operation: Json = {"summary": summary, "responses": responses}
    if tag:
        operation["tags"] = tag
    if parameters:
        operation["parameters"] = parameters
    return operation


def _ok(schema: Json, *, etag: bool = False) -> Json:
    answer: Json = {"description": "As asked.", "content": _json(schema)}
    if etag:
        answer["headers"] = {"ETag": {"description": "Names this state of it.", "schema": {"type": "string"}}}
    return {"200": answer}


def _json(schema: Json) -> Json:
    return {_JSON_TYPE: {"schema": schema}}


def _body(schema: Json) -> Json:
    return {"required": True, "content": _json(schema)}


def _parameter(name: str) -> Json:
    return {"$ref": f"#/components/parameters/{name}"}


_PROBLEMS = {
    "400": "The request is malformed, or asks for what does not exist.",
    "404": "There is no such entity.",
    "409": "The name exists already in a registered system.",
    "412": "It changed since it was read.",
    "413": "The request is too large.",
    "415": "The body has a form that is not understood.",
    "501": "A part of OData that is not served here.",
    "503": "The store does not answer in time; it is safe to repeat.",
    "507": "The store's disk is full.",
}
_WRITE = ("400", "413", "415", "503", "507")
_CHANGE = (*_WRITE, "404", "409", "412")


def _problem(text: str) -> Json:
    return {"description": text, "content": _json(ref("Problem"))}


def _option(name: str, schema: Json, text: str) -> Json:
    return {"name": f"${name}", "in": "query", "description": text, "schema": schema}


_PARAMETERS: Json = {
    "id": {"name": "id", "in": "path", "required": True, "description": "@iot.id of the entity.", "schema": ID},
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "Entity tags: 412 if it has none of them.",
        "schema": {"type": "string"},
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "Entity tags: 304 if it has one of them.",
        "schema": {"type": "string"},
    },
    "filter": _option("filter", {"type": "string"}, "Which entities: result gt 20 and Datastream/name eq 'x'."),
    "count": _option("count", {"enum": ["true", "false"]}, "Whether the answer says how many there are."),
    "orderby": _option("orderby", {"type": "string"}, "phenomenonTime desc,id"),
    "skip": _option("skip", {"type": "integer", "minimum": 0}, "How many to leave out."),
    "top": _option(
        "top", {"type": "integer", "minimum": 0}, f"How many at most; an answer has up to {limits.ANSWER_ROWS_MAX}."
    ),
    "expand": _option("expand", {"type": "string"}, "Linked entities to include: Thing($select=name),Observations."),
    "select": _option("select", {"type": "string"}, "Properties and links to include: id,name."),
    "resultFormat": _option("resultFormat", {"enum": list(RESULT_FORMATS)}, "Another form than JSON."),
    "skiptoken": _option("skiptoken", {"type": "string"}, "The place of a nextLink, as it stands there."),
}
