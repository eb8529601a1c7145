"""The systems: models for captioning, retrieval and grounding, one module or folder each."""
