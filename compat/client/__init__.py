"""The original's import path: put the folder `compat` on PYTHONPATH. Not part of the wheel."""
