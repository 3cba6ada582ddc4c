"""What goes into a paper, from rows alone: tables and whole reports. No torch, nothing measured."""
