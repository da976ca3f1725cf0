"""A results folder for people: read in Python, or put beside another one. Nothing here needs torch."""
