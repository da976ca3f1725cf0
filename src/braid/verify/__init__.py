"""Whether the files of a results folder are whole."""
