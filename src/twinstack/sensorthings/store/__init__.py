"""The store: tables, write path and readers of metadata and history; one contract for every database."""
