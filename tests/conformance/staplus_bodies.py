"""Bodies of the entity types of STAplus."""

from typing import Any


def party(**more: Any) -> dict[str, Any]:
    return {
        "role": "individual",
        "displayName": "Sue",
        "authId": "sue@example.org",
        "description": "A citizen.",
        **more,
    }


def license_(name: str = "CC BY 4.0", **more: Any) -> dict[str, Any]:
    return {"name": name, "definition": "https://creativecommons.org/licenses/by/4.0/", **more}


def campaign(name: str = "Spring", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "description": "Counting birds.",
        "creationTime": "2026-03-01T00:00:00Z",
        "termsOfUse": "Be kind.",
        **more,
    }


def group(name: str = "Morning", **more: Any) -> dict[str, Any]:
    return {"name": name, "description": "Belongs together.", "creationTime": "2026-03-02T00:00:00Z", **more}


def relation(subject: int = 1, **more: Any) -> dict[str, Any]:
    return {"role": "sameAs", "Subject": {"@iot.id": subject}, **more}
