"""What stays: retention policy, checkpoint rotation, verified backups, clean-up of run logs."""
