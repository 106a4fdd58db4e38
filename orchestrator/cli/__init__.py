"""What can be typed after ``rosetta``: parse, call, print. What takes long to import is imported where it is used."""
