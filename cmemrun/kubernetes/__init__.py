"""What a cluster makes of a pod's resources: pure rules, each with its source."""
