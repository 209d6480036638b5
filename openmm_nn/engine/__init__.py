"""Running a model: the force, its arguments, and the evaluation in Python."""
