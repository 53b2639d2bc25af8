"""Mutated files of every format that is read: each gives what was meant, or one line of ours."""
