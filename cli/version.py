"""The version, as a plain constant: importlib.metadata costs 30 ms of every start."""

VERSION = "0.1.0"
