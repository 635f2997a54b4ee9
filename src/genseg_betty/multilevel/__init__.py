"""What any multilevel program on Betty needs, whatever its levels are about."""
