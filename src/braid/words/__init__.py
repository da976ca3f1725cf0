"""SIFT bag of words: descriptors of frames, a codebook that is fitted on the training items of a fold, histograms."""
