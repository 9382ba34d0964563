"""How models compute: tokens, task-isolated attention, routing, experts, heads."""
