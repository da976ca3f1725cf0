"""Clips become frames, times and sound: probing, decoding in worker processes, problems, the time grid."""

VERSION = 3
"""Raised when decoding gives other numbers; every decoded shard is then made again."""
