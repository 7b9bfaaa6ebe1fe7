"""What a person types: ``fusionreid COMMAND``, one file for each command."""
