"""Judge one answer: metric definitions in, one result per metric out."""
