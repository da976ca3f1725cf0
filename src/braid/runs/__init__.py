"""The runs of a results folder: what started the last one and how, and how a killed one is resumed."""
