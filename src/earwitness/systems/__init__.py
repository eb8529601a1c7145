"""The published systems. Each gives its options, and a task that the training loop and prediction know what to do with."""
