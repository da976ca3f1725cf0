"""From the files of a data set to its manifest: one module a kind of data set, `braid index KIND ROOT`."""
