"""Earwitness: from raw audio to captions, retrieval and sound event detection, as one DAG with numbers one can trust."""

__version__ = "0.1.0"
