"""What the service does: permissions and rules over the repositories. Nothing here commits."""
