"""The generic engine, on a small calculator grammar."""

import pytest

from twinstack.core import limits
from twinstack.core.errors import QueryError
from twinstack.query import pratt, tree
from twinstack.query.pratt import Grammar, Infix, Parser
from twinstack.query.tokens import Lexicon, Rule, Source, Span, integer_or_float, quoted, scan

LEXICON = Lexicon(
    rules=(
        Rule("", r"\s+"),
        Rule("NUMBER", r"\d+(?:\.\d+)?", integer_or_float),
        Rule("STRING", r"'(?:[^']|'')*'(?!')", quoted),
        Rule("NAME", r"[A-Za-z_]+"),
        Rule("OP", r"[-+*^<(),)]", is_operator=True),
    ),
    words={"OR": "or", "NOT": "not"},
    fold=True,
    hint="Use + - * ^ <.",
)
GRAMMAR = Grammar(
    prefix={
        "NUMBER": pratt.literal("number"),
        "STRING": pratt.literal("string"),
        "(": pratt.parenthesised,
        "-": pratt.unary("negate", 50),
        "not": pratt.unary("not", 15),
    },
    infix={
        "or": Infix(10, flat=True),
        "<": Infix(20, "lt", chains=False),
        "+": Infix(30, "add"),
        "-": Infix(30, "sub"),
        "*": Infix(40, "mul"),
        "^": Infix(60, "pow", right=True),
    },
    operand="a number or (",
)


def parse(text: str) -> tree.Expr:
    source = Source(text)
    return Parser(GRAMMAR, source, scan(source, LEXICON)).whole()


def shape(node: tree.Expr) -> str:
    match node:
        case tree.Literal():
            return str(node.value)
        case tree.Unary():
            return f"({node.op} {shape(node.operand)})"
        case tree.Binary():
            return f"({shape(node.left)} {node.op} {shape(node.right)})"
        case tree.Chain():
            return "(" + f" {node.op} ".join(shape(operand) for operand in node.operands) + ")"
    raise AssertionError(node)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1+2*3-4", "((1 add (2 mul 3)) sub 4)"),
        ("2^3^2", "(2 pow (3 pow 2))"),
        ("-2^2", "(negate (2 pow 2))"),
        ("2^-3", "(2 pow (negate 3))"),
        ("2*-3+1", "((2 mul (negate 3)) add 1)"),
        ("1 OR 2 or 3", "(1 or 2 or 3)"),
        ("1 or (2 or 3) or 4", "(1 or (2 or 3) or 4)"),
        ("(1 or 2) or 3", "((1 or 2) or 3)"),
        ("not 1 < 2 or 3", "((not (1 lt 2)) or 3)"),
        ("'it''s'", "it's"),
    ],
)
def test_binding_powers(text: str, expected: str) -> None:
    assert shape(parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("1 < 2 < 3", 1, 7, "cannot follow another comparison"),
        ("1 +", 1, 4, "ends too early. Expected a number or ("),
        ("1 2", 1, 3, "Expected an operator or the end"),
        ("(1\n+ (2)", 2, 6, "Expected ')' or an operator"),
        ("1 ? 2", 1, 3, "'?' has no meaning here"),
        ("1 + 'abc", 1, 5, "never closed"),
        ("*", 1, 1, "'*' cannot stand here"),
        ("", 1, 1, "ends too early"),
    ],
)
def test_errors_have_a_place(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert words in caught.value.message


def test_spans_cover_the_expression() -> None:
    node = parse("1 + (2*3)")
    assert isinstance(node, tree.Binary)
    assert node.span == Span(0, 8)
    assert node.right.span == Span(5, 8)
    assert node == parse("1+2*3")


def test_limits() -> None:
    deep, nodes = limits.QUERY_DEPTH_MAX, limits.QUERY_NODES_MAX
    parse("(" * (deep - 1) + "1" + ")" * (deep - 1))
    parse("+".join("1" * deep))
    parse(" or ".join("1" * (nodes // 2)))
    for text in (
        "(" * deep + "1" + ")" * deep,
        "not " * deep + "1",
        "+".join("1" * (deep + 1)),
        "(" * 60 + "1" + "+1)" * 60 + "+1" * 10,
        "^".join("1" * (deep + 1)),
    ):
        with pytest.raises(QueryError, match="nested deeper than 64"):
            parse(text)
    with pytest.raises(QueryError, match="more than 2000 parts"):
        parse(" or ".join("1" * (nodes // 2 + 1)))
    with pytest.raises(QueryError, match="16385 bytes"):
        parse("1" + " " * limits.QUERY_BYTES_MAX)
    with pytest.raises(QueryError, match="half a character"):
        parse("'\ud800'")


def test_the_caret_stands_under_its_text() -> None:
    source = Source("a\tb = 1\r\nsecond line")
    assert source.caret(Span(2, 3)) == "a\tb = 1\n \t^"
    assert source.caret(Span(9, 15)) == "second line\n^^^^^^"
    long = Source("x" * 300 + "?" + "y" * 300)
    line, mark = long.caret(Span(300, 301)).split("\n")
    assert line[mark.index("^")] == "?"
    assert len(line) == 100


def test_numbers() -> None:
    assert parse("9223372036854775807") == tree.Literal(2**63 - 1, "number")
    assert parse("9223372036854775808") == tree.Literal(float(2**63), "number")
    with pytest.raises(QueryError, match="too large"):
        parse("1" + "0" * 400)
