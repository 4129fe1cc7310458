"""Text to tokens to tree to checked tree to one of {columns, row, SQL}; grammars StreamSQL and OData `$filter`.

tokens.py     Source (text, places, errors), Lexicon and scan: text to tokens
tree.py       the nodes of an expression
pratt.py      the engine: a grammar is a table of prefix and infix operators; depth and size are bounded
streamsql/    the language of stream apps: parse, check, evaluators on a row and on columns
odata/        the `$filter`, `$orderby` and `$apply` of SensorThings
geometry.py   WKT and GeoJSON, compared by shapely
sql.py        an OData tree to SQLAlchemy, with sqlvalues.py (typed values), sqlcalls.py and sqlgeo.py (functions),
              sqltexts.py and sqlfunctions.py (what databases spell differently)
"""
