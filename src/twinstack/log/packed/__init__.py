"""What the embedded log and its HTTP form share: the packed batch, and the seam's objects over a `Transport`."""
