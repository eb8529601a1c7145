"""Metrics of captions, retrieval and grounding: ``earwitness.metrics.captions.evaluate`` and so on.

Importing a module of metrics loads NumPy; what else a metric needs it imports when it is computed.
"""

from earwitness.metrics import captions, grounding, retrieval

__all__ = ["captions", "grounding", "retrieval"]
