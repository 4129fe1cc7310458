"""`POST /$batch`: many requests in one, as multipart or as JSON (OGC 18-088, clause 11; OData 4.01, part 1, 11.7)."""

from twinstack.sensorthings.batch.run import Batch

__all__ = ["Batch"]
