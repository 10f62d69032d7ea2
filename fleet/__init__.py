"""Many ComfyUIs behind one endpoint, on Ray Serve: `python -m fleet run`, `batch`, `status`. docs/workers.md.

Ray starts, monitors, and replaces the workers. It also queues tasks, and sends each task to a worker that has its model
loaded. This package defines the worker (one ComfyUI with the pack), what counts as loaded, and the Runware protocol of
the front door.
"""
