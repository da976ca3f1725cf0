"""Schemes: ways to go from features to class probabilities, and the one training that all of them share."""
