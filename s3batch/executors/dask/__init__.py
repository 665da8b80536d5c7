"""Workers on an existing Dask cluster."""
