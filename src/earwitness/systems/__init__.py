"""The published systems. Each gives its options, and a task that training and prediction can work with."""
