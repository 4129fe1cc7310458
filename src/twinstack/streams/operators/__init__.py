"""Stateful operators: joins, windows, PREV. Pure: rows and watermarks in; settled rows, letters, state out."""
