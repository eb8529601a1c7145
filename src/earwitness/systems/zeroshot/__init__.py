"""Zero-shot retrieval by the vectors of a CLAP."""
