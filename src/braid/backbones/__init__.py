"""Networks that are trained here, on frames, flow and sound, and then used as extractors."""
