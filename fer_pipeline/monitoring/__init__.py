"""What the service answered over time, without the faces: the log of predictions, and whether it has drifted."""
