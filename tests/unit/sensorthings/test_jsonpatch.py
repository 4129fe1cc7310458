import pytest

from twinstack.core.errors import InvalidInput
from twinstack.sensorthings import jsonpatch


@pytest.mark.parametrize(
    ("document", "operations", "expected"),
    [
        ({"a": 1}, [{"op": "add", "path": "/b", "value": [1]}], {"a": 1, "b": [1]}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2]}),
        ({"a": 1}, [{"op": "add", "path": "/a", "value": 2}], {"a": 2}),
        ({"a": {"b": 1}}, [{"op": "remove", "path": "/a/b"}], {"a": {}}),
        ({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        ({"a": [1, 2]}, [{"op": "replace", "path": "/a/0", "value": None}], {"a": [None, 2]}),
        ({"a": 1}, [{"op": "move", "from": "/a", "path": "/b"}], {"b": 1}),
        ({"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": 1}),
        ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/a/c"}], {"a": {"b": 1, "c": {"b": 1}}}),
        ({"a/b": 1, "m~n": 2}, [{"op": "remove", "path": "/a~1b"}, {"op": "remove", "path": "/m~0n"}], {}),
        ({"a": 1}, [{"op": "test", "path": "/a", "value": 1.0}], {"a": 1}),
        ({"": 1}, [{"op": "test", "path": "/", "value": 1}], {"": 1}),
    ],
)
def test_operations(document, operations, expected):
    before = repr(document)
    assert jsonpatch.apply(document, operations) == expected
    assert repr(document) == before


def test_copies_are_apart():
    result = jsonpatch.apply(
        {"a": {"n": 1}},
        [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "replace", "path": "/b/n", "value": 2}],
    )
    assert result == {"a": {"n": 1}, "b": {"n": 2}}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "test", "path": "/a", "value": True},
        {"op": "test", "path": "/x", "value": None},
        {"op": "remove", "path": "/x"},
        {"op": "replace", "path": "/x", "value": 1},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "/l/3", "value": 1},
        {"op": "replace", "path": "/l/-", "value": 1},
        {"op": "remove", "path": "/l/-1"},
        {"op": "add", "path": "/l/01", "value": 1},
        {"op": "add", "path": "/l/1e0", "value": 1},
        {"op": "move", "from": "/l", "path": "/l/0"},
        {"op": "copy", "path": "/y"},
        {"op": "add", "path": 5, "value": 1},
    ],
)
def test_refused(operation):
    with pytest.raises(InvalidInput, match="Operation 0"):
        jsonpatch.apply({"a": 1, "l": [1]}, [operation])


def test_too_many_operations():
    with pytest.raises(InvalidInput):
        jsonpatch.apply({}, [{"op": "test", "path": "", "value": {}}] * (jsonpatch.OPERATIONS_MAX + 1))


def test_merge_body_holds_only_what_changed():
    before = {"name": "a", "properties": {"x": 1}, "description": "d"}
    assert jsonpatch.merge_body(before, {"name": "b", "properties": {"x": 1}}) == {"name": "b", "description": None}
    assert jsonpatch.merge_body({"n": 1}, {"n": True}) == {"n": True}
