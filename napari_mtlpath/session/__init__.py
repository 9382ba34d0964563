"""The state that a user works on, and its verbs; evented and free of Qt."""
