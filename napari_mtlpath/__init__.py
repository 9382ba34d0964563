"""A napari plugin for interactive, multi-task whole-slide pathology with torch. Research use only."""
