"""Everything that makes the weights: models, data, training, evaluation, export."""
