"""One file per verb: argv to client call to text."""
