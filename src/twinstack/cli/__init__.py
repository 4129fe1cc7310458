"""The command `twinstack`."""
