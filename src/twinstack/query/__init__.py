"""Text to tokens to tree to checked tree to one of {columns, row, SQL}; grammars StreamSQL and OData $filter."""
