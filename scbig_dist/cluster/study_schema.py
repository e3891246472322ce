"""The version of what a study leaves on disk: raised where a file changes its meaning, so that no reader misreads it."""

STUDY_SCHEMA = 1  # `schema` of study.yaml; a study without one is of version 1
