"""The stores between stages: decoded shards, flow shards and feature shards."""
