"""Random changes of training samples, each a function of its own seed."""
