"""Dense optical flow between neighbouring frames: computed once, stored in pixels, resized and mirrored as vectors."""
