"""Teaching a finished model one more task, with proof that nothing old changed."""
