"""How much a server takes: bytes, seconds, pixels, jobs."""

from __future__ import annotations

from dataclasses import dataclass

MB = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one server; each has a flag of `videozoo serve`."""

    upload_mb: float = 2000
    """Of one upload."""
    video_seconds: float = 4 * 3600
    """Length of a video."""
    video_megapixels: float = 10
    """Of one frame; 4K has 8.3."""
    job_seconds: float = 1800
    """Time for one job, from its start."""
    memory_mb: float = 4000
    """What one job may need beyond the models."""
    waiting_jobs: int = 20
    """Jobs that wait, and uploads that arrive; further ones are told to come later."""
    keep_hours: float = 24
    """How long answers and uploads are kept."""
    idle_seconds: float = 30
    """Pause of an upload after which it is given up."""
    uploads: int = 16
    """Uploads at the same time."""
    listeners: int = 200
    """Requests for progress at the same time."""
    sentences: int = 50
    """Searched for in one video."""
    sentence_length: int = 300
    """Characters."""
    free_mb: float = 500
    """Of the disk, which uploads leave alone."""

    @property
    def upload_bytes(self) -> int:
        """Of one upload."""
        return round(self.upload_mb * MB)
