"""The migrations of the store, packaged so that a server brings its own tables up to date."""
