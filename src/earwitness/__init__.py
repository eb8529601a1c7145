"""Earwitness: from raw audio to captions, retrieval and sound event detection, in one DAG."""

__version__ = "0.2.0"
