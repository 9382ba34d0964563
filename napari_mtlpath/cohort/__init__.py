"""Many slides: find them, extract what is missing on dask.distributed, resume, and put broken ones aside."""
