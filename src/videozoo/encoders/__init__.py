"""Encoders: from windows of frames to vectors. Each file holds one kind."""
