"""The command `rhesis`."""
