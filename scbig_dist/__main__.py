"""`python -m scbig_dist`: the command line where no `scbig` script lies on PATH, such as in an uploaded project."""

from scbig_dist.cli import main

main()
