"""What people say about slides: labels with their history, regions, exchange with QuPath, and what to label next."""
