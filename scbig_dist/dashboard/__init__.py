"""A local web application over what a sweep writes to disk. It reads; it never writes to a study, and knows no model."""
