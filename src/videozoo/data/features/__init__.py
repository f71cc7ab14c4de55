"""Features of videos on disk: the formats, one store by video name, and writing them."""
