"""Loss balancing: what each task's loss is multiplied by. One method per file; the file name is the name users type."""
